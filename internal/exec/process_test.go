//go:build linux

package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExitCodes(t *testing.T) {
	l := newLauncher(t)
	for _, code := range []int{0, 1, 7, 126, 127, 128, 137, 254, 255} {
		_, _, s := output(t, l, shell(t, fmt.Sprintf("exit %d", code)))
		if s.Code != code || s.Signal != 0 || s.CoreDumped {
			t.Errorf("exit %d: got %+v", code, s)
		}
	}
}

func TestEndBySignal(t *testing.T) {
	l := newLauncher(t)
	for n := syscall.Signal(1); n <= rtMax; n++ {
		switch n {
		case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH: // ignored by default
			continue
		case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU: // stop it
			continue
		case 32, 33: // the C library's own
			continue
		}
		_, _, s := output(t, l, shell(t, fmt.Sprintf("kill -%d $$; exit 3", n)))
		if s.Signal != n || s.Code != 0 {
			t.Errorf("signal %s: got %+v", SignalName(n), s)
		}
	}
}

func TestStreams(t *testing.T) {
	l := newLauncher(t)
	spec := shell(t, "cat; echo to-stderr >&2")
	spec.Stdin = true
	p := start(t, l, spec)
	if _, err := io.WriteString(p.Stdin, "in and out"); err != nil {
		t.Fatal(err)
	}
	p.Stdin.Close()
	out, err := io.ReadAll(p.Stdout)
	if err != nil || string(out) != "in and out" {
		t.Errorf("stdout: got %q, %v", out, err)
	}
	errs, err := io.ReadAll(p.Stderr)
	if err != nil || string(errs) != "to-stderr\n" {
		t.Errorf("stderr: got %q, %v", errs, err)
	}
	if err := p.Stdout.SetReadDeadline(time.Now()); err != nil {
		t.Errorf("stdout is not in the poller: %v", err)
	}
}

func TestNoStdinIsNull(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "readlink /proc/self/fd/0; cat"))
	if p.Stdin != nil {
		t.Error("there is a stdin pipe that was not asked for")
	}
	out, err := io.ReadAll(p.Stdout)
	if err != nil || string(out) != "/dev/null\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// The command's ends must block: programs do not expect EAGAIN.
func TestCommandEndsBlock(t *testing.T) {
	l := newLauncher(t)
	spec := shell(t, "exec 3>&1 4<&0; cat /proc/self/fdinfo/3 /proc/self/fdinfo/4 /proc/self/fdinfo/2")
	spec.Stdin = true
	out, _, _ := output(t, l, spec)
	var n int
	for line := range strings.Lines(out) {
		var flags int
		if k, _ := fmt.Sscanf(line, "flags:\t%o", &flags); k == 1 {
			n++
			if flags&unix.O_NONBLOCK != 0 {
				t.Errorf("a descriptor of the command is non-blocking: %q", line)
			}
		}
	}
	if n != 3 {
		t.Fatalf("saw %d descriptors in %q", n, out)
	}
}

// A grandchild that holds the pipe does not delay the outcome.
func TestWaitWithGrandchildOnPipe(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "sleep 60 & echo hi"))
	if line := readLine(t, p.Stdout); line != "hi" {
		t.Errorf("got %q", line)
	}
	if s := ends(t, p); s.Code != 0 || s.Signal != 0 {
		t.Errorf("got %+v", s)
	}
	if err := p.Stdout.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the pipe should still be held: %v", err)
	}
}

func TestUsage(t *testing.T) {
	l := newLauncher(t)
	before := time.Now()
	_, _, s := output(t, l, shell(t, "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"))
	if s.UserTime+s.SystemTime < 5*time.Millisecond || s.UserTime+s.SystemTime > time.Minute {
		t.Errorf("CPU time: %v + %v", s.UserTime, s.SystemTime)
	}
	if s.MaxRSS < 100<<10 || s.MaxRSS > 10<<30 {
		t.Errorf("MaxRSS: %d bytes", s.MaxRSS)
	}
	if s.Ended.Before(before) || s.Ended.After(time.Now()) {
		t.Errorf("Ended: %v", s.Ended)
	}
}

func TestManyWaiters(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "read x; exit 9"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if s := p.Wait(); s.Code != 9 && s.Code != 1 {
				t.Errorf("got %+v", s)
			}
		})
	}
	wg.Wait()
	if a, b := p.Wait(), p.Wait(); a != b {
		t.Errorf("two answers: %+v, %+v", a, b)
	}
}

// Without pidfds the end must be seen all the same.
func TestWatchWithoutPidfd(t *testing.T) {
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "exit 5"},
		&syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(&request{pid: pid, pidfd: -1, spec: &Spec{}}, &stdio{})
	if s := ends(t, p); s.Code != 5 {
		t.Errorf("got %+v", s)
	}
}

func TestSignal(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 0.05; done"))
	readLine(t, p.Stdout)
	for _, bad := range []syscall.Signal{0, -1, 65, 99} {
		if err := p.Signal(bad); err == nil {
			t.Errorf("signal %d: no error", bad)
		}
	}
	// The sleep does not catch it and ends; the shell tells.
	if err := p.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, p.Stdout); line != "got" {
		t.Errorf("got %q", line)
	}
	if s := ends(t, p); s.Code != 4 {
		t.Errorf("got %+v", s)
	}
	if err := p.Signal(unix.SIGUSR1); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// A member that has left the group and the session gets the signal, too.
func TestSignalOutsideGroup(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, `trap : USR1; setsid sh -c 'trap "echo got; exit" USR1; echo ready; while :; do sleep 0.05; done' & while :; do wait; done`))
	readLine(t, p.Stdout)
	if err := p.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, p.Stdout); line != "got" {
		t.Errorf("got %q", line)
	}
}

func TestSignalStorm(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "trap : USR1; echo ready; while :; do sleep 0.01; done"))
	readLine(t, p.Stdout)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				if err := p.Signal(unix.SIGUSR1); err != nil {
					t.Errorf("signal: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if left := p.Stop(0); left != nil {
		t.Errorf("survivors: %v", left)
	}
	if s := p.Wait(); s.Signal != unix.SIGKILL {
		t.Errorf("got %+v", s)
	}
}

func TestSignalNames(t *testing.T) {
	names := map[syscall.Signal]string{
		unix.SIGHUP: "HUP", unix.SIGKILL: "KILL", unix.SIGTERM: "TERM", unix.SIGUSR1: "USR1",
		34: "RTMIN", 35: "RTMIN+1", 64: "RTMAX", 32: "32", 99: "99",
	}
	for sig, want := range names {
		if got := SignalName(sig); got != want {
			t.Errorf("%d: got %q, want %q", sig, got, want)
		}
	}
	for sig := syscall.Signal(1); sig <= rtMax; sig++ {
		if sig == 32 || sig == 33 {
			continue
		}
		for _, name := range []string{SignalName(sig), "SIG" + SignalName(sig), strings.ToLower(SignalName(sig))} {
			if got, err := ParseSignal(name); err != nil || got != sig {
				t.Errorf("%s: got %d, %v; want %d", name, got, err, sig)
			}
		}
	}
	for _, bad := range []string{"", "SIG", "0", "9", "99", "FOO", "RTMIN+31", "RTMIN+-1", "RTMIN+01", " INT", "INT\n", "SIGSIGINT"} {
		if sig, err := ParseSignal(bad); err == nil {
			t.Errorf("%q: got %d", bad, sig)
		} else if want := fmt.Sprintf("unknown signal %q", bad); err.Error() != want {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestConcurrentStarts(t *testing.T) {
	l := newLauncher(t)
	account := self(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			p, err := l.Start(&Spec{
				Account: account,
				Argv:    []string{"/bin/sh", "-c", fmt.Sprintf("umask; exit %d", i)},
				Umask:   i,
			})
			if err != nil {
				t.Error(err)
				return
			}
			out, err := io.ReadAll(p.Stdout)
			if want := fmt.Sprintf("%04o\n", i); err != nil || string(out) != want {
				t.Errorf("umask: got %q, %v; want %q", out, err, want)
			}
			if s := p.Wait(); s.Code != i {
				t.Errorf("command %d: got %+v", i, s)
			}
			p.Stdout.Close()
			p.Stderr.Close()
		})
	}
	wg.Wait()
}
