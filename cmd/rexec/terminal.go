package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"rexec/internal/charset"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/ttymode"
)

// askTerminal asks for a terminal like this one. Without one here its size and settings are the server's choice.
func (p *program) askTerminal(r *proto.Run) {
	p.words = &rawWriter{p.words, &p.raw}
	r.Pty = []byte(terminalType(os.Getenv("TERM")))
	if f := p.screen(); f != nil {
		r.Window = windowOf(f)
	}
	if term.IsTerminal(int(p.in.Fd())) {
		awaitForeground(p.in) // what runs in the background must not draw over who has the terminal
		r.Modes = ttymode.Read(int(p.in.Fd()))
	}
	if len(r.Shell) == 0 && len(r.Argv) == 0 {
		r.Script = true // which on a terminal is a login shell
	}
}

// terminalType is what a server takes for the type of a terminal.
func terminalType(name string) string {
	r := proto.Run{ID: proto.ExecID{1}, Script: true, Pty: []byte(name)}
	if name == "" || r.Validate() != nil {
		return unknownTerminal
	}
	return name
}

// screen is a file that is a terminal, whose size is that of the user's window; nil if none is.
func (p *program) screen() *os.File {
	for _, f := range []*os.File{p.in, p.out, p.err} {
		if term.IsTerminal(int(f.Fd())) {
			return f
		}
	}
	return nil
}

// runOnTerminal runs a command on a terminal of the server, and makes this one do nothing by itself meanwhile.
func (p *program) runOnTerminal(ctx context.Context, cmd *client.Command) (*client.Result, error) {
	defer p.raw.restore() // also if something here panics
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	s := &session{hang: make(chan error, 1), signals: make(chan string), cancel: cancel}
	caught := cmd.Signals
	wg.Go(func() { s.forward(ctx, caught) })
	cmd.Signals = s.signals
	wg.Go(func() { p.raw.watchStops(ctx, p.in, func() {}) })
	if f := p.screen(); f != nil {
		windows := make(chan proto.Window)
		wg.Go(func() { watchWindow(ctx, f, cmd.Run.Window, windows) })
		cmd.Windows = windows
	}
	if cmd.Stdin != nil && term.IsTerminal(int(p.in.Fd())) {
		cmd.Stdin = p.keys(s)
		cmd.Started = func() {
			if err := p.raw.begin(p.in, p.out); err != nil {
				p.logf("this terminal cannot be switched, so what is typed may show twice: %v", err)
			}
		}
	}
	return p.client.Run(ctx, cmd)
}

// keys is what is typed, for the command.
func (p *program) keys(s *session) io.Reader { return p.keysOf(terminalInput(p.in, &p.raw), s) }

// keysOf is what is typed for the command, of what is typed.
func (p *program) keysOf(typed io.Reader, s *session) io.Reader {
	if c := p.charsets; c.local != c.cmd && charset.Converts(c.local, c.cmd) {
		typed = &keyReader{r: typed, c: charset.NewConverter(c.local, c.cmd)}
	}
	if char := p.options.ssh.escape.key(); char != 0 {
		typed = &escapeReader{
			r: typed, char: char, hangUp: func() { s.hangUp(errEscaped) }, suspend: suspend,
			help: func() {
				e := &p.options.ssh.escape
				notef(p.words, "%s. ends the session, %s^Z stops rexec, %s%s types the character; only behind Enter", e, e, e, e)
			},
		}
	}
	return typed
}

// keyReader converts what is typed, character by character. What the other charset lacks becomes a question
// mark, which is seen where it is echoed.
type keyReader struct {
	r    io.Reader
	c    *charset.Converter
	rest []byte
	in   [1 << 10]byte
}

// Read implements [io.Reader].
func (k *keyReader) Read(b []byte) (int, error) {
	for len(k.rest) == 0 {
		n, err := k.r.Read(k.in[:])
		k.rest = k.c.Append(k.rest[:0], k.in[:n])
		if err != nil && len(k.rest) == 0 {
			return 0, err
		}
	}
	n := copy(b, k.rest)
	k.rest = k.rest[n:]
	return n, nil
}

// session is what this side says of a command on a terminal.
type session struct {
	hang    chan error  // why the command is to be hung up
	signals chan string // for the command
	cancel  context.CancelCauseFunc
}

var (
	errEscaped  = errors.New("the session was ended from here")
	errSignaled = errors.New("a signal ended the session")
)

// hangUpTime is how long the command has to end, or the server to answer, once this side has hung up.
const hangUpTime = 2 * time.Second

// hangUp may be called by any goroutine, at any time.
func (s *session) hangUp(cause error) {
	select {
	case s.hang <- cause:
	default: // somebody has done so
	}
}

// forward passes signals on until ctx ends. If rexec itself is to end, or its window was closed, the command is
// hung up as by a terminal that goes away: an interactive shell takes no notice of TERM.
func (s *session) forward(ctx context.Context, caught <-chan string) {
	var next string
	var out chan<- string // nil: there is nothing to pass on
	var why error
	var patience <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-patience:
			s.cancel(why)
			return
		case cause := <-s.hang:
			if why == nil {
				why, patience = cause, time.After(hangUpTime)
				next, out = "HUP", s.signals
			}
		case name := <-caught:
			switch {
			case name == "HUP" || name == "TERM":
				s.hangUp(errSignaled)
			case why == nil:
				next, out = name, s.signals
			}
		case out <- next:
			out = nil
		}
	}
}

// rawWriter writes words of ours to a terminal that does not go back to the begin of a line by itself.
type rawWriter struct {
	w   io.Writer
	raw *rawTerminal
}

// Write implements [io.Writer].
func (w *rawWriter) Write(b []byte) (int, error) {
	out := b
	if w.raw.isOn() {
		out = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
	}
	if _, err := w.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}
