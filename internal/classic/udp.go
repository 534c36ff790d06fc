package classic

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// maxDatagram is the most that UDP over IPv4 carries.
	maxDatagram = 65_507
	// amplification is how many bytes of an answer go to a source for each byte from it, if its address
	// may be that of a victim (RFC 9000, 8.1, has the same number).
	amplification = 3
	// reserved are the ports below this one. Services there answer whatever comes, even our answers.
	reserved = 1024
)

// ServePacket takes commands as datagrams until the socket fails, ctx ends or Shutdown is called; the
// last two give ErrClosed. It closes the socket.
func (s *Server) ServePacket(ctx context.Context, pc net.PacketConn) error {
	defer func() { _ = pc.Close() }()
	inner, l, err := s.begin(ctx, pc.LocalAddr(), func() { _ = pc.SetReadDeadline(time.Unix(1, 0)) })
	if err != nil {
		return err
	}
	defer l.end()
	var open sync.WaitGroup
	defer open.Wait() // they answer over the socket
	p := &packets{server: s, pc: pc, port: addrPort(pc.LocalAddr()).Port()}
	buf := make([]byte, maxDatagram+1)
	var again retry
	for {
		n, from, err := pc.ReadFrom(buf)
		switch {
		case s.isClosing() || inner.Err() != nil:
			return ErrClosed
		case err == nil:
			again = retry{}
			if d := p.take(from, buf[:n]); d != nil {
				open.Go(func() { p.serve(inner, d) })
			}
		case !again.after(inner, s.log, err):
			l.cut() // nobody shall wait for commands that go on to hear of it
			return err
		}
	}
}

// packets is a UDP socket that is being served.
type packets struct {
	server *Server
	pc     net.PacketConn
	port   uint16
}

// datagram is a command that is going to be answered.
type datagram struct {
	from          net.Addr
	remote        netip.Addr
	source        netip.Prefix
	text          []byte
	limit         int  // bytes of the answer
	authenticated bool // the sender knows the secret
}

// take decides whether a datagram is served; nil means no, and that nobody is told.
func (p *packets) take(from net.Addr, b []byte) *datagram {
	s := p.server
	d, reason := p.judge(from, b)
	if reason == "" {
		s.observe("udp", "accepted")
		return d
	}
	s.observe("udp", "dropped")
	if s.tally.add("datagram dropped: " + reason) {
		s.log.Warn("classic datagram dropped", zap.Stringer("peer", from), zap.Int("bytes", len(b)),
			zap.String("reason", reason))
	}
	return nil
}

func (p *packets) judge(from net.Addr, b []byte) (d *datagram, reason string) {
	s, peer, now := p.server, addrPort(from), time.Now()
	if len(b) > maxDatagram { // only IPv6 has such, and what did not fit into the buffer is lost
		return nil, "too long"
	}
	d = &datagram{from: from, remote: peer.Addr(), source: source(peer.Addr()), limit: mostFor(peer.Addr(), len(b))}
	if s.options.Auth == NoAuth {
		switch {
		case len(b) == 0:
			return nil, "empty"
		case peer.Port() < reserved || peer.Port() == p.port:
			return nil, "from the port of a service, which would answer the answer"
		}
		d.text = append(d.text, b...)
		return d, s.enter(d.source)
	}
	sealed, reason := s.gate.open(b, now)
	if reason != "" {
		return nil, reason
	}
	if reason := s.enter(d.source); reason != "" {
		return nil, reason // it is not remembered either: the client may send it once more
	}
	if first, reason := s.gate.first(&sealed, now); !first {
		s.exit(d.source)
		return nil, reason
	}
	d.text, d.limit, d.authenticated = append(d.text, sealed.command...), maxDatagram, true
	return d, ""
}

// mostFor is how many bytes an answer to a datagram of this size may have, as long as its sender has not
// proved anything. A loopback address cannot be forged: the kernel drops packets from elsewhere that
// claim one (RFC 1122, 3.2.1.3), and a program here answers for its own sockets only.
func mostFor(sender netip.Addr, size int) int {
	if sender.IsLoopback() {
		return maxDatagram
	}
	return min(amplification*size, maxDatagram)
}

// source is what counts as one sender: an IPv4 address, or the network of an IPv6 address, in which one
// host has all the others, too.
func source(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// enter takes a place for a command of a source, or says why there is none.
func (s *Server) enter(source netip.Prefix) (reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.datagrams >= s.options.MaxConnections:
		return "classic.max_connections commands run"
	case s.running[source] >= s.options.MaxPerSource:
		return "too many commands of this source run"
	}
	s.datagrams++
	s.running[source]++
	return ""
}

func (s *Server) exit(source netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.datagrams--
	if s.running[source]--; s.running[source] == 0 {
		delete(s.running, source)
	}
}

// serve runs a command and sends the answer.
func (p *packets) serve(ctx context.Context, d *datagram) {
	defer p.server.exit(d.source)
	defer p.server.guard()
	text, err := p.run(ctx, d)
	if err == nil {
		_, err = p.pc.WriteTo(text, d.from)
	}
	if err != nil && p.server.tally.add("datagram not answered") {
		p.server.log.Warn("classic datagram not answered", zap.Stringer("peer", d.from),
			zap.String("reason", clean(err.Error())))
	}
}

// run returns the answer; an error if there must not be any.
func (p *packets) run(ctx context.Context, d *datagram) ([]byte, error) {
	s := p.server
	grant, err := s.privileged.Vouch(d.remote)
	if err != nil {
		if d.authenticated {
			return fit(notRun(err.Error()), 0, "", d.limit), nil
		}
		return nil, err
	}
	return s.execute(ctx, &request{
		grant: grant, remote: d.remote, peer: d.from, text: d.text, timeout: s.options.UDPTimeout, limit: d.limit,
		authenticated: d.authenticated,
	})
}
