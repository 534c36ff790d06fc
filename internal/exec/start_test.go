//go:build linux

package exec

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refusal starts what must be refused and returns how.
func refusal(t *testing.T, l *Launcher, spec *Spec) *StartError {
	t.Helper()
	p, err := l.Start(spec)
	if err == nil {
		p.Stop(0)
		p.Stdout.Close()
		p.Stderr.Close()
		t.Fatalf("started as process %d", p.PID)
	}
	var refused *StartError
	if !errors.As(err, &refused) {
		t.Fatalf("not a StartError: %v", err)
	}
	return refused
}

// What can be refused without a fork.
func TestInvalidRequests(t *testing.T) {
	l := newLauncher(t)
	tests := []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"no argv", func(s *Spec) { s.Argv = nil }, "invalid request: empty command"},
		{"empty argv[0]", func(s *Spec) { s.Argv = []string{"", "x"} }, "invalid request: empty command"},
		{"no account", func(s *Spec) { s.Account = Account{} }, "invalid request: no account"},
		{"NUL in argv", func(s *Spec) { s.Argv = []string{"/bin/echo", "a\x00b"} }, "invalid request: NUL in argv"},
		{"NUL in arg0", func(s *Spec) { s.Arg0 = "\x00" }, "invalid request: NUL in argv"},
		{"NUL in env", func(s *Spec) { s.Env = []string{"A=\x00"} }, "invalid request: NUL in env"},
		{"NUL in dir", func(s *Spec) { s.Dir = "/tmp\x00" }, "invalid request: NUL in path"},
		{"NUL in marker", func(s *Spec) { s.Marker = "A=\x00" }, "invalid request: NUL in marker"},
		{"env without =", func(s *Spec) { s.Env = []string{"A=1", "B"} }, "invalid request: environment entry 2 is not NAME=value"},
		{"env without name", func(s *Spec) { s.Env = []string{"=1"} }, "invalid request: environment entry 1 is not NAME=value"},
		{"relative dir", func(s *Spec) { s.Dir = "tmp" }, "invalid request: working directory tmp is not an absolute path"},
		{"long dir", func(s *Spec) { s.Dir = "/" + strings.Repeat("a/", 3000) }, "cannot enter the working directory: file name too long"},
		{"long name in dir", func(s *Spec) { s.Dir = "/" + strings.Repeat("a", 256) }, "cannot enter the working directory: file name too long"},
		{"umask", func(s *Spec) { s.Umask = 0o1000 }, "invalid request: umask 01000 is not between 0 and 0777"},
		{"negative umask", func(s *Spec) { s.Umask = -1 }, "invalid request: umask -01 is not between 0 and 0777"},
	}
	for _, tt := range tests {
		spec := shell(t, "exit 0")
		tt.change(spec)
		if e := refusal(t, l, spec); e.Reason != tt.want || e.Code != 255 {
			t.Errorf("%s: got %d %q, want %q", tt.name, e.Code, e.Reason, tt.want)
		}
	}
}

// write makes an executable (or not) file in a directory that all may enter.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	dir := openDir(t)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// openDir is a temporary directory that every account may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// With a path.
func TestCannotExecute(t *testing.T) {
	l := newLauncher(t)
	busy := write(t, "busy", "", 0o755)
	copyFile(t, "/bin/true", busy)
	writer, err := os.OpenFile(busy, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	loop := filepath.Join(openDir(t), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	const unusable = "command cannot be executed: "
	tests := []struct {
		name, file string
		code       int
		want       string
		err        error
	}{
		{"missing", "/proc/nonexistent/command", 127, "command not found", unix.ENOENT},
		{"not executable", write(t, "f", "#!/bin/sh\n", 0o644), 126, unusable + "permission denied", unix.EACCES},
		{"directory", openDir(t), 126, unusable + "is a directory", unix.EACCES},
		{"below a file", "/etc/passwd/x", 126, unusable + "not a directory", unix.ENOTDIR},
		{"no #!", write(t, "f", "echo hi\n", 0o755), 126, unusable + "exec format error", unix.ENOEXEC},
		{"empty file", write(t, "f", "", 0o755), 126, unusable + "exec format error", unix.ENOEXEC},
		{"missing interpreter", write(t, "f", "#!/proc/nonexistent/sh\n", 0o755), 127,
			"command found, but not the interpreter that its #! line or its header names", unix.ENOENT},
		{"busy", busy, 126, unusable + "text file busy", unix.ETXTBSY},
		{"symlink loop", loop, 126, unusable + "too many levels of symbolic links", unix.ELOOP},
		{"long name", "/" + strings.Repeat("x", 300), 126, unusable + "file name too long", unix.ENAMETOOLONG},
	}
	for _, account := range accounts(t) {
		for _, tt := range tests {
			spec := shell(t, "")
			spec.Account = account
			spec.Argv = []string{tt.file}
			e := refusal(t, l, spec)
			if e.Code != tt.code || e.Reason != tt.want || !errors.Is(e, tt.err) {
				t.Errorf("%s as %s: got %d %q %v", tt.name, account.Name, e.Code, e.Reason, e.Err)
			}
		}
	}
}

// Through PATH, like execvp(3).
func TestSearch(t *testing.T) {
	l := newLauncher(t)
	denied := write(t, "cmd", "#!/bin/sh\nexit 1\n", 0o644)
	good := write(t, "cmd", "#!/bin/sh\nexit 11\n", 0o755)
	second := write(t, "cmd", "#!/bin/sh\nexit 12\n", 0o755)
	broken := write(t, "cmd", "#!/proc/nonexistent/sh\n", 0o755)
	format := write(t, "cmd", "exit 3\n", 0o755)
	asDir := openDir(t)
	if err := os.Mkdir(filepath.Join(asDir, "cmd"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := filepath.Dir
	tests := []struct {
		name string
		path []string
		dir  string
		code int // of the command, or of the refusal when negative
	}{
		{"first wins", []string{d(good), d(second)}, "", 11},
		{"order", []string{d(second), d(good)}, "", 12},
		{"missing directories", []string{"/proc/nonexistent", "/etc/passwd", d(good)}, "", 11},
		{"denied, then good", []string{d(denied), d(good)}, "", 11},
		{"directory, then good", []string{asDir, d(good)}, "", 11},
		{"broken, then good", []string{d(broken), d(good)}, "", 11},
		{"empty element", []string{"", "/bin"}, d(good), 11},
		{"dot", []string{"."}, d(second), 12},
		{"only denied", []string{d(denied), "/bin"}, "", -126},
		{"only a directory", []string{asDir}, "", -126},
		{"only broken", []string{d(broken)}, "", -127},
		{"bad format", []string{d(format), d(good)}, "", -126},
		{"nowhere", []string{"/bin", "/usr/bin"}, "", -127},
		{"empty PATH", []string{""}, "/", -127},
	}
	for _, account := range accounts(t) {
		for _, tt := range tests {
			spec := shell(t, "")
			spec.Account = account
			spec.Argv = []string{"cmd"}
			spec.Env = []string{"PATH=" + strings.Join(tt.path, ":")}
			spec.Dir = tt.dir
			if tt.code < 0 {
				if e := refusal(t, l, spec); e.Code != -tt.code {
					t.Errorf("%s as %s: got %d %q", tt.name, account.Name, e.Code, e.Reason)
				}
				continue
			}
			if _, _, s := output(t, l, spec); s.Code != tt.code {
				t.Errorf("%s as %s: got %+v", tt.name, account.Name, s)
			}
		}
	}
}

func TestSearchWithoutPath(t *testing.T) {
	l := newLauncher(t)
	spec := shell(t, "")
	spec.Argv = []string{"sh", "-c", "exit 4"}
	spec.Env = nil
	if _, _, s := output(t, l, spec); s.Code != 4 {
		t.Errorf("got %+v", s)
	}
}

// Root's rights must not tell another account what a closed directory holds.
func TestSearchIsNoOracle(t *testing.T) {
	needRoot(t)
	l := newLauncher(t)
	secret := filepath.Join(openDir(t), "secret")
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFile(t, "/bin/true", secret+"/there")
	if err := os.Mkdir(secret+"/dir", 0o755); err != nil {
		t.Fatal(err)
	}
	var answers []string
	for _, argv0 := range []string{"there", "absent", "dir", secret + "/there", secret + "/absent", secret + "/dir"} {
		spec := shell(t, "")
		spec.Account = nobody()
		spec.Argv = []string{argv0}
		spec.Env = []string{"PATH=" + secret}
		e := refusal(t, l, spec)
		answers = append(answers, fmt.Sprintf("%d %s", e.Code, e.Reason))
	}
	for _, a := range answers {
		if a != "126 command cannot be executed: permission denied" {
			t.Errorf("answers differ: %q", answers)
			break
		}
	}
}

func TestCannotEnter(t *testing.T) {
	l := newLauncher(t)
	base := openDir(t)
	file := write(t, "file", "", 0o644)
	loop := filepath.Join(base, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(base, "closed")
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir, want string
		err             error
	}{
		{"missing", base + "/missing", "no such file or directory", unix.ENOENT},
		{"a file", file, "not a directory", unix.ENOTDIR},
		{"a loop", loop, "too many levels of symbolic links", unix.ELOOP},
		{"closed", closed, "permission denied", unix.EACCES},
	}
	for _, account := range accounts(t) {
		for _, tt := range tests {
			if tt.name == "closed" && account.UID == 0 {
				continue // root may enter
			}
			for _, argv0 := range []string{"/bin/true", "true", "/proc/nonexistent", "nonexistent"} {
				spec := shell(t, "")
				spec.Account = account
				spec.Argv = []string{argv0}
				spec.Dir = tt.dir
				e := refusal(t, l, spec)
				if want := "cannot enter " + tt.dir + ": " + tt.want; e.Code != 255 || e.Reason != want || !errors.Is(e, tt.err) {
					t.Errorf("%s as %s: got %d %q, want %q", tt.name, account.Name, e.Code, e.Reason, want)
				}
			}
		}
	}
	spec := shell(t, "")
	spec.Dir = base + "/\x1b]0;x\xff"
	if e := refusal(t, l, spec); strings.Contains(e.Reason, "\x1b") || strings.Contains(e.Reason, "\xff") {
		t.Errorf("control characters in %q", e.Reason)
	}
}

func TestDir(t *testing.T) {
	l := newLauncher(t)
	base := openDir(t)
	gbk := filepath.Join(base, "\xc4\xe3\xba\xc3")
	if err := os.Mkdir(gbk, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{"": "/", base: base, gbk: gbk} {
		spec := shell(t, "")
		spec.Argv = []string{"/bin/sh", "-c", "pwd -P"}
		spec.Dir = dir
		if out, _, _ := output(t, l, spec); out != want+"\n" {
			t.Errorf("%q: got %q", dir, out)
		}
	}
}

// The list is too long, or nearly so.
func TestArgumentListTooLong(t *testing.T) {
	l := newLauncher(t)
	for name, extra := range map[string][]string{
		"one argument":   {strings.Repeat("x", 1<<20)},
		"many arguments": make([]string, 2<<20),
	} {
		spec := shell(t, "")
		spec.Argv = append([]string{"/bin/true"}, extra...)
		e := refusal(t, l, spec)
		if e.Code != 126 || !strings.HasPrefix(e.Reason, "argument list too long (limit: 131072 bytes for one argument, ") {
			t.Errorf("%s: got %d %q", name, e.Code, e.Reason)
		}
	}
	spec := shell(t, `echo $#`)
	for i := range 100_000 {
		spec.Argv = append(spec.Argv, fmt.Sprint(i%10))
	}
	if out, _, _ := output(t, l, spec); out != "99999\n" {
		t.Errorf("100,000 arguments: got %q", out)
	}
}

// Accounts: the half that is decided at the start.
func TestAccountRefused(t *testing.T) {
	l := newLauncher(t)
	for name, a := range map[string]Account{
		"uid -1":   {Name: "x", UID: math.MaxUint32, GID: 1},
		"gid -1":   {Name: "x", UID: 1, GID: math.MaxUint32},
		"group -1": {Name: "x", UID: 1, GID: 1, Groups: []uint32{5, math.MaxUint32}},
	} {
		spec := shell(t, "exit 0")
		spec.Account = a
		if e := refusal(t, l, spec); e.Code != 255 || !strings.HasPrefix(e.Reason, "cannot run as x: ") {
			t.Errorf("%s: got %d %q", name, e.Code, e.Reason)
		}
	}
}

// Without root nobody else's account can be had, least of all root's.
func TestAccountWithoutRoot(t *testing.T) {
	l := &Launcher{root: false, uid: 1000}
	for _, a := range []Account{{Name: "root"}, {Name: "x", UID: 1001, GID: uint32(os.Getegid())}, {Name: "me", UID: 1000, GID: 99}} {
		if c, err := l.credential(&a); err == nil {
			t.Errorf("%s: got %+v", a.Name, c)
		}
	}
	if c, err := l.credential(&Account{Name: "me", UID: 1000, GID: uint32(os.Getegid())}); err != nil || c != nil {
		t.Errorf("own account: %+v, %v", c, err)
	}
}
