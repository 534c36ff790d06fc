//go:build linux

package rexectest

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal whose screen a test reads. It neither echoes nor turns LF into CR LF, so
// what it has read is what the program wrote.
type Terminal struct {
	master, slave *os.File
	read          sync.WaitGroup
	mu            sync.Mutex
	screen        bytes.Buffer
}

// NewTerminal opens a terminal (pty(7)).
func NewTerminal() (*Terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := &Terminal{master: master}
	if err := t.open(); err != nil {
		master.Close()
		return nil, fmt.Errorf("opening a terminal: %w", err)
	}
	t.read.Go(func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := t.master.Read(buf) // EIO once no program has it open
			t.mu.Lock()
			t.screen.Write(buf[:n])
			t.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	return t, nil
}

func (t *Terminal) open() error {
	rc, err := t.master.SyscallConn()
	if err != nil {
		return err
	}
	var number int
	var ioctlErr error
	err = rc.Control(func(fd uintptr) {
		if ioctlErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); ioctlErr == nil {
			number, ioctlErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err != nil || ioctlErr != nil {
		return fmt.Errorf("%w %w", err, ioctlErr)
	}
	if t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return err
	}
	mode, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	mode.Oflag &^= unix.OPOST
	mode.Lflag &^= unix.ECHO
	return unix.IoctlSetTermios(int(t.slave.Fd()), unix.TCSETS, mode)
}

// File is the program's side, to be its stdin, stdout and stderr.
func (t *Terminal) File() *os.File { return t.slave }

// Type types text. In the middle of a line it is not seen by a program that reads lines.
func (t *Terminal) Type(text []byte) error {
	_, err := t.master.Write(text)
	return err
}

// Screen is what was written to the terminal so far.
func (t *Terminal) Screen() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.screen.Bytes())
}

// Close closes the terminal once the programs on it have ended, and returns what they wrote.
func (t *Terminal) Close() []byte {
	t.slave.Close()
	t.read.Wait()
	t.master.Close()
	return t.Screen()
}
