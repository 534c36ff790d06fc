//go:build linux

package exec

import (
	"context"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Account is whom a command runs as.
type Account struct {
	Name        string
	UID, GID    uint32
	Groups      []uint32 // all that initgroups(3) would set, GID included
	Home, Shell string   // never empty
}

// AccountError says why an account cannot be used. [Accounts]
// returns it.
type AccountError struct {
	Name   string
	Reason string
	Err    error // the cause, may be nil
}

func (e *AccountError) Error() string {
	return "account " + strconv.Quote(e.Name) + ": " + e.Reason
}

func (e *AccountError) Unwrap() error { return e.Err }

// Accounts looks accounts up. It may be used concurrently.
type Accounts struct{ db *database }

// NewAccounts returns a look-up of the system's accounts.
func NewAccounts() *Accounts { return &Accounts{systemDatabase()} }

// Lookup returns the account with the given name as it is now. An
// account that may not be used (unknown, locked, expired, without a password
// field or a login shell) is an error, and so is a name service that does not
// answer within 5 s: no other account is ever taken in its place.
//
// Whether an account is locked or expired is only known to root.
func (a *Accounts) Lookup(ctx context.Context, name string) (Account, error) {
	return a.db.lookup(ctx, name)
}

// Self returns the account that this program runs as. It is not refused for
// being locked or without a login shell: whoever started the program decided
// that. A user ID that has no entry, as containers have it, gets its number as
// its name.
func (a *Accounts) Self(ctx context.Context) (Account, error) {
	return a.db.self(ctx)
}

// noID is (uid_t)-1, which setuid(2) and its kin take as "leave unchanged".
const noID = math.MaxUint32

// maxAccountName is the longest account name, in bytes. Linux itself has 32.
const maxAccountName = 64

// validName reports whether name is what shadow-utils lets an account be
// called: [A-Za-z_][A-Za-z0-9_.-]*[$]?. That keeps away what name services would
// take for a number, and getent for an option.
func validName(name string) bool {
	if len(name) > maxAccountName {
		return false
	}
	name = strings.TrimSuffix(name, "$")
	for i, c := range []byte(name) {
		switch {
		case c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}

func (d *database) lookup(ctx context.Context, name string) (Account, error) {
	if !validName(name) {
		return Account{}, &AccountError{Name: name, Reason: "not a valid account name"}
	}
	entry, err := d.passwd(ctx, name)
	if err != nil {
		return Account{}, err
	}
	if err := d.usable(entry); err != nil {
		return Account{}, err
	}
	groups, err := d.groups(ctx, entry)
	if err != nil {
		return Account{}, err
	}
	return entry.account(groups), nil
}

func (d *database) self(ctx context.Context) (Account, error) {
	uid := uint32(os.Geteuid())
	entry, err := d.passwdByUID(ctx, uid)
	if err != nil {
		return Account{}, err
	}
	if entry == nil {
		entry = &passwdEntry{name: strconv.Itoa(int(uid)), uid: uid, gid: uint32(os.Getegid())}
	}
	if uid == 0 {
		groups, err := d.groups(ctx, entry)
		if err != nil {
			return Account{}, err
		}
		return entry.account(groups), nil
	}
	// Without root a command gets the groups that we have, not those that the
	// databases name.
	entry.gid = uint32(os.Getegid())
	own, err := os.Getgroups()
	if err != nil {
		return Account{}, &AccountError{Name: entry.name, Reason: "reading its groups: " + err.Error(), Err: err}
	}
	set := newGroupSet(entry.gid)
	for _, g := range own {
		set.add(uint32(g))
	}
	return entry.account(set.ids), nil
}

// credential checks that the account can be assumed. The result is nil when
// it is the daemon's own and the daemon is not root.
func (l *Launcher) credential(a *Account) (*syscall.Credential, error) {
	for _, id := range append([]uint32{a.UID, a.GID}, a.Groups...) {
		if id == noID {
			return nil, refuse(nil, "cannot run as %s: user or group ID %d is not valid", printable(a.Name), uint32(noID))
		}
	}
	if l.root {
		return &syscall.Credential{Uid: a.UID, Gid: a.GID, Groups: a.Groups}, nil
	}
	if a.UID != l.uid || a.GID != uint32(os.Getegid()) {
		return nil, refuse(nil, "cannot run as %s: the daemon is not root and can only run commands as itself", printable(a.Name))
	}
	return nil, nil
}

// usable refuses accounts that a login would refuse.
func (d *database) usable(e *passwdEntry) error {
	refused := func(reason string) error { return &AccountError{Name: e.name, Reason: reason} }
	if e.uid == noID || e.gid == noID {
		return refused("its user or group ID is -1")
	}
	switch path.Base(e.shell) {
	case "nologin", "false":
		return refused("its login shell does not allow logins")
	}
	hash := e.password
	if hash == "x" {
		s, ok, err := d.shadow(e.name)
		if err != nil {
			return &AccountError{Name: e.name, Reason: "looking it up: " + err.Error(), Err: err}
		}
		if !ok {
			return nil
		}
		if s.expired(time.Now()) {
			return refused("the account has expired")
		}
		hash = s.password
	}
	if hash == "" {
		return refused("its password is empty")
	}
	if isLocked(hash) {
		return refused("the account is locked")
	}
	return nil
}

// isLocked tells a password that was put out of use (usermod -L puts "!" before
// it) from one that never was, which is usual where logins use keys.
func isLocked(hash string) bool {
	rest := strings.TrimLeft(hash, "!")
	switch rest {
	case hash, "", "*", "NP":
		return false
	}
	return true
}
