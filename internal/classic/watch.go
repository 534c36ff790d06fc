package classic

import (
	"maps"
	"slices"
	"time"

	"rexec/internal/proto"
)

// Observer is told what happens, for whoever counts it. It must not block.
type Observer interface {
	// Attempt is told of a client over tcp that was accepted or refused, and of a datagram (udp) that was
	// accepted or dropped.
	Attempt(transport, outcome string)
	// NotRun is told the record of a request that started nothing.
	NotRun(*proto.Exit)
}

func (s *Server) observe(transport, outcome string) {
	if o := s.options.Observer; o != nil {
		o.Attempt(transport, outcome)
	}
}

// Listening is the number of listeners that are being served.
func (s *Server) Listening() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.listeners)
}

// ClientInfo is a TCP client at one moment.
type ClientInfo struct {
	KeyID, Peer string
	Since       time.Time
}

// Clients returns the TCP clients that were accepted, in no order. No lock is held when it returns.
func (s *Server) Clients() []ClientInfo {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	var all []ClientInfo
	for _, c := range open {
		c.mu.Lock()
		grant, since := c.grant, c.since
		c.mu.Unlock()
		if grant != nil { // else it is about to be welcomed
			all = append(all, ClientInfo{grant.KeyID(), c.nc.RemoteAddr().String(), since})
		}
	}
	return all
}
