package server

import (
	"maps"
	"slices"
	"time"

	"rexec/internal/proto"
)

// Observer is told what happens, for whoever counts it. It must not block.
type Observer interface {
	// Attempt is told how a connection attempt ended.
	Attempt(Attempt)
	// NotRun is told the record of a request that started nothing.
	NotRun(*proto.Exit)
}

// Attempt is a connection attempt that has ended. All of its texts are of a few.
type Attempt struct {
	Transport string        // tcp or udp
	Outcome   string        // accepted, refused, failed, closed (by the peer, before the proof) or dropped
	Reason    string        // of one that was refused (an auth.Refusal) or dropped (the limit); else empty
	Took      time.Duration // TLS (but for QUIC, where it came before) and proof, of one that was accepted
}

const accepted = "accepted"

// Reasons are those of attempts that are dropped.
func Reasons() []string { return []string{reasonTotal, reasonUnproven, reasonShutdown} }

const (
	reasonTotal    = "max_connections"
	reasonUnproven = "max_unauthenticated"
	reasonShutdown = "shutdown"
)

func (s *Server) observe(a Attempt) {
	if o := s.options.Observer; o != nil {
		o.Attempt(a)
	}
}

func transportOf(kind uint8) string {
	if kind == proto.TransportQUIC {
		return "udp"
	}
	return "tcp"
}

// PerTransport is one number for each transport.
type PerTransport struct{ TCP, UDP uint64 }

func (p *PerTransport) add(kind uint8) {
	if kind == proto.TransportQUIC {
		p.UDP++
		return
	}
	p.TCP++
}

// Counts are a server's numbers at one moment. A QUIC connection counts once for each of its streams.
type Counts struct {
	Unproven PerTransport // connections without a proof as yet
	Sessions PerTransport
	Accepted PerTransport // connections of the listeners so far, without further streams
	Revoked  uint64       // sessions that were ended so far, since their keys were not valid any more
	Reviews  uint64       // looks so far at whether the keys of all sessions are valid
}

// Serving is the number of listeners that are being served, and whether Shutdown has begun.
func (s *Server) Serving() (listeners int, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners), s.closing
}

// Counts counts.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Counts{Accepted: s.accepted, Revoked: s.revoked, Reviews: s.reviews}
	for ch := range s.strangers {
		c.Unproven.add(ch.Kind())
	}
	for sess := range s.sessions {
		c.Sessions.add(sess.ch.Kind())
	}
	return c
}

// SessionInfo is a session at one moment.
type SessionInfo struct {
	KeyID, Peer, Transport string
	Since                  time.Time
}

// Sessions returns who is connected, in no order. No lock is held when it returns.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	all := make([]SessionInfo, len(open))
	for i, sess := range open {
		all[i] = SessionInfo{sess.grant.KeyID(), sess.ch.RemoteAddr().String(), transportOf(sess.ch.Kind()), sess.since}
	}
	return all
}
