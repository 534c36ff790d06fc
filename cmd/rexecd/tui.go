package main

// Words for the person at the terminal. Rules: to stderr, "rexecd: error: ..." and then
// "rexecd: hint: ..." with what to do; lower case, no full stop. Stdout belongs to what was asked for:
// a token, an ID, a list.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"

	"rexec/internal/auth"
)

func errorf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: error: "+format+"\n", args...)
}

func hintf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: hint: "+format+"\n", args...)
}

func notef(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: "+format+"\n", args...)
}

// Exit codes. The last is EX_CONFIG of sysexits.h(3head): the next start would end the same way, so that a service
// manager need not try (RestartPreventExitStatus= of systemd.service(5)).
const (
	exitFailed  = 1
	exitMisused = 2
	exitDown    = 3 // as systemctl status says it
	exitConfig  = 78
)

// unusableError is a configuration, key file, identity or state directory that must be mended first.
type unusableError struct{ err error }

func (e *unusableError) Error() string { return e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// unusable marks an error as one that only its mending ends; nil stays nil.
func unusable(err error) error {
	if err == nil {
		return nil
	}
	return &unusableError{err}
}

// report prints an error with what to do about it, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	errorf(w, "%v", err)
	if text := hint(err); text != "" {
		hintf(w, "%s", text)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var misused *usageError
	var bad *unusableError
	var down *notRunningError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misused):
		return exitMisused
	case errors.As(err, &bad):
		return exitConfig
	case errors.As(err, &down):
		return exitDown
	}
	return exitFailed
}

// hint is what to do about an error; empty if its text says so itself.
func hint(err error) string {
	var misused *usageError
	var down *notRunningError
	switch {
	case errors.As(err, &down):
		return "start it with rexecd or its service; the daemon of another state directory is named with --state-dir"
	case errors.As(err, &misused):
		return "rexecd --help shows the verbs and options"
	case errors.Is(err, auth.ErrUnknownKey):
		return "rexecd key list shows the keys"
	case errors.Is(err, syscall.EADDRINUSE):
		return portHint(err)
	case errors.Is(err, fs.ErrPermission):
		return "run it as the account that owns the file, or name another place with --state-dir or --config"
	case errors.Is(err, syscall.EROFS):
		return "make that place writable, or name another one with --state-dir"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room there, or name another place with --state-dir"
	}
	return ""
}

// portHint names the port that is taken and, if /proc shows it, who has it.
func portHint(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Addr == nil {
		return "choose another port with --listen or in rexecd.toml"
	}
	_, port, _ := net.SplitHostPort(op.Addr.String())
	holder := "another program"
	if p := portHolder(op.Net, port); p != "" {
		holder = p
	}
	return holder + " has port " + port + " (" + op.Net + "): end it, or choose another port with --listen or in rexecd.toml"
}
