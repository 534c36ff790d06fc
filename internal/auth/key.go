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
	Argv [][]string
	// Charset is what its commands print, a name that ValidCharset accepts. Empty = what the server's
	// configuration says.
	Charset   string
	NoPty     bool           // its commands get no terminal
	Limits    []Limit        // of its commands, sorted by name; where the configuration is tighter, that counts
	From      []netip.Prefix // addresses that may use the key; empty = any
	NotBefore time.Time      // zero = from ever
	NotAfter  time.Time      // the first instant at which it does not hold any more; zero = never
	Created   time.Time      // for the administrator; zero = unknown
	// Address is what the key's token says of where the server is; empty = unknown.
	Address  string
	Rotated  time.Time  // when the secret last took the place of another one; zero = never
	Old      *OldSecret // that one, while it may be good; nil = there is none
	Disabled bool
	Line     int // in the key file, from 1
}

// OldSecret is what a key's secret was before a rotation.
type OldSecret struct {
	Secret Secret
	Until  time.Time // the first instant at which it does not hold any more
}

// denySecret says why a grant for this secret is not good any more, or returns nil.
func (k *Key) denySecret(s Secret, at instant) *DeniedError {
	switch {
	case k.Secret.Equal(s):
		return nil
	case k.Old != nil && k.Old.Secret.Equal(s):
		return k.denyOld(at)
	}
	return &DeniedError{proto.StatusDisabled, "the secret of key " + k.ID + " was revoked; the key has a new one"}
}

// denyOld says why the key's old secret may not be used, or returns nil; the text is for the client.
func (k *Key) denyOld(at instant) *DeniedError {
	if at.latest.Before(k.Old.Until) {
		return nil
	}
	return &DeniedError{proto.StatusExpired, fmt.Sprintf(
		"key %s was rotated, and its old secret ended on %s; enroll the token that rexecd key rotate printed (%s)",
		k.ID, date(k.Old.Until), at)}
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

// deny says why the key may not be used from remote, or returns nil. The text goes to the client, which has
// proved that it holds the key. A clock that was set back makes no key begin early or end late.
func (k *Key) deny(remote netip.Addr, at instant) *DeniedError {
	text := func(s proto.Status, format string, args ...any) *DeniedError {
		return &DeniedError{s, "key " + k.ID + " " + fmt.Sprintf(format, args...)}
	}
	switch {
	case k.Disabled:
		return text(proto.StatusDisabled, "is disabled on this server")
	case !k.NotAfter.IsZero() && !at.latest.Before(k.NotAfter):
		return text(proto.StatusExpired, "expired on %s; make a new one with: rexecd key add (%s)", date(k.NotAfter), at)
	case at.now.Before(k.NotBefore):
		return text(proto.StatusNotYet, "is not valid before %s (%s)", date(k.NotBefore), at)
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
