//go:build linux

package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal is a shell script on a terminal of 24 rows and 80 columns, whose output is not altered.
func onTerminal(t testing.TB, script string) *Spec {
	t.Helper()
	spec := shell(t, script)
	spec.Stdin = true
	spec.Terminal = &Terminal{
		Size:      TerminalSize{Rows: 24, Columns: 80},
		Setup:     func(m *unix.Termios) { m.Oflag &^= unix.OPOST; m.Lflag &^= unix.ECHO },
		Variables: []string{"TTY"},
	}
	return spec
}

// screen reads everything up to the end of a command on a terminal.
func screen(t testing.TB, p *Process) string {
	t.Helper()
	if err := p.Stdout.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p.Stdout)
	if !errors.Is(err, unix.EIO) {
		t.Fatalf("%v after %q, want EIO", err, b)
	}
	return string(b)
}

func typed(t testing.TB, p *Process, text string) {
	t.Helper()
	if _, err := p.Stdin.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestTerminal(t *testing.T) {
	l := newLauncher(t)
	// A program that is searched in PATH forks more than once.
	spec := onTerminal(t, `test -t 0 && test -t 1 && test -t 2 && stty size && tty && echo $TTY && echo tty >/dev/tty &&
		ps -o tpgid= -o pgid= -o sid= -p $$ | tr -d '\n'; stat -L -c ' %u %a' /dev/fd/0; ls /proc/self/fd | wc -l`)
	spec.Argv[0] = "sh"
	spec.Env[0] = "PATH=/nonexistent:/usr/local/bin:/usr/bin:/bin"
	p := start(t, l, spec)
	got := strings.Fields(screen(t, p))
	if s := p.Wait(); s.Code != 0 || len(got) != 11 {
		t.Fatalf("%q, %+v", got, s)
	}
	if got[0] != "24" || got[1] != "80" || got[2] != got[3] || !strings.HasPrefix(got[2], "/dev/pts/") || got[4] != "tty" {
		t.Errorf("size, tty, $TTY, /dev/tty: %q", got[:5])
	}
	if pid := fmt.Sprint(p.PID); got[5] != pid || got[6] != pid || got[7] != pid {
		t.Errorf("foreground group, group and session are %q, want %s", got[5:8], pid)
	}
	if got[8] != fmt.Sprint(os.Geteuid()) || got[9] != "620" && got[9] != "600" {
		t.Errorf("owner and mode are %q", got[8:10])
	}
	if got[10] != "4" { // 0 to 2, and the directory
		t.Errorf("%s open files", got[10])
	}
	if err := p.Resize(TerminalSize{}); !errors.Is(err, ErrEnded) {
		t.Errorf("resizing after the end: %v", err)
	}
	if p.Stderr != nil {
		t.Error("there is a file for stderr")
	}
}

// TestTerminalOfAnotherAccount: it is the account's.
func TestTerminalOfAnotherAccount(t *testing.T) {
	needRoot(t)
	l := newLauncher(t)
	spec := onTerminal(t, `stat -L -c '%u %a' /dev/fd/0; : >"$TTY" && : >/dev/tty && : >/dev/stdout && id -u`)
	spec.Account = nobody()
	p := start(t, l, spec)
	got := strings.Fields(screen(t, p))
	uid := fmt.Sprint(spec.Account.UID)
	if len(got) != 3 || got[0] != uid || got[1] != "620" && got[1] != "600" || got[2] != uid {
		t.Errorf("%q", got)
	}
}

// TestTerminalAndLimits: a start that stops the child before its first instruction gives it a terminal, too.
func TestTerminalAndLimits(t *testing.T) {
	spec := onTerminal(t, `ulimit -n; tty`)
	spec.Limits = []Limit{{Resource: unix.RLIMIT_NOFILE, Soft: 77, Hard: 77}}
	p := start(t, newLauncher(t), spec)
	if got := screen(t, p); !strings.HasPrefix(got, "77\n/dev/pts/") {
		t.Errorf("%q", got)
	}
}

func TestTerminalResize(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `trap 'stty size; exit' WINCH; echo ready; sleep 60 & wait`))
	if got := readLine(t, p.Stdout); got != "ready" {
		t.Fatal(got)
	}
	if err := p.Resize(TerminalSize{Rows: 50, Columns: 132, Width: 1, Height: 2}); err != nil {
		t.Fatal(err)
	}
	if got := readLine(t, p.Stdout); got != "50 132" {
		t.Errorf("size %q", got)
	}
}

// TestTerminalEcho: what a terminal does with lines, as the kernel's defaults have it.
func TestTerminalEcho(t *testing.T) {
	spec := onTerminal(t, `exec cat`)
	spec.Terminal.Setup = nil
	p := start(t, newLauncher(t), spec)
	typed(t, p, "ab\x7fc\r"+string(p.EndOfFile()))
	if got := screen(t, p); got != "ab\b \bc\r\nac\r\n" {
		t.Errorf("%q", got)
	}
	if s := p.Wait(); s.Code != 0 || s.Signal != 0 {
		t.Errorf("%+v", s)
	}
}

// TestTerminalUnread: what nobody has read can be had while the command runs, also of a line that has no end.
func TestTerminalUnread(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `read x; echo "$x"; exec sleep 60`))
	typed(t, p, "one\ntwo\n\x04three")
	if got := readLine(t, p.Stdout); got != "one" {
		t.Fatal(got)
	}
	if got := p.Unread(); string(got) != "two\n\x04three" {
		t.Errorf("%q", got)
	}
	if got := p.Unread(); len(got) > 0 {
		t.Errorf("again %q", got)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if got := p.Unread(); len(got) > 0 {
		t.Errorf("after the end %q", got)
	}
}

// TestTerminalWithoutInput: its end comes at once.
func TestTerminalWithoutInput(t *testing.T) {
	spec := onTerminal(t, `cat; echo end`)
	spec.Stdin = false
	p := start(t, newLauncher(t), spec)
	if got := screen(t, p); got != "end\n" || p.Stdin != nil {
		t.Errorf("%q", got)
	}
}

// TestTerminalSetup: the modes hold before the command's first instruction.
func TestTerminalSetup(t *testing.T) {
	spec := onTerminal(t, `stty -a`)
	spec.Terminal.Setup = func(m *unix.Termios) { m.Cc[unix.VINTR] = 'x'; m.Cc[unix.VEOF] = 'y' }
	p := start(t, newLauncher(t), spec)
	if end := p.EndOfFile(); end != 'y' {
		t.Errorf("end of file is %q", end)
	}
	if got := screen(t, p); !strings.Contains(got, "intr = x;") || !strings.Contains(got, "eof = y;") {
		t.Errorf("%q", got)
	}
}

// TestTerminalJobControl: ^C goes to the foreground job and leaves the shell alone; ^Z stops it.
func TestTerminalJobControl(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `set -m; trap : INT; sh -c 'echo one; exec sleep 60'; echo status $?
		sh -c 'echo two; exec sleep 60'; echo status $?; kill %1; echo end`))
	for _, step := range []struct{ want, key string }{{"one", "\x03"}, {"status 130", ""}, {"two", "\x1a"}} {
		for readLine(t, p.Stdout) != step.want {
		}
		typed(t, p, step.key)
	}
	got := screen(t, p)
	if s := p.Wait(); s.Code != 0 || s.Signal != 0 || !strings.Contains(got, "status 148") || !strings.HasSuffix(got, "end\n") {
		t.Errorf("%q, %+v", got, s)
	}
}

// TestTerminalReopened: a command that closes its files still has its terminal.
func TestTerminalReopened(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `exec </dev/null >/dev/null 2>&1; sleep 0.2; echo still here >/dev/tty`))
	if got := screen(t, p); got != "still here\n" {
		t.Errorf("%q", got)
	}
}

// TestTerminalIsComplete: nothing that the command wrote is lost at its end, at whatever speed it is read.
func TestTerminalIsComplete(t *testing.T) {
	l := newLauncher(t)
	const size = 1 << 20
	for i := range 50 {
		p := start(t, l, onTerminal(t, fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; printf end`, size)))
		if i%2 == 0 {
			<-time.After(time.Duration(i) * time.Millisecond)
		}
		got := screen(t, p)
		if len(got) != size+3 || !strings.HasSuffix(got, "xend") || strings.Count(got, "x") != size {
			t.Fatalf("run %d: %d bytes", i, len(got))
		}
	}
}

// TestTerminalTakesInput: a program in raw mode gets every byte, and what it does not read holds up the writer.
func TestTerminalTakesInput(t *testing.T) {
	const size = 1 << 20
	p := start(t, newLauncher(t), onTerminal(t, fmt.Sprintf(`stty raw -echo; echo ready; sleep 0.1; head -c %d | cksum`, size)))
	if got := readLine(t, p.Stdout); got != "ready" {
		t.Fatal(got)
	}
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(i * 7)
	}
	written := make(chan error, 1)
	go func() { _, err := p.Stdin.Write(text); written <- err }()
	got := strings.Fields(screen(t, p))
	if err := <-written; err != nil {
		t.Error(err)
	}
	q := start(t, newLauncher(t), shellWithInput(t, "cksum", text))
	b, err := io.ReadAll(q.Stdout)
	if want := strings.Fields(string(b)); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q (%v)", got, want, err)
	}
}

// shellWithInput is a script whose stdin is a file with this text.
func shellWithInput(t testing.TB, script string, text []byte) *Spec {
	t.Helper()
	name := t.TempDir() + "/in"
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return shell(t, script+" <"+name)
}

// TestTerminalHangup: who closes our side ends the session, as a modem that loses its line would.
func TestTerminalHangup(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `echo ready; exec sleep 60`))
	if got := readLine(t, p.Stdout); got != "ready" {
		t.Fatal(got)
	}
	p.Stdin.Close()
	p.Stdout.Close()
	if s := ends(t, p); s.Signal != unix.SIGHUP {
		t.Errorf("%+v", s)
	}
}

// TestTerminalOverlookedHangup: a command that takes note of a signal and then waits as if there had been none is
// woken, whether the signal alone was sent or its end is wanted.
func TestTerminalOverlookedHangup(t *testing.T) {
	const script = `trap hung=1 HUP; trap '' TERM; trap '[ "$hung" ] && kill -9 $! && exit 129' CHLD
		sh -c 'trap "" HUP; echo ready; exec sleep 60' & while :; do wait $!; done`
	for name, hangUp := range map[string]func(p *Process){
		"signal": func(p *Process) { _ = p.Signal(unix.SIGHUP) },
		"stop":   func(p *Process) { p.Stop(10 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, newLauncher(t), onTerminal(t, script))
			if got := readLine(t, p.Stdout); got != "ready" {
				t.Fatal(got)
			}
			hangUp(p)
			if s := ends(t, p); s.Code != 129 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestTerminalManySignals: what one signal leaves behind to be done later, a thousand do not leave a thousand times.
func TestTerminalManySignals(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `trap '' HUP; echo ready; exec sleep 60`))
	if got := readLine(t, p.Stdout); got != "ready" {
		t.Fatal(got)
	}
	before := goroutines()
	for range 200 {
		if err := p.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if now := goroutines(); now > before+10 {
		t.Errorf("%d goroutines, before %d", now, before)
	}
}

// goroutines is their number while everything stands still: runtime.NumGoroutine adds up lists that the garbage
// collector may be moving, and then counts some that have ended.
func goroutines() int {
	n, _ := runtime.GoroutineProfile(make([]runtime.StackRecord, 1)) // too few of them: it only counts
	return n
}

// TestTerminalInBackground: what holds the terminal after the end holds up nobody.
func TestTerminalInBackground(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `trap '' HUP; sleep 60 & echo $!`))
	child := readLine(t, p.Stdout)
	if s := ends(t, p); s.Code != 0 {
		t.Errorf("%+v", s)
	}
	if err := p.Stdout.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := os.Stat("/proc/" + child); err != nil {
		t.Error("the process in the background has ended:", err)
	}
}

// TestTerminalStop: a tree with several process groups ends as a whole.
func TestTerminalStop(t *testing.T) {
	p := start(t, newLauncher(t), onTerminal(t, `set -m; sleep 60 & (trap '' HUP TERM; sleep 61; sleep 62) & echo ready; wait; wait`))
	for !strings.Contains(readLine(t, p.Stdout), "ready") {
	}
	if left := p.Stop(50 * time.Millisecond); left != nil {
		t.Errorf("survivors %v", left)
	}
	members, err := p.tree.members()
	if err != nil || len(members) != 0 {
		t.Errorf("%v, %v", members, err)
	}
}

// TestTerminalOfNothing: a start that fails leaves no terminal, and pipes have no size.
func TestTerminalOfNothing(t *testing.T) {
	l := newLauncher(t)
	spec := onTerminal(t, `echo ran`)
	spec.Argv = []string{"/proc/nonexistent"}
	removed := func() { // who removes cgroups looks into them now and then
		eventually(t, "no cgroup is left", func() bool {
			return l.cgroups == nil || len(subgroups(l.cgroups.file(jobsGroup))) == 0
		})
	}
	removed()
	before := openFiles()
	_, err := l.Start(spec)
	var refused *StartError
	if !errors.As(err, &refused) || refused.Code != codeNotFound {
		t.Errorf("%v", err)
	}
	removed()
	if after := openFiles(); after != before {
		t.Errorf("%d files are open, %d before", after, before)
	}
	p := start(t, l, shell(t, "true"))
	if err := p.Resize(TerminalSize{Rows: 1}); err == nil {
		t.Error("pipes were resized")
	}
}

func TestGroupID(t *testing.T) {
	name := t.TempDir() + "/group"
	if err := os.WriteFile(name, []byte("ttys:x:4:\nbad\ntty:x\ntty:x:5:a,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if gid, ok := groupID(name, "tty"); !ok || gid != 5 {
		t.Errorf("%d, %v", gid, ok)
	}
	for _, missing := range []string{"t", "bad", "a"} {
		if gid, ok := groupID(name, missing); ok {
			t.Errorf("%s: %d", missing, gid)
		}
	}
	if _, ok := groupID(name+"x", "tty"); ok {
		t.Error("found in no file")
	}
}
