package classic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
)

// Serve accepts TCP clients until the listener fails, ctx ends or Shutdown is called; the last two give
// ErrClosed. It closes the listener.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	defer ln.Close()
	inner, l, err := s.begin(ctx, ln.Addr(), func() { ln.Close() })
	if err != nil {
		return err
	}
	defer l.end()
	var open sync.WaitGroup
	defer open.Wait()
	var again retry
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			again = retry{}
			c := newConn(s, nc)
			s.admit(c)
			open.Go(func() { c.serve(inner) })
		case s.isClosing() || inner.Err() != nil:
			return ErrClosed
		case !again.after(inner, s.log, err):
			l.cut() // nobody shall wait for clients that stay to hear of it
			return err
		}
	}
}

// admit lets a stranger try. If there are too many, some other one goes first: whoever means it is
// welcomed within milliseconds, so that others who keep silent cannot shut him out.
func (s *Server) admit(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.strangers) >= s.options.MaxConnections {
		other := s.someStranger()
		other.nc.Close()
		s.mu.Unlock()
		<-other.over
		s.mu.Lock()
	}
	s.strangers[c] = struct{}{}
	if s.closing {
		c.nc.Close()
	}
}

// someStranger is called with the lock held, and only if there is one.
func (s *Server) someStranger() *conn {
	for c := range s.strangers { // in an order that nobody can foresee
		return c
	}
	panic("internal error: a full house without strangers")
}

var (
	errClosing = errors.New("shutting down")
	errFull    = errors.New("classic.max_connections reached")
)

// join makes a stranger one of the clients.
func (s *Server) join(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strangers, c)
	switch {
	case s.closing:
		return errClosing
	case len(s.conns) >= s.options.MaxConnections:
		return errFull
	}
	s.conns[c] = struct{}{}
	return nil
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strangers, c)
	delete(s.conns, c)
}

// conn is a TCP client. One goroutine reads what it sends, one, serve, does what it says.
type conn struct {
	server *Server
	nc     net.Conn
	remote netip.Addr
	in     *intake
	cancel context.CancelFunc // ends the running command and the connection
	over   chan struct{}      // closed once nothing of it goes on

	mu        sync.Mutex
	since     time.Time   // when it became welcome
	grant     *auth.Grant // nil until then
	busy      bool        // a command runs or is being answered
	dismissed bool        // there will be no further one
	leaving   *time.Timer // ends what runs; nil unless the client has closed its side
	ended     bool        // nothing runs any more, nor will
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{server: s, nc: nc, remote: addrPort(nc.RemoteAddr()).Addr(),
		over: make(chan struct{}),
		in:   newIntake(nc, s.options.Lines, s.options.Pause)}
}

func (c *conn) serve(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { c.nc.Close() })
	var reader sync.WaitGroup
	defer func() {
		c.cancel()
		stop()
		c.in.stop()
		c.nc.Close()
		reader.Wait()
		c.end()
		c.server.leave(c)
		close(c.over)
	}()
	defer c.server.guard()
	err := c.welcome()
	if c.attempt(err); err != nil {
		return
	}
	reader.Go(func() { c.gone(c.in.read()) })
	err = c.converse(ctx)
	if errors.Is(err, errTooLong) || errors.Is(err, errForeign) || errors.Is(err, errDismissed) {
		c.linger(&reader)
	}
	c.server.log.Debug("classic conversation ended", zap.Stringer("peer", c.nc.RemoteAddr()), zap.NamedError("cause", err))
}

// welcome finds out whether the client may be here. Until then it gets nothing but the challenge.
func (c *conn) welcome() error {
	o := &c.server.options
	_ = c.nc.SetDeadline(time.Now().Add(o.HandshakeTimeout))
	grant, err := c.server.privileged.Vouch(c.remote)
	if err != nil {
		return err
	}
	if err := challenge(c.nc, o.Auth, o.Secret); err != nil {
		return err
	}
	if err := c.server.join(c); err != nil {
		return err
	}
	c.mu.Lock()
	c.grant, c.since = grant, time.Now()
	c.mu.Unlock()
	return c.nc.SetDeadline(time.Time{})
}

// errDismissed ends a conversation between two commands.
var errDismissed = errors.New("the client was dismissed")

// converse runs one command after the other.
func (c *conn) converse(ctx context.Context) error {
	o := &c.server.options
	for {
		if !c.setBusy(false) {
			return errDismissed
		}
		idle := time.AfterFunc(o.IdleTimeout, c.cancel)
		text, err := c.in.next()
		idle.Stop()
		if errors.Is(err, errTooLong) {
			return errors.Join(err, c.answer(notRun(fmt.Sprintf("the command is longer than %d bytes", maxCommand))))
		}
		if err != nil {
			return err
		}
		if foreign(text, o.Lines) {
			return errors.Join(errForeign, c.answer(notRun(errForeign.Error())))
		}
		if !c.setBusy(true) {
			return errDismissed
		}
		text, err = c.server.execute(ctx, &request{
			grant: c.grant, remote: c.remote, peer: c.nc.RemoteAddr(), text: text, limit: o.MaxAnswer,
			authenticated: o.Auth != NoAuth,
		})
		if err != nil {
			return err
		}
		if err := c.answer(text); err != nil {
			return err
		}
	}
}

// setBusy reports whether the conversation may go on.
func (c *conn) setBusy(busy bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = busy
	if c.leaving != nil && busy {
		c.leaving.Reset(c.server.options.AfterEOF)
	}
	return !c.dismissed
}

// dismiss ends the conversation once the command that runs has been answered, or now. It is called by
// other goroutines.
func (c *conn) dismiss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dismissed = true
	if !c.busy {
		c.nc.Close()
	}
}

// review dismisses a client whose key may not be used any more, and sees one leave that has sent so much
// ahead that nobody reads it now.
func (c *conn) review() {
	switch closed(c.nc) {
	case bothSides:
		c.cancel()
	case itsSide:
		c.gone(io.EOF)
	}
	c.mu.Lock()
	grant := c.grant
	c.mu.Unlock()
	if grant == nil {
		return // still to be welcomed
	}
	if err := c.server.privileged.Authorize(grant, c.remote); err != nil {
		c.dismiss()
	}
}

// gone is called when nothing more comes. A client that has closed its side may be one that only has
// nothing more to say and waits for its answers, each of which gets some time; mostly it has left, which
// the first answer would show.
func (c *conn) gone(err error) {
	switch {
	case errors.Is(err, errTooLong) || errors.Is(err, errStopped):
	case errors.Is(err, io.EOF):
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.leaving == nil && !c.ended {
			c.leaving = time.AfterFunc(c.server.options.AfterEOF, c.cancel)
		}
	default:
		c.cancel()
	}
}

// end leaves no timer behind: those of many clients that go at once would all run out together later.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.leaving != nil {
		c.leaving.Stop()
	}
}

// answerPiece is the part of an answer for which there is one deadline.
const answerPiece = 64 << 10

// answer sends a text behind its length: 4 bytes, little-endian, signed, for that is what struct.pack('i')
// makes on the machines that the protocol comes from.
func (c *conn) answer(text []byte) error {
	head := make([]byte, 4, 4+min(len(text), answerPiece))
	binary.LittleEndian.PutUint32(head, uint32(len(text)))
	n := min(len(text), answerPiece)
	piece := append(head, text[:n]...)
	for len(piece) > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.server.options.WriteTimeout))
		if _, err := c.nc.Write(piece); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		text = text[n:]
		n = min(len(text), answerPiece)
		piece = text[:n]
	}
	return nil
}

// lingerTime is how long a client that sends on may hold up the end of its connection.
const lingerTime = 2 * time.Second

// linger lets the client read the last answer: closing a connection with unread input resets it, and the
// reset overtakes the answer.
func (c *conn) linger(reader *sync.WaitGroup) {
	c.in.stop()
	if w, ok := c.nc.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
		reader.Wait()
	}
}

// attempt logs that a client came, and what became of it.
func (c *conn) attempt(refused error) {
	peer := zap.Stringer("peer", c.nc.RemoteAddr())
	if refused != nil {
		c.server.observe("tcp", "refused")
	} else {
		c.server.observe("tcp", "accepted")
	}
	switch proven := c.server.options.Auth != NoAuth; {
	case refused != nil:
		if c.server.tally.add("connection refused") {
			c.server.log.Warn("classic connection", zap.String("outcome", "refused"), peer,
				zap.String("reason", clean(refused.Error())))
		}
	case proven || c.server.tally.add("connection accepted"):
		c.server.log.Info("classic connection", zap.String("outcome", "accepted"), peer,
			zap.String("key", c.grant.KeyID()))
	}
}
