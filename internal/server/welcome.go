package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// welcome takes a connection from accept to a session. Up to the proof the peer is a stranger: a
// deadline, small frames, and no code in reach that could start anything.
func (s *Server) welcome(ctx context.Context, ch Channel) {
	grant, err := s.guardedHandshake(ctx, ch)
	if grant == nil {
		s.refuse(ch, err)
		s.release(ch)
		return
	}
	if m, ok := ch.(multiplexed); ok {
		s.wg.Go(func() { s.further(ctx, m, grant) })
	}
	s.begin(ctx, ch, grant)
}

// begin gives a peer that has proved itself a session, which gives up the connection's place at its end.
func (s *Server) begin(ctx context.Context, ch Channel, grant *auth.Grant) {
	sess := newSession(s, ch, grant)
	if !s.join(sess) {
		sess.lastCall()
	}
	// A goroutine of its own: the handshake has grown the caller's stack, which would stay with the
	// session for as long as it is idle.
	s.wg.Go(func() {
		defer s.release(ch)
		defer s.leave(sess)
		sess.serve(ctx)
	})
}

// multiplexed is a channel whose connection can carry further ones.
type multiplexed interface {
	// Admit allows them.
	Admit()
	// Expel ends the connection with all of them.
	Expel()
	// AcceptStream waits for the next one that the peer opens.
	AcceptStream(ctx context.Context) (net.Conn, error)
}

// further serves the streams that come behind a connection's first one. Its proof holds for them; what
// the key may do, and from where, is looked at anew for each command.
func (s *Server) further(ctx context.Context, m multiplexed, grant *auth.Grant) {
	until, cancel := context.WithCancel(ctx)
	defer cancel()
	s.wg.Go(func() {
		select {
		case <-s.drained: // until then, who asks is told that it is too late
			cancel()
		case <-until.Done():
		}
	})
	var spare allowance
	for {
		conn, err := m.AcceptStream(until)
		if err != nil {
			return
		}
		ch := conn.(Channel)
		if !spare.spend() {
			s.log.Warn("flood of streams, connection closed", zap.String("key", grant.KeyID()), zap.Stringer("peer", ch.RemoteAddr()))
			m.Expel()
			return
		}
		if !s.place() {
			conn.Close()
			continue
		}
		s.begin(ctx, ch, grant)
	}
}

// place takes a place for a stream of a connection that has proved itself; false if there is none.
func (s *Server) place() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.options.MaxConnections {
		return false
	}
	s.total++
	return true
}

// release gives up a connection's place.
func (s *Server) release(ch Channel) {
	s.mu.Lock()
	delete(s.strangers, ch)
	s.total--
	s.mu.Unlock()
}

// join makes a stranger one of the sessions. It reports false if the server is about to end.
func (s *Server) join(sess *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strangers, sess.ch)
	s.sessions[sess] = struct{}{}
	return !s.closing
}

func (s *Server) leave(sess *session) {
	s.mu.Lock()
	delete(s.sessions, sess)
	s.mu.Unlock()
}

// refusedError is a handshake that ended with an answer of ours.
type refusedError struct {
	reason string
	class  auth.Refusal
}

func (e *refusedError) Error() string { return e.reason }

// guardedHandshake keeps a panic over a stranger's bytes from ending the daemon.
func (s *Server) guardedHandshake(ctx context.Context, ch Channel) (grant *auth.Grant, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("internal error: panic in a handshake", zap.Any("panic", p), zap.Stack("stack"))
			grant, err = nil, errors.New("internal error")
		}
	}()
	return s.handshake(ctx, ch)
}

// handshake returns the grant of a peer that proved itself, with the deadline lifted.
func (s *Server) handshake(ctx context.Context, ch Channel) (*auth.Grant, error) {
	start := time.Now()
	_ = ch.SetDeadline(start.Add(s.options.HandshakeTimeout))
	if s.isOver() { // its deadline may just have been set to now, by Shutdown
		return nil, ErrClosed
	}
	binding, err := ch.Bind(ctx)
	if err != nil {
		return nil, err
	}
	if s.wasProbe(ch.RemoteAddr()) {
		return nil, errProbe
	}
	rd := proto.NewUnprovenReader(ch)
	t, _, err := rd.Next()
	if err != nil {
		return nil, fmt.Errorf("reading the proof: %w", err)
	}
	payload, err := rd.Payload()
	if err != nil {
		return nil, fmt.Errorf("reading the proof: %w", err)
	}
	choice := proto.Choice{
		Version: proto.Version, Instance: s.jobs.Instance,
		Uptime: s.jobs.Uptime(), Retain: s.jobs.Retain(),
	}
	v := s.privileged.Verify(auth.Attempt{
		Transport: ch.Kind(), Binding: binding, Remote: remoteAddr(ch),
		Type: t, Payload: payload, Choice: choice.Append(nil),
	})
	if m, ok := ch.(multiplexed); ok && v.Grant != nil {
		m.Admit() // the peer may go on as soon as it has the answer
	}
	if err := proto.NewWriter(ch).Write(v.Reply); err != nil {
		return nil, fmt.Errorf("writing the answer to the proof: %w", err)
	}
	if v.Grant == nil {
		return nil, &refusedError{v.Reason, v.Class}
	}
	took := time.Since(start)
	fields := []zap.Field{zap.String("key", v.KeyID), zap.Duration("took", took)}
	if v.Old {
		fields = append(fields, zap.Bool("old_secret", true))
	}
	if v.Offer != nil && v.Offer.Target != "" {
		fields = append(fields, zap.String("target", clean(v.Offer.Target)))
	}
	s.attempt(ch, Attempt{Outcome: accepted, Took: took}, fields...)
	return v.Grant, ch.SetDeadline(time.Time{})
}

// refuse logs why a connection got no session, and closes it so that the peer can read the answer.
func (s *Server) refuse(ch Channel, err error) {
	var refused *refusedError
	switch {
	case errors.Is(err, errProbe):
		ch.Close()
	case s.wasDisplaced(ch):
		s.attempt(ch, Attempt{Outcome: "dropped", Reason: reasonUnproven},
			zap.String("reason", "max_unauthenticated reached, a newer connection took its place"))
		ch.Close()
	case errors.As(err, &refused):
		s.attempt(ch, Attempt{Outcome: "refused", Reason: string(refused.class)}, zap.String("reason", clean(refused.reason)))
		linger(ch, min(s.options.HandshakeTimeout, 2*time.Second))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
		s.attempt(ch, Attempt{Outcome: "closed"}, zap.String("reason", "the peer left before the proof"))
		ch.Close()
	default:
		s.attempt(ch, Attempt{Outcome: "failed"}, zap.String("reason", clean(err.Error())))
		ch.Close()
	}
}

// linger closes a connection after the peer has read what was written: closing one with unread input
// resets it, and the reset overtakes the last answer.
func linger(ch Channel, limit time.Duration) {
	_ = ch.SetDeadline(time.Now().Add(limit))
	if ch.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(ch, lingerBytes))
	}
	ch.Close()
}

// lingerBytes bounds what is read from a peer that nobody listens to any more.
const lingerBytes = 1 << 20

// Failed logs a connection that a listener has given up before it could be accepted.
func (s *Server) Failed(peer net.Addr, err error) {
	s.attempts.Warn("connection", zap.String("outcome", "failed"), zap.Stringer("peer", peer),
		zap.String("transport", "udp"), zap.String("reason", clean(err.Error())))
	s.observe(Attempt{Transport: "udp", Outcome: "failed"})
}

// attempt logs one line for a connection attempt, and tells the observer of it.
func (s *Server) attempt(ch Channel, a Attempt, fields ...zap.Field) {
	a.Transport = transportOf(ch.Kind())
	s.observe(a)
	fields = append([]zap.Field{zap.String("outcome", a.Outcome), zap.Stringer("peer", ch.RemoteAddr()),
		zap.String("transport", a.Transport)}, fields...)
	if a.Outcome == accepted {
		s.log.Info("connection", fields...)
		return
	}
	s.attempts.Warn("connection", fields...)
}

// sampled keeps strangers from filling the log: of equal lines the first 50 a second, then every 100th.
func sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(c, time.Second, 50, 100)
	}))
}

// clean makes a peer's text safe for a log that people read in terminals.
func clean(text string) string {
	q := strconv.QuoteToASCII(text)
	return q[1 : len(q)-1]
}

func remoteAddr(ch Channel) netip.Addr { return addrPort(ch.RemoteAddr()).Addr() }

func peerOf(ch Channel) job.Peer {
	return job.Peer{Remote: addrPort(ch.RemoteAddr()), Local: addrPort(ch.LocalAddr())}
}

// addrPort is an address as a value; the zero value if it is none of IP.
func addrPort(a net.Addr) netip.AddrPort {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
