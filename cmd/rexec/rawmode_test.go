//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/rexectest"
)

// crashing is a variable of the environment with which this test binary makes a terminal raw and crashes.
const crashing = "REXECTEST_CRASH"

func TestMain(m *testing.M) {
	if standGuard(os.Args) {
		return
	}
	if os.Getenv(crashing) != "" {
		crash()
	}
	os.Exit(m.Run())
}

// crash panics beside a main goroutine that waits for something else.
func crash() {
	var raw rawTerminal
	defer raw.restore()
	if err := raw.begin(os.Stdin, os.Stdout); err != nil {
		panic("internal error: " + err.Error())
	}
	go func() { panic("internal error: forced by a test") }()
	select {}
}

// TestTerminalAfterPanic: a panic in any goroutine leaves the terminal as it was.
func TestTerminalAfterPanic(t *testing.T) {
	tty, err := rexectest.NewTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	settings := func() unix.Termios {
		s, err := unix.IoctlGetTermios(int(tty.File().Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *s
	}
	before := settings()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashing+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.File(), tty.File(), tty.File()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("%v, want the exit code of a panic: %s", err, tty.Screen())
	}
	told := func() bool { return strings.Contains(string(tty.Screen()), "forced by a test") }
	for deadline := time.Now().Add(20 * time.Second); settings() != before || !told(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the terminal is %+v, was %+v, and has: %s", settings(), before, tty.Screen())
		}
	}
}

// TestAwaitCrash: what is told last counts, and a message that was cut off does not.
func TestAwaitCrash(t *testing.T) {
	on := guarded{On: true, Saved: unix.Termios{Iflag: 1}, Raw: unix.Termios{Iflag: 2}}
	for name, tt := range map[string]struct {
		tell func(g *guard)
		want guarded
	}{
		"end":       {func(g *guard) { g.tell(on) }, on},
		"put back":  {func(g *guard) { g.tell(on); g.tell(guarded{}) }, guarded{}},
		"crash":     {func(g *guard) { g.tell(on); _, _ = g.pipe.WriteString("panic: x\n") }, on},
		"begin":     {func(*guard) {}, guarded{}},
		"cut short": {func(g *guard) { g.tell(on); _, _ = g.pipe.Write([]byte{0, 1}) }, on},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		tt.tell(&guard{pipe: w})
		w.Close()
		if got := awaitCrash(r); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		r.Close()
	}
}

// TestWatchStopsEnds with its context, also while this process is in the background or has no terminal.
func TestWatchStopsEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	done := make(chan struct{})
	go func() { defer close(done); new(rawTerminal).watchStops(ctx, r, func() {}) }()
	cancel()
	<-done
}
