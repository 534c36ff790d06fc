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
	sess := newSession(s, ch, grant)
	if !s.join(sess) {
		ch.Close()
		s.release(ch)
		return
	}
	// A goroutine of its own: the handshake has grown this one's stack, which would stay with the
	// session for as long as it is idle.
	s.wg.Go(func() {
		defer s.release(ch)
		defer s.leave(sess)
		sess.serve(ctx)
	})
}

// release gives up a connection's place.
func (s *Server) release(ch Channel) {
	s.mu.Lock()
	delete(s.strangers, ch)
	s.total--
	s.mu.Unlock()
}

func (s *Server) join(sess *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.strangers, sess.ch)
	if !s.closing {
		s.sessions[sess] = struct{}{}
	}
	return !s.closing
}

func (s *Server) leave(sess *session) {
	s.mu.Lock()
	delete(s.sessions, sess)
	s.mu.Unlock()
}

// refusedError is a handshake that ended with an answer of ours.
type refusedError struct{ reason string }

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
	if s.isClosing() { // its deadline may just have been set to now, by Shutdown
		return nil, ErrClosed
	}
	binding, err := ch.Bind(ctx)
	if err != nil {
		return nil, err
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
	if err := proto.NewWriter(ch).Write(v.Reply); err != nil {
		return nil, fmt.Errorf("writing the answer to the proof: %w", err)
	}
	if v.Grant == nil {
		return nil, &refusedError{v.Reason}
	}
	fields := []zap.Field{zap.String("key", v.KeyID), zap.Duration("took", time.Since(start))}
	if v.Offer != nil && v.Offer.Target != "" {
		fields = append(fields, zap.String("target", clean(v.Offer.Target)))
	}
	s.attempt(ch, "accepted", fields...)
	return v.Grant, ch.SetDeadline(time.Time{})
}

// refuse logs why a connection got no session, and closes it so that the peer can read the answer.
func (s *Server) refuse(ch Channel, err error) {
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		s.attempt(ch, "refused", zap.String("reason", clean(refused.reason)))
		linger(ch, s.options.HandshakeTimeout)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed):
		s.attempt(ch, "closed", zap.String("reason", "the peer left before the proof"))
		ch.Close()
	default:
		s.attempt(ch, "failed", zap.String("reason", clean(err.Error())))
		ch.Close()
	}
}

// linger closes a connection after the peer has read what was written: closing one with unread input
// resets it, and the reset overtakes the last answer.
func linger(ch Channel, limit time.Duration) {
	_ = ch.SetDeadline(time.Now().Add(min(limit, 2*time.Second)))
	if ch.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(ch, lingerBytes))
	}
	ch.Close()
}

// lingerBytes bounds what is read from a peer that nobody listens to any more.
const lingerBytes = 1 << 20

// attempt logs one line for a connection attempt.
func (s *Server) attempt(ch Channel, outcome string, fields ...zap.Field) {
	fields = append([]zap.Field{zap.String("outcome", outcome), zap.Stringer("peer", ch.RemoteAddr())}, fields...)
	if outcome == "accepted" {
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

func remoteAddr(ch Channel) netip.Addr {
	if a, err := netip.ParseAddrPort(ch.RemoteAddr().String()); err == nil {
		return a.Addr().Unmap()
	}
	return netip.Addr{}
}
