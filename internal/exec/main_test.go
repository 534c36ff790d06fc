//go:build linux

package exec

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childMode is the environment variable that turns the test binary into one
// of the programs that the tests start.
const childMode = "EXEC_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childMode) {
	case "":
	case "daemon":
		os.Exit(daemonMain())
	case "leaf":
		os.Exit(leafMain())
	case "hidden":
		os.Exit(hiddenMain())
	default:
		os.Exit(2)
	}
	files := openFiles()
	code := m.Run()
	if code == 0 {
		if left := leftovers(files); left != "" {
			fmt.Fprintln(os.Stderr, "left behind after all tests:", left)
			code = 1
		}
	}
	os.Exit(code)
}

// daemonMain stands for the daemon in tests of what commands inherit: it runs
// its arguments as a command and copies the output.
func daemonMain() int {
	err := runAsDaemon()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// hiddenMain hides its environment, as far as that fills pages, prints its process ID and waits.
func hiddenMain() int {
	p, err := readProc(os.Getpid())
	if err != nil {
		return 1
	}
	page := uint64(os.Getpagesize())
	first, behind := (p.envStart+page-1)/page*page, p.envEnd/page*page
	if _, _, errno := unix.Syscall(unix.SYS_MPROTECT, uintptr(first), uintptr(behind-first), unix.PROT_NONE); errno != 0 {
		return 1
	}
	fmt.Println(os.Getpid())
	for {
		_ = unix.Pause()
	}
}

func runAsDaemon() error {
	l, err := NewLauncher()
	if err != nil {
		return err
	}
	defer l.Close()
	self, err := NewAccounts().Self(context.Background())
	if err != nil {
		return err
	}
	p, err := l.Start(&Spec{Account: self, Argv: os.Args[1:], Env: []string{"PATH=/bin:/usr/bin"}, Umask: 0o22})
	if err != nil {
		return err
	}
	defer p.Stdout.Close()
	defer p.Stderr.Close()
	if _, err := io.Copy(os.Stdout, p.Stdout); err != nil {
		return err
	}
	if s := p.Wait(); s.Code != 0 || s.Signal != 0 {
		return fmt.Errorf("command ended with %+v", s)
	}
	return nil
}

// patience is more than anything takes that does not hang, on a machine that has much else to do. It is less than what
// the commands here sleep for.
const patience = 50 * time.Second

// leftovers waits for what ends by itself and names what stays.
func leftovers(files int) string {
	deadline := time.Now().Add(patience)
	for {
		left := leftoversNow(files)
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func leftoversNow(files int) string {
	if n := openFiles(); n > files {
		return fmt.Sprintf("%d open files, %d before", n, files)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		return "child processes or zombies"
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(g, "rexec/internal/exec.") && !strings.Contains(g, "TestMain") {
			return "a goroutine:\n" + g
		}
	}
	return ""
}

// openFiles counts descriptors, apart from the poller's own, which the runtime
// opens at first use and keeps.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	n := 0
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			n++
		}
	}
	return n
}

func newLauncher(t testing.TB) *Launcher {
	t.Helper()
	l, err := NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(withCgroups) != "" {
		l.UseCgroups(openCgroups(t))
	}
	t.Cleanup(l.Close)
	return l
}

func self(t testing.TB) Account {
	t.Helper()
	a, err := NewAccounts().Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start commands as another account")
	}
}

// shell is a command that runs script, with a marker of its own.
func shell(t testing.TB, script string) *Spec {
	t.Helper()
	marker := fmt.Sprintf("REXEC_ID=%s-%d-%d", t.Name(), os.Getpid(), time.Now().UnixNano())
	return &Spec{
		Account: self(t),
		Argv:    []string{"/bin/sh", "-c", script},
		Env:     []string{"PATH=/usr/local/bin:/usr/bin:/bin", marker},
		Umask:   0o22,
		Marker:  marker,
	}
}

// start starts a command whose tree and pipes end with the test.
func start(t testing.TB, l *Launcher, spec *Spec) *Process {
	t.Helper()
	p, err := l.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left := p.Stop(0); left != nil {
			t.Errorf("survivors: %v", left)
		}
		p.Wait()
		for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
			if f != nil {
				f.Close()
			}
		}
	})
	return p
}

// output runs a command to its end.
func output(t testing.TB, l *Launcher, spec *Spec) (stdout, stderr string, s Status) {
	t.Helper()
	p := start(t, l, spec)
	if p.Stdin != nil {
		p.Stdin.Close()
	}
	var out, errs bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(&out, p.Stdout) })
	wg.Go(func() { io.Copy(&errs, p.Stderr) })
	wg.Wait()
	return out.String(), errs.String(), p.Wait()
}

// readLine reads one line of a command's output, within a bound.
func readLine(t testing.TB, f *os.File) string {
	t.Helper()
	if err := f.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := f.Read(b); err != nil {
			t.Fatalf("reading a line after %q: %v", line, err)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// eventually polls until ok, within a bound.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	p, err := readProc(pid)
	return err == nil && !p.gone()
}

// ends waits for the end of p, within a bound.
func ends(t testing.TB, p *Process) Status {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		t.Fatalf("the command has not ended within %v", patience)
	}
	return p.Wait()
}
