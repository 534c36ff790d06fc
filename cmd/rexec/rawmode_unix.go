//go:build unix

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// rawMode is a terminal's settings (termios(3)) before they were changed and after.
type rawMode struct {
	saved, raw unix.Termios
	guard      *guard
	tried      bool // to start one
}

// enter makes a terminal raw. What it was like is what leave makes it again; if it is raw already, as after a stop
// that nobody saw coming, it is what it was like the first time.
func (m *rawMode) enter(in, _ *os.File) error {
	fd := int(in.Fd())
	now, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return err
	}
	if *now != m.raw {
		m.saved = *now
	}
	if _, err := term.MakeRaw(fd); err != nil {
		return err
	}
	if now, err = unix.IoctlGetTermios(fd, getTermios); err != nil {
		return err
	}
	m.raw = *now
	if !m.tried {
		m.guard, m.tried = startGuard(in), true
	}
	m.guard.tell(guarded{On: true, Saved: m.saved, Raw: m.raw})
	return nil
}

func (m *rawMode) leave(in, _ *os.File) {
	_ = unix.IoctlSetTermios(int(in.Fd()), setTermios, &m.saved)
	m.lose()
}

// lose notes that the terminal is not to be put back any more.
func (m *rawMode) lose() { m.guard.tell(guarded{}) }

func (m *rawMode) end() { m.guard.end() }

// inForeground reports whether a terminal is this process's to read and to switch. One that does not control this
// process is, and so is no terminal at all.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp()
}

// awaitForeground stops this program if it is in the background, by the signal that a shell expects of it.
func awaitForeground(in *os.File) {
	if now, err := unix.IoctlGetTermios(int(in.Fd()), getTermios); err == nil && !inForeground(in) {
		_ = unix.IoctlSetTermios(int(in.Fd()), setTermios, now)
	}
}

// lookEvery is how often a program in the background looks whether it still is: nothing tells it.
const lookEvery = 200 * time.Millisecond

// watchStops gives the terminal back while this program is stopped or in the background, until ctx ends, and calls back
// each time that it has taken it again.
func (r *rawTerminal) watchStops(ctx context.Context, in *os.File, back func()) {
	continued, stop := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if !signal.Ignored(unix.SIGTSTP) {
		signal.Notify(stop, unix.SIGTSTP)
	}
	defer signal.Stop(stop)
	look, away := time.After(0), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-stop:
			r.pause(func() { stopSelf(continued) })
			away = true
		case <-continued:
			away = true
		case <-look:
		}
		look = nil
		switch {
		case !r.resume(in):
			look, away = time.After(lookEvery), true
		case away:
			away = false
			back()
		}
	}
}

// stopSelf stops this program as SIGTSTP would have done, and returns once it goes on. It takes a signal that stops as
// well and was never caught: Go keeps its handler for one that was.
func stopSelf(continued <-chan os.Signal) {
	if unix.Kill(unix.Getpid(), unix.SIGTTOU) != nil {
		return
	}
	// The stop can come a moment after kill returns; where there is no shell to go on from, it does not come at all.
	const moment = time.Second
	select {
	case <-continued:
	case <-time.After(moment):
	}
}

// suspend stops all that was started together with this program, as ^Z does at a terminal that is not raw.
func suspend() { _ = unix.Kill(0, unix.SIGTSTP) }

// terminalInput is what is typed at a terminal; a file that is none is read as it is. Reading from the background does not
// stop this program, which has output to show and an outcome to tell: it waits until it is in the foreground.
func terminalInput(f *os.File, _ *rawTerminal) io.Reader {
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	signal.Ignore(unix.SIGTTIN)
	return &foregroundReader{f, func() bool { return inForeground(f) }}
}

type foregroundReader struct {
	r            io.Reader
	inForeground func() bool
}

// Read implements [io.Reader].
func (r *foregroundReader) Read(b []byte) (int, error) {
	for again := false; ; {
		n, err := r.r.Read(b)
		if !errors.Is(err, unix.EIO) {
			return n, err
		}
		// A read from the background ends so (termios(3)), which can be over by now. That of a terminal that is gone does
		// each time.
		switch here := r.inForeground(); {
		case here && again:
			return n, err
		case here:
			again = true
		default:
			again = false
			<-time.After(lookEvery)
		}
	}
}
