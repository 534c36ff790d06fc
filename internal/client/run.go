package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"syscall"
	"time"

	"rexec/internal/auth"
	"rexec/internal/proto"
)

// Command is one execution as a caller wants it.
type Command struct {
	// Run says what to run. A zero ID is replaced by a random one; offsets, StartBy and NoStdin are
	// the client's business.
	Run proto.Run
	// Stdin is read once the command has started, as far ahead as the server takes it; nil: the
	// command's stdin is empty. A Read that blocks at the command's end is left behind.
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil: discarded
	// Signals are names ("INT") for the command's tree. The third one kills the tree, for a command
	// that ignores the others, and one more than 2 s later ends Run. So does one that comes while there is no
	// connection.
	Signals <-chan string
	// Windows are the sizes of the caller's terminal, as they change, for a Run with Pty; Run.Window is the
	// first one. Nil: it does not change.
	Windows <-chan proto.Window
	// Started is called once, when a server first says that the command runs, before any of its output is
	// written; nil: nobody is told.
	Started func()
	// Banner is called with the operator's text for people, if there is one, before Started; nil: nobody is told.
	// A server sends it with every Lasting Run that has no State, so a prompt asks for it once. It is the peer's
	// text, to be shown escaped.
	Banner func(text string)
}

// Result is a command's end as the server recorded it, with what only this side knows. Its ShellState, if not empty,
// is the State for the next line of a prompt, be this one refused or not; empty: the old one goes on.
type Result struct {
	proto.Exit
	ID       proto.ExecID
	Attached bool // the execution existed before the first request
	// Missing counts output bytes per stream that this client could not get: they were delivered to
	// an earlier client, or dropped after it was gone for too long.
	Missing [2]uint64
	// Resumed counts lost connections that were made good.
	Resumed int
}

// NewID returns a random execution ID.
func NewID() (id proto.ExecID) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// newCall returns a number for one call, which is not zero.
func newCall() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:]) | 1
}

// LostError says that a command may have run and that its outcome is not known.
type LostError struct {
	ID    proto.ExecID
	Cause error
}

func (e *LostError) Error() string { return "outcome unknown: " + e.Cause.Error() }
func (e *LostError) Unwrap() error { return e.Cause }

// OutputError says that output could not be written on this side.
type OutputError struct {
	Stream proto.Stream
	Err    error
}

func (e *OutputError) Error() string { return fmt.Sprintf("writing %s: %v", e.Stream, e.Err) }
func (e *OutputError) Unwrap() error { return e.Err }

// InputError says that stdin could not be read to its end on this side.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "reading stdin: " + e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// Causes of a loss that have names.
var (
	ErrRestarted   = errors.New("the daemon was restarted")
	ErrInterrupted = errors.New("interrupted")
	ErrIncomplete  = errors.New("the output does not add up to what the server counted")
)

// Run runs a command and returns its exit record: whatever the command did is a result, not an error.
// An error means that nothing was run, unless it is a *LostError. An *OutputError or *InputError
// comes with a result.
func (c *Client) Run(ctx context.Context, cmd *Command) (*Result, error) {
	x := newExecution(cmd)
	if err := x.run.Validate(); err != nil {
		return nil, fmt.Errorf("invalid request: %w", err)
	}
	if n := len(x.run.Append(nil)); n > proto.MaxRun {
		return nil, fmt.Errorf("argument list too long: the request takes %d bytes, limit %d", n, proto.MaxRun)
	}
	defer x.stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go x.forwardSignals(ctx, cancel)
	if cmd.Windows != nil {
		x.wg.Go(func() { x.forwardWindows(ctx) })
	}
	if c.options.mayMove {
		x.move.start = func(from *link) { c.moveToTCP(ctx, x, from) }
	}
	var retry patience
	for {
		l, err := c.request(ctx, x)
		if err == nil {
			if err = x.serve(ctx, l); err == nil {
				return x.result()
			}
		}
		c.drop(l)
		if next := x.next(); next != nil {
			c.adopt(next)
			if context.Cause(ctx) == nil && !final(err) {
				c.options.Log("going on over TCP")
				continue
			}
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if final := retry.verdict(ctx, x, err); final != nil {
			return nil, final
		}
		c.options.Log("connection lost (%v), coming back for the rest", err)
		if !retry.wait(ctx) {
			return nil, x.lost(context.Cause(ctx))
		}
		x.resumed++
	}
}

// request sends the run request over the open connection or a new one.
func (c *Client) request(ctx context.Context, x *execution) (*link, error) {
	first := &early{run: &x.run, sending: x.sending}
	if x.mayHaveStarted {
		first = nil // what it may say depends on the daemon that answers
	}
	c.refresh(ctx)
	l, sent, err := c.connected(ctx, first)
	if err != nil {
		x.mayHaveStarted = sent || x.mayHaveStarted && first == nil
		return nil, err
	}
	if sent {
		x.sentOver(l)
		return l, nil
	}
	if x.mayHaveStarted {
		if err := x.again(l); err != nil {
			return l, err
		}
	} else {
		x.sentOver(l)
		if !x.sending() {
			return l, ErrInterrupted
		}
	}
	settle(l, &x.run)
	return l, l.write(&x.run)
}

// refresh makes sure that the open connection, if there is one, is fit for a request: it has not been
// closed meanwhile, and the daemon's uptime on it is young enough to say how long the request is good.
func (c *Client) refresh(ctx context.Context) {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l == nil {
		return
	}
	retain := time.Duration(l.choice.Retain) * time.Millisecond
	fit := l.ch.Quiet()
	if fit && l.age() > retain/4 {
		stop := context.AfterFunc(ctx, l.abort)
		fit = l.roundTrip() == nil
		stop()
	}
	if !fit {
		c.options.Log("the open connection has ended; opening another one")
		c.drop(l)
	}
}

// patience decides how often and how long a lost connection is tried again.
type patience struct {
	since   time.Time // of the first failure in a row
	refused time.Time // since when the server's port has been closed
	delay   time.Duration
	met     int // connections in a row that led to the execution and broke before anything moved
}

// maxMet is how many of them are followed by another one at once: a network may break in the middle of each large
// frame, but a server that only greets and hangs up must not be called without a pause.
const maxMet = 8

// refusedPatience is shorter than the daemon's retention: a closed port means that the daemon has
// ended, and with it every attached execution; but a proxy or a socket may be a moment behind.
const refusedPatience = 10 * time.Second

// verdict returns the error to give up with, or nil to try again.
func (p *patience) verdict(ctx context.Context, x *execution, err error) error {
	if !x.mayHaveStarted {
		return err
	}
	if ctx.Err() != nil || final(err) {
		return x.lost(err)
	}
	now := time.Now()
	met, moved := x.progress()
	if p.since.IsZero() || met || moved {
		p.since = now
	}
	switch {
	case moved:
		p.delay, p.met = 0, 0
	case met && p.met < maxMet:
		p.delay, p.met = 0, p.met+1
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		p.refused = time.Time{}
	} else if p.refused.IsZero() {
		p.refused = now
	}
	if now.Sub(p.since) > x.patience() || (!p.refused.IsZero() && now.Sub(p.refused) > refusedPatience) {
		return x.lost(err)
	}
	return nil
}

// final reports whether trying again cannot help.
func final(err error) bool {
	var said *proto.Error
	var denied *auth.DeniedError
	var exit *LostError
	var frame *proto.FrameError
	return errors.As(err, &frame) || errors.As(err, &said) || errors.As(err, &denied) || errors.As(err, &exit) ||
		errors.Is(err, ErrRestarted) || errors.Is(err, auth.ErrRefused) || errors.Is(err, auth.ErrServerProof) ||
		errors.Is(err, errProtocol) || errors.Is(err, proto.ErrMalformed) || errors.Is(err, ErrClosed)
}

// wait sleeps before the next try, the first time not at all.
func (p *patience) wait(ctx context.Context) bool {
	d := p.delay
	p.delay = min(max(2*d, 50*time.Millisecond), 2*time.Second)
	if d == 0 {
		return ctx.Err() == nil
	}
	d += time.Duration(mrand.Int64N(int64(d)/2 + 1))
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
