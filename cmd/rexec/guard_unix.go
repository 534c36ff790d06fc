//go:build unix

package main

import (
	"encoding/binary"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A guard is another process of this program that waits for the end of the first one, and puts the terminal back if
// that could not do so: it was killed, or crashed in any of its goroutines. There is one for each command on a terminal.
type guard struct {
	process *os.Process
	pipe    *os.File
}

// guardName is its argv[0]; a command line of this program's own begins with the name of a file.
const guardName = "rexec: guard of the terminal"

// guarded is what a guard is told: On that the terminal is raw, and what it was like.
type guarded struct {
	On         bool
	Saved, Raw unix.Termios
}

// startGuard returns nil if there can be none, which is no reason not to go on.
func startGuard(terminal *os.File) *guard {
	path, err := os.Executable()
	if err != nil {
		return nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	// In a group of its own it gets none of the signals that are typed at the terminal.
	p, err := os.StartProcess(path, []string{guardName}, &os.ProcAttr{
		Files: []*os.File{terminal, nil, nil, r}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		w.Close()
		return nil
	}
	// A crash is told as it begins, so that the terminal is as it was before anybody waits for this process.
	_ = debug.SetCrashOutput(w, debug.CrashOptions{})
	return &guard{p, w}
}

// tell tells a guard what to do if it hears no more.
func (g *guard) tell(what guarded) {
	if g != nil {
		_ = binary.Write(g.pipe, binary.NativeEndian, what) // a guard that is gone can do no harm
	}
}

// end ends it. What it was told last is still to be true.
func (g *guard) end() {
	if g != nil {
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		g.pipe.Close()
		_, _ = g.process.Wait()
	}
}

// standGuard is all that a guard does; it reports false if this process is none.
func standGuard(args []string) bool {
	if len(args) != 1 || args[0] != guardName {
		return false
	}
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGTSTP, unix.SIGTTOU)
	const pipe = 3
	last := awaitCrash(os.NewFile(pipe, "pipe"))
	// A shell that was faster has the terminal for its editor now, and gives it back as it found it.
	const every, patience = 20 * time.Millisecond, 5 * time.Second
	for begin := time.Now(); last.On && time.Since(begin) < patience; <-time.After(every) {
		now, err := unix.IoctlGetTermios(0, getTermios)
		if err != nil {
			break
		}
		if *now == last.Raw { // else whoever has made something else of it knows why
			_ = unix.IoctlSetTermios(0, setTermios, &last.Saved)
			break
		}
	}
	return true
}

// awaitCrash returns what the guard was told last before the other process ended, or began to tell of its crash.
func awaitCrash(r io.Reader) (last guarded) {
	for {
		var kind [1]byte
		if _, err := io.ReadFull(r, kind[:]); err != nil || kind[0] > 1 {
			return last // a crash is told in letters
		}
		next := guarded{On: kind[0] == 1}
		if binary.Read(r, binary.NativeEndian, &next.Saved) != nil || binary.Read(r, binary.NativeEndian, &next.Raw) != nil {
			return last
		}
		last = next
	}
}
