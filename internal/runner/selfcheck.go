//go:build linux

package runner

import (
	"context"
	"fmt"

	"rexec/internal/exec"
)

// SelfCheck starts a command, this very program to print its version, and waits for its end. A command
// that is started in vain because the system is short of something is an error, too.
func (r *Runner) SelfCheck(ctx context.Context) error {
	self, err := r.accounts.Self(ctx)
	if err != nil {
		return fmt.Errorf("looking up the daemon's own account: %w", err)
	}
	p, err := r.launcher.Start(&exec.Spec{
		Account: self, Argv: []string{"/proc/self/exe", "--version"}, Arg0: "rexecd", Umask: 0o077,
	})
	if err != nil {
		return fmt.Errorf("starting it: %w", err)
	}
	defer p.Stdout.Close()
	defer p.Stderr.Close()
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(0)
		return fmt.Errorf("waiting for it: %w", ctx.Err())
	}
	if s := p.Wait(); s.Code != 0 || s.Signal != 0 {
		return fmt.Errorf("it cannot go wrong, and has ended with code %d, signal %d", s.Code, s.Signal)
	}
	return nil
}
