package server

import (
	"errors"
	"net"
	"net/netip"
)

// errProbe ends a connection of the daemon's own that has seen what it came for.
var errProbe = errors.New("a self-check")

// Expect prepares for a connection of the daemon's own from this address, which comes to see whether
// connections are served. served is closed when one of them stands encrypted; it then ends without a line
// in the log. The caller calls forget when it is done.
func (s *Server) Expect(peer netip.AddrPort) (served <-chan struct{}, forget func()) {
	c := make(chan struct{})
	s.mu.Lock()
	s.probes[peer] = c
	s.mu.Unlock()
	return c, func() {
		s.mu.Lock()
		delete(s.probes, peer)
		s.mu.Unlock()
	}
}

// wasProbe reports whether a stranger is an expected one, and tells who expects it.
func (s *Server) wasProbe(peer net.Addr) bool {
	a, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return false
	}
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.probes[a]
	if ok {
		delete(s.probes, a)
		close(c)
	}
	return ok
}
