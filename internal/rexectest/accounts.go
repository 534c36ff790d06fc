//go:build linux

package rexectest

import (
	"context"
	"os"

	"rexec/internal/exec"
)

// accounts are the system's, but the account of the test has another home directory.
type accounts struct {
	*exec.Accounts
	home string
}

func (a accounts) Self(ctx context.Context) (exec.Account, error) {
	account, err := a.Accounts.Self(ctx)
	account.Home = a.home
	return account, err
}

func (a accounts) Lookup(ctx context.Context, name string) (exec.Account, error) {
	account, err := a.Accounts.Lookup(ctx, name)
	if account.UID == uint32(os.Getuid()) {
		account.Home = a.home
	}
	return account, err
}
