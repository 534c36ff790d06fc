package auth

import (
	"fmt"
	"net/netip"
	"time"

	"rexec/internal/proto"
)

// Key is one line of the server's key file: a secret and what its holder may do.
type Key struct {
	ID     string
	Secret Secret
	RunAs  string // account that commands run as; empty = that of the daemon
	// Command is run whatever the client asks for. Empty = what the client asks for.
	Command string
	// Argv lists the commands that may run; see AllowsArgv. Empty = any.
	Argv      [][]string
	From      []netip.Prefix // addresses that may use the key; empty = any
	NotBefore time.Time      // zero = from ever
	NotAfter  time.Time      // the first instant at which it does not hold any more; zero = never
	Created   time.Time      // for the administrator; zero = unknown
	Disabled  bool
	Line      int // in the key file, from 1
}

// anyArgs as the last element of a pattern stands for any number of arguments.
const anyArgs = "*"

// AllowsArgv reports whether the key's list admits the argument vector; a key without a list admits
// every one. An element admits exactly itself; a last element "*" admits any further arguments, none
// included. The vector must then be executed as it is: a shell would read more into it, so a key
// with a list must not run a command line.
//
// With "*" the program's own options are the administrator's business: "git-upload-pack *" or
// "tar *" can be talked into running other programs (--upload-pack, --checkpoint-action).
func (k Key) AllowsArgv(argv [][]byte) bool {
	if len(k.Argv) == 0 {
		return true
	}
	for _, pattern := range k.Argv {
		if argvMatches(pattern, argv) {
			return true
		}
	}
	return false
}

func argvMatches(pattern []string, argv [][]byte) bool {
	if last := len(pattern) - 1; last > 0 && pattern[last] == anyArgs {
		pattern = pattern[:last]
		if len(argv) < len(pattern) {
			return false
		}
		argv = argv[:len(pattern)]
	}
	if len(pattern) == 0 || len(pattern) != len(argv) {
		return false
	}
	for i, want := range pattern {
		if string(argv[i]) != want {
			return false
		}
	}
	return true
}

// deny says why the key may not be used from remote at now, or returns nil. The text goes to the
// client, which has proved that it holds the key.
func (k *Key) deny(remote netip.Addr, now time.Time) *DeniedError {
	text := func(s proto.Status, format string, args ...any) *DeniedError {
		return &DeniedError{s, "key " + k.ID + " " + fmt.Sprintf(format, args...)}
	}
	switch {
	case k.Disabled:
		return text(proto.StatusDisabled, "is disabled on this server")
	case !k.NotAfter.IsZero() && !now.Before(k.NotAfter):
		return text(proto.StatusExpired, "expired on %s; make a new one with: rexecd key add (the server's clock says %s)",
			date(k.NotAfter), date(now))
	case now.Before(k.NotBefore):
		return text(proto.StatusNotYet, "is not valid before %s (the server's clock says %s)",
			date(k.NotBefore), date(now))
	case !k.admits(remote):
		return text(proto.StatusSource, "may not be used from %s", remote.Unmap())
	}
	return nil
}

// admits reports whether the key may be used from remote. An IPv4 address may come in its IPv6 form,
// and a prefix contains no address with a zone.
func (k *Key) admits(remote netip.Addr) bool {
	if len(k.From) == 0 {
		return true
	}
	remote = remote.Unmap().WithZone("")
	for _, p := range k.From {
		if p.Contains(remote) {
			return true
		}
	}
	return false
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
