package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReport: which errors a service manager need not try again, and what is said of each.
func TestReport(t *testing.T) {
	tests := []struct {
		err  error
		code int
		hint string // part of it; empty: there is none
	}{
		{nil, 0, ""},
		{errors.New("x"), 1, ""},
		{misuse("x"), 2, "rexecd --help"},
		{unusable(misuse("x")), 2, "rexecd --help"},
		{unusable(errors.New("x")), 78, ""},
		{fmt.Errorf("y: %w", unusable(errors.New("x"))), 78, ""},
		{unusable(&os.PathError{Op: "open", Path: "f", Err: syscall.EACCES}), 78, "run it as the account"},
		{unusable(&os.PathError{Op: "open", Path: "f", Err: syscall.EROFS}), 78, "make that place writable"},
		{unusable(&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}), 78, "make room there"},
		{syscall.EADDRINUSE, 1, "choose another port"},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		if code := report(&b, tt.err); code != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.err, code, tt.code)
		}
		_, hint, _ := strings.Cut(b.String(), "rexecd: hint: ")
		if tt.hint == "" && hint != "" || !strings.Contains(hint, tt.hint) {
			t.Errorf("%v: hint %q, want %q", tt.err, hint, tt.hint)
		}
		if (tt.err != nil) != strings.HasPrefix(b.String(), "rexecd: error: ") {
			t.Errorf("%v: told %q", tt.err, b.String())
		}
	}
	if unusable(nil) != nil {
		t.Error("no error is marked as one")
	}
}

// TestExitCodes: what is wrong with configuration, keys, identity and state directory ends every verb with 78.
func TestExitCodes(t *testing.T) {
	const key = `{"id":"a","secret":"%s"}`
	good := "0123456789abcdefghijklmnopqrstuvwxyzABCDEFE" // base64url of 32 bytes
	tests := map[string]struct {
		spoil func(dir string) error
		args  string
		code  int
		text  string // part of what is said
	}{
		"unknown field":  {write("rexecd.toml", "listn = ':1'"), "check", 78, "rexecd.toml:1: listn: unknown key (did you mean listen?)"},
		"key file":       {write("state/keys", "{"), "serve", 78, "state/keys:1: "},
		"key list":       {write("state/keys", "{"), "key list", 78, "state/keys:1: "},
		"key add":        {write("state/keys", "{"), "key add b --address h:1", 78, "state/keys:1: "},
		"short secret":   {write("state/keys", fmt.Sprintf(key, good[:42])+"\n"), "serve", 78, "(fix: make the key with: rexecd key add)"},
		"name twice":     {write("state/keys", fmt.Sprintf(key, good)+"\n"), "key add a --address h:1", 1, "is that of line 1"},
		"open keys":      {open("state/keys", 0o644), "serve", 78, "(fix: chmod 600 "},
		"linked keys":    {link("state/keys"), "serve", 78, "is a symbolic link (fix: put the file itself there)"},
		"directory":      {directory("state/keys"), "serve", 78, "is a directory (fix: move it away)"},
		"open state":     {open("state", 0o777), "serve", 78, "(fix: chmod 700 "},
		"state a file":   {write("state", ""), "serve", 78, "state: "},
		"identity":       {write("state/identity", "id"), "id", 78, "state/identity:1: "},
		"clock":          {write("state/clock", "soon"), "serve", 78, "state/clock: does not say a time (fix: remove it)"},
		"ledger":         {write("state/named", ""), "serve", 78, "state/named"},
		"lock":           {directory("state/lock"), "serve", 78, "state/lock"},
		"wrong owner":    {foreign("state/keys"), "serve", 78, "belongs to user 12345 (fix: chown "},
		"foreign state":  {foreign("state"), "serve", 78, "belongs to user 12345 (fix: chown "},
		"no such verb":   {nil, "frobnicate", 2, "frobnicate"},
		"no such option": {nil, "serve --nope", 2, "--nope"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := write("rexecd.toml", "listen = '127.0.0.1:0'")(dir); err != nil {
				t.Fatal(err)
			}
			var out, text bytes.Buffer
			tail := []string{"--config", filepath.Join(dir, "rexecd.toml"), "--state-dir", filepath.Join(dir, "state")}
			if err := run(t.Context(), append([]string{"id"}, tail...), streams{nil, &out, &text}); err != nil {
				t.Fatal(err)
			}
			out.Reset()
			if tt.spoil != nil {
				if err := tt.spoil(dir); errors.Is(err, errNotRoot) {
					t.Skip(err)
				} else if err != nil {
					t.Fatal(err)
				}
			}
			args := append(strings.Fields(tt.args), tail...)
			code := report(&text, run(t.Context(), args, streams{nil, &out, &text}))
			if code != tt.code || !strings.Contains(text.String(), tt.text) || out.Len() > 0 {
				t.Errorf("exit code %d, want %d, and %q in:\n%s%s", code, tt.code, tt.text, text.String(), out.String())
			}
		})
	}
}

// write, open, link, directory and foreign make a place in a test's directory one that is not as it should be.
func write(name, text string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
	}
}

func open(name string, mode os.FileMode) func(string) error {
	return func(dir string) error {
		make := write(name, "")
		if !strings.Contains(name, "/") {
			make = directory(name)
		}
		return errors.Join(make(dir), os.Chmod(filepath.Join(dir, name), mode))
	}
}

func link(name string) func(string) error {
	return func(dir string) error {
		return errors.Join(write(name+".real", "")(dir), os.Symlink(filepath.Join(dir, name+".real"), filepath.Join(dir, name)))
	}
}

func directory(name string) func(string) error {
	return func(dir string) error { return os.MkdirAll(filepath.Join(dir, name), 0o700) }
}

var errNotRoot = errors.New("only root can give a file to another account")

func foreign(name string) func(string) error {
	return func(dir string) error {
		if os.Geteuid() != 0 {
			return errNotRoot
		}
		return errors.Join(open(name, 0o700)(dir), os.Chown(filepath.Join(dir, name), 12345, 12345))
	}
}

// TestPortHolder: the program that has a port is found, also by the error of the second one.
func TestPortHolder(t *testing.T) {
	var lc net.ListenConfig
	for _, network := range []string{"tcp4", "tcp6"} {
		host := map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"}[network]
		ln, err := lc.Listen(t.Context(), network, net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("not tried: %v", err)
			continue
		}
		_, err = lc.Listen(t.Context(), network, ln.Addr().String())
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if want := fmt.Sprintf("(pid %d) has port %s (%s)", os.Getpid(), port, network); !strings.Contains(hint(err), want) {
			t.Errorf("hint for %v: %q, want %q", err, hint(err), want)
		}
		ln.Close()
	}
	if p := portHolder("tcp", silentPort(t)); p != "" {
		t.Errorf("a port that nobody listens on belongs to %q", p)
	}
	pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
	if p := portHolder("udp", port); !strings.HasSuffix(p, fmt.Sprintf("(pid %d)", os.Getpid())) {
		t.Errorf("port %s of UDP belongs to %q", port, p)
	}
}

// silentPort is a TCP port that nobody listens on, nor can while the test runs: it is bound.
func silentPort(t *testing.T) string {
	t.Helper()
	family, any := unix.AF_INET6, unix.Sockaddr(new(unix.SockaddrInet6)) // of both families
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		family, any = unix.AF_INET, new(unix.SockaddrInet4)
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, any); err != nil {
		t.Fatal(err)
	}
	switch a, err := unix.Getsockname(fd); a := a.(type) {
	case *unix.SockaddrInet6:
		return strconv.Itoa(a.Port)
	case *unix.SockaddrInet4:
		return strconv.Itoa(a.Port)
	default:
		t.Fatal(a, err)
		return ""
	}
}
