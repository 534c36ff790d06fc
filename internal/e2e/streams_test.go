//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/rexectest"
)

// station is a directory from which the real client reaches a daemon of the test.
type station struct {
	*rexectest.Daemon
	t   *testing.T
	dir string
	bin string
	env []string
}

func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{Daemon: rexectest.New(t, rexectest.Options{}), t: t, dir: t.TempDir(), bin: buildPrograms(t)}
	s.env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir+"/config", "LC_ALL=C.UTF-8",
		"PATH="+s.bin+":"+os.Getenv("PATH"), "HOST="+s.Address())
	s.enroll(s.Token().Encode())
	return s
}

func (s *station) enroll(token string) {
	s.t.Helper()
	cmd := s.command("rexec", "enroll")
	cmd.Stdin = strings.NewReader(token)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// command is a program in the station's surroundings.
func (s *station) command(name string, args ...string) *exec.Cmd {
	path := filepath.Join(s.bin, name)
	if _, err := os.Stat(path); err != nil {
		path = name
	}
	cmd := exec.CommandContext(s.t.Context(), path, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	return cmd
}

// ended waits for a command that was started, and returns its exit code.
func (s *station) ended(cmd *exec.Cmd) int {
	s.t.Helper()
	hung := time.AfterFunc(hang, func() { _ = cmd.Process.Signal(unix.SIGABRT) })
	err := cmd.Wait()
	if !hung.Stop() {
		s.t.Fatalf("%q hung for %s", cmd.Args, hang)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// run runs a program and returns what it printed and its exit code.
func (s *station) run(name string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, err bytes.Buffer
	cmd := s.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	code = s.ended(cmd)
	return code, out.String(), err.String()
}

// TestOddStreams: with whatever descriptors the client begins, it tells the truth about the outcome, and the same each
// time.
func TestOddStreams(t *testing.T) {
	s := newStation(t)
	if err := os.WriteFile(filepath.Join(s.dir, "file"), []byte("text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const reads, prints, silent = "cat; exit 3", "echo x; exit 3", "exit 3"
	for _, tt := range []struct {
		command, redirections string
		code                  int
		out, err              string // a part of stderr; empty: there is none
	}{
		{reads, "<&-", 3, "", ""},
		{prints, "<&-", 3, "x\n", ""},
		{reads, "</dev/null", 3, "", ""},
		{reads, "<file", 3, "text\n", ""},
		{prints, "<file", 3, "x\n", ""},
		{reads, "<.", 255, "", "stdin is a directory"},
		{prints, "<.", 255, "", "stdin is a directory"},
		{reads, "-n <.", 3, "", ""},
		{reads, "0>other", 3, "", ""}, // as nohup does
		{prints, "0>other", 3, "x\n", ""},
		{prints, "</dev/null >&-", 255, "", "writing stdout: file already closed"},
		{silent, "</dev/null >&-", 3, "", ""},
		{prints, "</dev/null >/dev/full", 255, "", "writing stdout: "},
		{silent, "</dev/null >/dev/full", 3, "", ""},
		{prints, "</dev/null 2>&-", 3, "x\n", ""},
		{"echo x >&2; exit 3", "</dev/null 2>&-", 255, "", ""},
		{"echo x >&2; exit 3", "</dev/null 2>/dev/full", 255, "", ""},
		{silent, "<&- >&- 2>&-", 3, "", ""},
		{prints, "<&- >&- 2>&-", 255, "", ""},
	} {
		code, out, err := s.run("sh", "-c", `exec rexec "$HOST" `+tt.redirections+` "$0"`, tt.command)
		if strings.HasPrefix(tt.redirections, "-n") {
			code, out, err = s.run("sh", "-c", `exec rexec "$HOST" `+tt.redirections+` -- "$0"`, tt.command)
		}
		if code != tt.code || out != tt.out || !strings.Contains(err, tt.err) || tt.err == "" && err != "" {
			t.Errorf("%s %s: code %d, stdout %q, stderr %q; want %d, %q, %q", tt.command, tt.redirections, code, out, err, tt.code, tt.out, tt.err)
		}
	}
}

// nonblocking reports the flag that all descriptors of an open file share.
func nonblocking(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK != 0
}

// socketpair returns a file for this end and the descriptor of the other one.
func socketpair(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// TestOneSocketForStdinAndStdout is what scp(1) and sftp(1) give their ssh: it stays as it is, both while the client runs
// and afterwards.
func TestOneSocketForStdinAndStdout(t *testing.T) {
	s := newStation(t)
	ours, theirs := socketpair(t)
	cmd := s.command("rexec", s.Address(), "head -n 1; echo on; cat; exit 3")
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		if _, err := io.WriteString(ours, text); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(ours, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v; want %q", b, err, want)
		}
	}
	say("one\n")
	hear("one\non\n")
	if nonblocking(t, int(theirs.Fd())) {
		t.Error("the socket does not block any more, which other programs that have it do not expect")
	}
	say("two\n")
	hear("two\n")
	if err := unix.Shutdown(int(ours.Fd()), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if code := s.ended(cmd); code != 3 {
		t.Errorf("code %d", code)
	}
	if _, err := io.WriteString(theirs, "open\n"); err != nil {
		t.Errorf("the other end was shut down: %v", err)
	}
	hear("open\n")
	if nonblocking(t, int(theirs.Fd())) {
		t.Error("the socket was left so that it does not block")
	}
}

// TestNonblockingStreams: some callers have pipes that do not block. A full one is no error.
func TestNonblockingStreams(t *testing.T) {
	s := newStation(t)
	const size = 3 << 20
	var pipes [2][2]int // stdin, stdout
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	in, out := os.NewFile(uintptr(pipes[0][1]), "in"), os.NewFile(uintptr(pipes[1][0]), "out")
	cmd := s.command("rexec", s.Address(), "cat; exit 3")
	stdin, stdout := os.NewFile(uintptr(pipes[0][0]), "stdin"), os.NewFile(uintptr(pipes[1][1]), "stdout")
	// Not by their Fd, after which they would block.
	cmd.Stdin, cmd.Stdout = stdin, stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{pipes[0][0], pipes[1][1]} {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	stdin.Close()
	go func() {
		_, _ = in.Write(bytes.Repeat([]byte("x"), size))
		in.Close()
	}()
	// Not by the bytes in it: the kernel may leave room in each page.
	eventually(t, "stdout is full", func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pipes[1][1]), Events: unix.POLLOUT}}, 0)
		return err == nil && n == 0
	})
	stdout.Close()
	got, err := io.ReadAll(out)
	if code := s.ended(cmd); len(got) != size || err != nil || code != 3 {
		t.Errorf("%d bytes, %v, code %d", len(got), err, code)
	}
}

// TestStdinIsATerminalThatNeverEnds: as Ansible's is, and full.
func TestStdinIsATerminalThatNeverEnds(t *testing.T) {
	s := newStation(t)
	for command, want := range map[string]string{"echo x; exit 3": "x\n", "read x; echo $x; exit 3": "typed\n"} {
		tty, err := rexectest.NewTerminal()
		if err != nil {
			t.Fatal(err)
		}
		// The kernel holds 4095 bytes of lines that nobody has read, and drops the rest (n_tty).
		if err := tty.Type([]byte("typed\n" + strings.Repeat("more text\n", 405))); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd := s.command("rexec", s.Address(), command)
		cmd.Stdin, cmd.Stdout = tty.File(), &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if code := s.ended(cmd); code != 3 || out.String() != want {
			t.Errorf("%s: code %d, %q", command, code, out.String())
		}
		tty.Close()
	}
}

// TestEveryOutcome: exit codes and signals come through both programs as they are.
func TestEveryOutcome(t *testing.T) {
	s := newStation(t)
	for code := range 256 {
		if got, _, stderr := s.run("rexec", s.Address(), fmt.Sprintf("exit %d", code)); got != code || stderr != "" {
			t.Errorf("exit %d: %d, %s", code, got, stderr)
		}
	}
	for n := unix.Signal(1); n <= 64; n++ {
		switch n {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH: // ignored unless caught (signal(7))
			continue
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
			continue
		case 32, 33: // the C library's own
			continue
		}
		// Of some, shells take no notice themselves.
		const kill = "ulimit -c 0; (until grep -q sleep /proc/$$/comm; do :; done; kill -%d $$) & exec sleep 100"
		code, _, stderr := s.run("rexec", "--json", s.Address(), fmt.Sprintf(kill, n))
		if code != 128+int(n) || !strings.Contains(stderr, `"state":"signaled"`) {
			t.Errorf("signal %d: %d, %s", n, code, stderr)
		}
	}
}

// TestCoreDump: that there is one is told if it is so on this machine, and not if it may not be.
func TestCoreDump(t *testing.T) {
	s := newStation(t)
	const dump = "ulimit -c unlimited && cd %s && kill -ABRT $$"
	local := s.command("sh", "-c", fmt.Sprintf(dump, s.dir))
	_ = local.Run()
	dumps := local.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
	for command, want := range map[string]bool{fmt.Sprintf(dump, s.dir): dumps, "ulimit -c 0; kill -ABRT $$": false} {
		code, _, stderr := s.run("rexec", "--json", s.Address(), command)
		if code != 134 || strings.Contains(stderr, `"core_dumped":true`) != want {
			t.Errorf("%s: %d, %s; core dump %v", command, code, stderr, want)
		}
	}
	if !dumps {
		t.Log("this machine leaves no core dumps")
	}
}
