//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// argv is a vector request that would leave the marker if its program ran.
func argv(words ...string) proto.Run {
	m := proto.Run{ID: client.NewID(), NoStdin: true}
	for _, w := range words {
		m.Argv = append(m.Argv, []byte(w))
	}
	return m
}

// requestRow is a bad request and what the exit record must say.
type requestRow struct {
	name  string
	run   proto.Run
	cause proto.Cause
	code  uint8
	words []string
}

// refuses sends each request in a session of its own and demands the refusal, a session that lives on,
// and that nothing ran.
func (x *target) refuses(t *testing.T, rows []requestRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := x.Peer(t)
			defer p.Close()
			o := p.Run(row.run)
			if o.Exit.State != proto.StateRefused || o.Exit.Cause != row.cause || o.Exit.Code != row.code {
				t.Errorf("exit record %+v, want refused with cause %d and code %d", o.Exit, row.cause, row.code)
			}
			if !containsAll(o.Exit.Reason, row.words) {
				t.Errorf("reason %q, want all of %q", o.Exit.Reason, row.words)
			}
			if o.Started != nil || len(o.Out[0])+len(o.Out[1]) != 0 {
				t.Errorf("started %+v with output %q", o.Started, o.Out)
			}
			if o := p.Run(proto.Run{Shell: []byte("exit 9")}); o.Exit.Code != 9 {
				t.Errorf("the next request in the session ends with %+v", o.Exit)
			}
		})
	}
	x.unharmed(t)
}

// TestCommands are requests without a command, or with one that is too large.
func TestCommands(t *testing.T) {
	x := newTarget(t)
	touch := []byte("touch '" + x.marker + "'")
	huge := strings.Repeat("x", 200_000) // beyond MAX_ARG_STRLEN of execve(2)
	x.refuses(t, []requestRow{
		{"none", proto.Run{}, proto.CauseInvalid, 255, []string{"invalid request", "empty command"}},
		{"empty program", argv("", x.marker), proto.CauseInvalid, 255, []string{"invalid request", "program", "empty"}},
		{"two at once", proto.Run{Shell: touch, Argv: [][]byte{[]byte("touch"), []byte(x.marker)}}, proto.CauseInvalid, 255, []string{"invalid request"}},
		{"script and shell", proto.Run{Shell: touch, Script: true}, proto.CauseInvalid, 255, []string{"invalid request"}},
		{"one argument too large", argv("touch", x.marker, huge), proto.CauseCannotExec, 126, []string{"argument list too long"}},
		{"text too large", proto.Run{Shell: append(touch[:len(touch):len(touch)], " "+huge...)}, proto.CauseCannotExec, 126, []string{"argument list too long"}},
		{"terminal that is a path", proto.Run{Shell: touch, Pty: []byte("../x")}, proto.CauseInvalid, 255, []string{"terminal"}},
		{"size of no terminal", proto.Run{Shell: touch, Window: proto.Window{Rows: 1}}, proto.CauseInvalid, 255, []string{"terminal"}},
		{"name and another ID", proto.Run{Shell: touch, Name: "x"}, proto.CauseInvalid, 255, []string{"name"}},
	})
}

// TestThroughTheClient asks for what no frame holds: the client must say that nothing was run, and
// name the limit.
func TestThroughTheClient(t *testing.T) {
	x := newTarget(t)
	many := argv("touch", x.marker)
	for i := range 100_000 {
		many.Argv = append(many.Argv, strconv.AppendInt(nil, int64(i), 10))
	}
	env := argv("touch", x.marker)
	for i := range 10_000 {
		env.Env = append(env.Env, proto.EnvVar{Name: fmt.Appendf(nil, "LC_%d", i), Value: []byte("x")})
	}
	large := argv("touch", x.marker)
	large.Argv = append(large.Argv, bytes.Repeat([]byte("y"), 1<<20))
	for name, tt := range map[string]struct {
		run   proto.Run
		limit string
	}{
		"B17 100,000 arguments":  {many, "65536"},
		"B17 1 MiB of arguments": {large, "1048576"},
		"B22 10,000 variables":   {env, "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			c := x.Client(t)
			result, err := c.Run(t.Context(), &client.Command{Run: tt.run})
			var lost *client.LostError
			if errors.As(err, &lost) {
				t.Errorf("the client calls the outcome unknown: %v", err)
			}
			text := fmt.Sprint(err)
			if result != nil {
				text = result.Reason
				if result.State != proto.StateRefused {
					t.Errorf("result %+v, want a refusal", result.Exit)
				}
			}
			if !strings.Contains(text, tt.limit) {
				t.Errorf("the client is told %q, without the limit of %s", text, tt.limit)
			}
			x.notReached(t)
		})
	}
	x.unharmed(t)
}

// TestNUL puts a zero byte where the system cannot take one.
func TestNUL(t *testing.T) {
	x := newTarget(t)
	touch := "touch '" + x.marker + "'"
	nul := func(edit func(*proto.Run)) proto.Run {
		m := *x.touch()
		edit(&m)
		return m
	}
	x.refuses(t, []requestRow{
		{"command", proto.Run{Shell: []byte(touch + "\x00; id")}, proto.CauseInvalid, 255, []string{"NUL in command"}},
		{"argument", argv("touch", x.marker+"\x00x"), proto.CauseInvalid, 255, []string{"NUL in argument 1"}},
		{"program", argv("touch\x00", x.marker), proto.CauseInvalid, 255, []string{"NUL in argument 0"}},
		{"name of a variable", nul(func(m *proto.Run) { m.Env = []proto.EnvVar{{Name: []byte("LC_A\x00B"), Value: []byte("x")}} }),
			proto.CauseInvalid, 255, []string{"NUL in environment variable", "LC_A"}},
		{"value of a variable", nul(func(m *proto.Run) { m.Env = []proto.EnvVar{{Name: []byte("LC_A"), Value: []byte("x\x00PATH=/")}} }),
			proto.CauseInvalid, 255, []string{"NUL in environment variable", "LC_A"}},
		{"directory", nul(func(m *proto.Run) { m.Dir = []byte("/tmp\x00/x") }), proto.CauseInvalid, 255, []string{"NUL in working directory"}},
		{"user", nul(func(m *proto.Run) { m.User = "root\x00x" }), proto.CauseInvalid, 255, []string{"NUL in user"}},
		{"control character in the name", nul(func(m *proto.Run) { m.Name, m.ID = "a\nb", proto.NamedID("a\nb") }),
			proto.CauseInvalid, 255, []string{"name", "control characters"}},
		{"long name", nul(func(m *proto.Run) { m.Name = strings.Repeat("n", 1025); m.ID = proto.NamedID(m.Name) }),
			proto.CauseInvalid, 255, []string{"name", "1024"}},
	})
}

// TestPrograms runs what cannot be run, without a shell and with one; the codes are a shell's.
func TestPrograms(t *testing.T) {
	x := newTarget(t)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy := write("busy", "", 0o755)
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(busy, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(program); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		program string
		code    uint8
		words   []string
	}{
		"missing":                {filepath.Join(dir, "none"), 127, []string{"not found"}},
		"missing in PATH":        {"no-such-program-anywhere", 127, []string{"not found"}},
		"missing directory":      {"/none/such/prog", 127, []string{"not found"}},
		"file as a directory":    {"/etc/passwd/x", 126, []string{"not a directory"}},
		"not executable":         {write("plain", "#!/bin/sh\n", 0o644), 126, []string{"permission denied"}},
		"a directory":            {dir, 126, []string{"is a directory"}},
		"a directory by a slash": {"/", 126, []string{"is a directory"}},
		"text busy":              {busy, 126, []string{"text file busy"}},
		"missing interpreter":    {write("interp", "#!/none/interpreter\n", 0o755), 127, []string{"interpreter"}},
		"loop":                   {loop, 126, []string{"symbolic links"}},
		"garbage":                {write("garbage", "\x7fELF\x00\x01garbage", 0o755), 126, []string{"exec format error"}},
		"long name":              {"/" + strings.Repeat("n", 300), 126, []string{"name too long"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := x.Peer(t)
			o := p.Run(argv(tt.program))
			if o.Exit.State != proto.StateRefused || o.Exit.Code != tt.code || !containsAll(o.Exit.Reason, tt.words) {
				t.Errorf("as a vector: %+v, want code %d and %q", o.Exit, tt.code, tt.words)
			}
			o = p.Run(proto.Run{Shell: []byte(tt.program)})
			if want := localCode(t, tt.program); int(o.Exit.Code) != want || o.Exit.State != proto.StateExited {
				t.Errorf("through the shell: %+v, the same shell here ends with %d", o.Exit, want)
			}
		})
	}
	t.Run("script without an interpreter line", func(t *testing.T) {
		script := write("script", "exit 5\n", 0o755)
		p := x.Peer(t)
		if o := p.Run(argv(script)); o.Exit.Code != 126 && o.Exit.Code != 5 {
			t.Errorf("as a vector: %+v", o.Exit)
		}
		if o := p.Run(proto.Run{Shell: []byte(script)}); o.Exit.Code != 5 {
			t.Errorf("through the shell: %+v", o.Exit)
		}
	})
	x.unharmed(t)
}

// localCode is the exit code that the account's shell gives a command here.
func localCode(t *testing.T, command string) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/bash", "-c", command)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// TestDirectories names directories that cannot be entered. The command runs nowhere else.
func TestDirectories(t *testing.T) {
	x := newTarget(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	loop := filepath.Join(dir, "loop")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	in := func(dir string) proto.Run {
		m := *x.touch()
		m.Dir = []byte(dir)
		return m
	}
	x.refuses(t, []requestRow{
		{"missing", in(filepath.Join(dir, "none")), proto.CauseDirectory, 255, []string{"cannot enter", "none", "no such file"}},
		{"a file", in(file), proto.CauseDirectory, 255, []string{"cannot enter", "not a directory"}},
		{"a loop", in(loop), proto.CauseDirectory, 255, []string{"cannot enter", "symbolic links"}},
		{"too long", in("/" + strings.Repeat("d", 5000)), proto.CauseDirectory, 255, []string{"cannot enter", "name too long"}},
		{"control characters", in(dir + "/\x1b[2J\n"), proto.CauseDirectory, 255, []string{"cannot enter"}},
	})
	for _, line := range x.Logs() {
		if strings.ContainsAny(line, "\x1b\n") {
			t.Errorf("control characters in the log: %q", line)
		}
	}
}

// TestRelativeDirectory wants a relative directory refused, or taken from the account's home.
func TestRelativeDirectory(t *testing.T) {
	x := newTarget(t)
	o := x.Peer(t).Run(proto.Run{Shell: []byte("pwd"), Dir: []byte(".")})
	if o.Exit.State == proto.StateExited && string(o.Out[0]) != x.Home()+"\n" {
		t.Errorf("the directory . is %q, the daemon's own and not the account's home", o.Out[0])
	}
	x.unharmed(t)
}

// TestUnreadable enters a directory that only root may.
func TestUnreadable(t *testing.T) {
	name := otherAccount(t)
	x := newTarget(t)
	k := x.AddKey(auth.Key{ID: "other", RunAs: name})
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := rexectest.Connect(t, x.Address())
	if err := p.Prove(k); err != nil {
		t.Fatal(err)
	}
	m := *x.touch()
	m.Dir = []byte(dir)
	if o := p.Run(m); o.Exit.State != proto.StateRefused || !containsAll(o.Exit.Reason, []string{"cannot enter", "permission denied"}) {
		t.Errorf("entering a directory of root's: %+v", o.Exit)
	}
	if o := p.Run(proto.Run{Shell: []byte("id -un; id -Gn | wc -w; pwd"), Dir: []byte("/")}); !strings.HasPrefix(string(o.Out[0]), name+"\n") {
		t.Errorf("the account is %q, want %s (%+v)", o.Out[0], name, o.Exit)
	}
	x.unharmed(t)
}

// otherAccount is one that commands may run as and that is not root.
func otherAccount(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start commands as another account")
	}
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && f[2] != "0" && !strings.HasSuffix(f[6], "nologin") && !strings.HasSuffix(f[6], "false") && f[0] != "sync" {
			return f[0]
		}
	}
	t.Skip("this system has no account but root that may log in")
	return ""
}

// TestAccounts are accounts that a key file may not name, or that cannot be used. None becomes root.
func TestAccounts(t *testing.T) {
	x := newTarget(t)
	for i, name := range []string{
		"no-such-account", "-1", "4294967295", "#0", "+0", "0", "00", " root", "root ", "root\n", "root\x00", "-h", "--help",
		"nobody", "root:x", "../root", "ro*t", "ROOT", "r\u00f6\u00f6t",
	} {
		t.Run(name, func(t *testing.T) {
			secret, err := auth.NewSecret()
			if err != nil {
				t.Fatal(err)
			}
			k := auth.Key{ID: fmt.Sprintf("k%d", i), Secret: secret, RunAs: name}
			if err := auth.AddKey(x.KeysPath(), k); err != nil {
				t.Logf("the key file does not take it: %v", err)
				return
			}
			p := rexectest.Connect(t, x.Address())
			defer p.Close()
			if err := p.Prove(auth.ClientKey{Server: x.ServerID(), KeyID: k.ID, Secret: secret}); err != nil {
				t.Fatal(err)
			}
			o := p.Run(*x.touch())
			if o.Exit.State != proto.StateRefused || o.Exit.Cause != proto.CauseAccount || o.Exit.Code != 255 {
				t.Errorf("exit record %+v, want refused for the account", o.Exit)
			}
		})
	}
	x.unharmed(t)
}

// TestExpectedAccount asks for another account than the key's.
func TestExpectedAccount(t *testing.T) {
	x := newTarget(t)
	for _, name := range []string{"nobody", "root\n", "0", "-1", "#0", " root"} {
		m := *x.touch()
		m.User = name
		if o := x.Peer(t).Run(m); o.Exit.State != proto.StateRefused || o.Exit.Cause != proto.CausePolicy {
			t.Errorf("user %q: %+v, want a refusal by policy", name, o.Exit)
		}
	}
	x.unharmed(t)
}

// TestEnvironment sets variables that no client may, under a server that accepts every name.
func TestEnvironment(t *testing.T) {
	x := &target{Daemon: rexectest.New(t, rexectest.Options{Runner: acceptAll}), marker: filepath.Join(t.TempDir(), "ran")}
	names := []string{
		"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "LD_", "BASH_ENV", "ENV", "IFS", "PATH", "GCONV_PATH", "PERL5LIB",
		"PERL5OPT", "PYTHONPATH", "PYTHONSTARTUP", "RUBYOPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS",
		"GIT_SSH_COMMAND", "GIT_EXEC_PATH", "GIT_CONFIG_COUNT", "SHELLOPTS", "BASHOPTS", "PS4", "BASH_FUNC_ls%%", "HOME",
		"USER", "SHELL", "LOCPATH", "NLSPATH", "HOSTALIASES", "TMPDIR", "REXEC_ID", "REXEC_ORIGINAL_COMMAND", "LESSOPEN",
		"", "A=B", "=", "A B", "1A", "A-B", "A.B", "\u00c4", "A\n", "A\x1b[2J", "\xff",
	}
	var rows []requestRow
	for _, name := range names {
		m := *x.touch()
		m.Env = []proto.EnvVar{{Name: []byte("LC_FINE"), Value: []byte("x")}, {Name: []byte(name), Value: []byte("/tmp/x")}}
		shown := strconv.Quote(name)
		rows = append(rows, requestRow{fmt.Sprintf("%q", name), m, proto.CausePolicy, 255, []string{"environment variable", shown}})
	}
	m := *x.touch()
	m.Env = []proto.EnvVar{{Name: []byte("LC_LARGE"), Value: bytes.Repeat([]byte("v"), 200_000)}}
	rows = append(rows, requestRow{"large value", m, proto.CauseCannotExec, 126, []string{"argument list too long"}})
	x.refuses(t, rows)
}

// TestInherited looks at what a command sees of the daemon: no variable, no open file, no blocked or
// ignored signal.
func TestInherited(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "canary")
	t.Setenv("NOTIFY_SOCKET", "/tmp/canary")
	leak, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil { // as if it had been inherited
		t.Fatal(err)
	}
	x := newTarget(t)
	o := x.Peer(t).Run(proto.Run{Shell: []byte("env; ls -l /proc/self/fd; grep -E '^Sig(Blk|Ign)' /proc/self/status"), NoStdin: true})
	out := string(o.Out[0])
	if strings.Contains(out, "canary") || strings.Contains(out, "/etc/passwd") {
		t.Errorf("the command sees what is the daemon's:\n%s", out)
	}
	if !strings.Contains(out, "SigBlk:\t0000000000000000") || !strings.Contains(out, "SigIgn:\t0000000000000000") {
		t.Errorf("the command inherits signal settings:\n%s", out)
	}
	x.unharmed(t)
}
