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

// A keeper is another process of this program that waits for the end of the first one, and puts the terminal back if
// that could not do so: it was killed, or crashed in any of its goroutines. There is one for each command on a terminal.
type keeper struct {
	process *os.Process
	pipe    *os.File
}

// keeperName is its argv[0]; a command line of this program's own begins with the name of a file.
const keeperName = "rexec: keeper of the terminal"

// keeping is what a keeper is told: On that the terminal is raw, and what it was like.
type keeping struct {
	On         bool
	Saved, Raw unix.Termios
}

// startKeeper returns nil if there can be none, which is no reason not to go on.
func startKeeper(terminal *os.File) *keeper {
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
	p, err := os.StartProcess(path, []string{keeperName}, &os.ProcAttr{
		Files: []*os.File{terminal, nil, nil, r}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		w.Close()
		return nil
	}
	// A crash is told as it begins, so that the terminal is as it was before anybody waits for this process.
	_ = debug.SetCrashOutput(w, debug.CrashOptions{})
	return &keeper{p, w}
}

// tell tells a keeper what to do if it hears no more.
func (k *keeper) tell(what keeping) {
	if k != nil {
		_ = binary.Write(k.pipe, binary.NativeEndian, what) // a keeper that is gone can do no harm
	}
}

// end ends it. What it was told last is still to be true.
func (k *keeper) end() {
	if k != nil {
		_ = debug.SetCrashOutput(nil, debug.CrashOptions{})
		k.pipe.Close()
		_, _ = k.process.Wait()
	}
}

// keep is all that a keeper does; it reports false if this process is none.
func keep(args []string) bool {
	if len(args) != 1 || args[0] != keeperName {
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

// awaitCrash returns what the keeper was told last before the other process ended, or began to tell of its crash.
func awaitCrash(r io.Reader) (last keeping) {
	for {
		var kind [1]byte
		if _, err := io.ReadFull(r, kind[:]); err != nil || kind[0] > 1 {
			return last // a crash is told in letters
		}
		next := keeping{On: kind[0] == 1}
		if binary.Read(r, binary.NativeEndian, &next.Saved) != nil || binary.Read(r, binary.NativeEndian, &next.Raw) != nil {
			return last
		}
		last = next
	}
}
