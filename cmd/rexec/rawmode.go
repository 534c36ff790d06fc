package main

import (
	"io"
	"os"
	"sync"
)

// rawTerminal is this side's terminal, which is put back as it was whatever happens. While this program is
// stopped, or in the background, the terminal is somebody else's.
type rawTerminal struct {
	mu      sync.Mutex
	in, out *os.File // nil before the begin
	mode    rawMode
	on      bool
	ended   bool
}

// begin makes the terminal pass everything on. After the end it does nothing.
func (r *rawTerminal) begin(in, out *os.File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.in != nil {
		return nil
	}
	r.in, r.out = in, out
	if !inForeground(in) {
		return nil // until resume
	}
	return r.enter()
}

func (r *rawTerminal) enter() error {
	err := r.mode.enter(r.in, r.out)
	r.on = err == nil
	return err
}

// pause puts the terminal back for as long as stopped takes.
func (r *rawTerminal) pause(stopped func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave()
	stopped()
}

// leave puts the terminal back if it is ours. What somebody in the foreground has made of it stays, and changing it
// would stop this program (tcsetattr(3), SIGTTOU).
func (r *rawTerminal) leave() {
	if !r.on {
		return
	}
	r.on = false
	if inForeground(r.in) {
		r.mode.leave(r.in, r.out)
	} else {
		r.mode.lose()
	}
}

// resume takes the terminal again after pause, or after a stop that nobody could see coming, and reports false while
// this program is in the background.
func (r *rawTerminal) resume(in *os.File) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !inForeground(in) {
		r.leave()
		return false
	}
	if r.in != nil && !r.ended {
		_ = r.enter() // as good as before, or there is no terminal any more
	}
	return true
}

// restore puts it back, once and for all.
func (r *rawTerminal) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave()
	r.mode.end()
	r.ended = true
}

func (r *rawTerminal) isOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.on
}

// consoleReader reads from a console of Windows by way of package os, which takes ^Z for the end of input wherever it
// is typed. While the console is raw it is a key like any other.
type consoleReader struct {
	r     io.Reader
	isRaw func() bool
}

// Read implements [io.Reader].
func (c *consoleReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if n == 0 && err == io.EOF && len(b) > 0 && c.isRaw() {
		b[0] = ctrlZ
		return 1, nil
	}
	return n, err
}
