package transport

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"syscall"
	"time"
)

// DialQUIC connects over UDP, to the first of a name's addresses where it can. The handshake is complete
// then; the caller binds the connection. The error is ECONNREFUSED if the host says that nothing listens
// there.
func DialQUIC(ctx context.Context, address string, o Options) (*QUICConn, error) {
	all, err := resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	return dialAny(ctx, all, o)
}

// dialAny tries one address after the other.
func dialAny(ctx context.Context, all []string, o Options) (*QUICConn, error) {
	var first error
	for i, one := range all {
		share, cancel := ctx, func() {}
		if end, ok := ctx.Deadline(); ok { // none may use up the time of those behind it
			share, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(all)-i))
		}
		c, err := dialQUIC(share, one, o)
		cancel()
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// resolve returns the addresses that an address with a host name stands for; there is one at least.
func resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return []string{address}, nil //nolint:nilerr // who dials it says what is wrong
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return all, nil
}

// dialQUIC is DialQUIC for one address.
func dialQUIC(ctx context.Context, address string, o Options) (*QUICConn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	probe, err := startProbe(ctx, address, cancel)
	if err != nil {
		return nil, err
	}
	defer probe.Close()
	remote := probe.RemoteAddr().(*net.UDPAddr)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: unspecified(remote)})
	if err != nil {
		return nil, err
	}
	tr, _ := newTransport(udp) // a client says nothing of speed
	config := quicConfig()
	config.MaxIncomingStreams = -1
	// Of the dialling side only: what a side sends puts off its own end of patience (RFC 9000 10.1).
	config.KeepAlivePeriod = quicKeepAlive
	config.InitialStreamReceiveWindow, config.InitialConnectionReceiveWindow = 1<<20, 2<<20
	settings := o.tls()
	settings.InsecureSkipVerify = true // as in Dial
	conn, err := tr.Dial(ctx, remote, settings, config)
	if err != nil {
		_ = errors.Join(tr.Close(), udp.Close())
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, explainQUIC(err)
	}
	s := &shared{Conn: conn, alpn: o.ALPN, client: true, end: func() { _ = errors.Join(tr.Close(), udp.Close()) }}
	if certs := conn.ConnectionState().TLS.PeerCertificates; len(certs) > 0 {
		s.peerKey = sha256.Sum256(certs[0].RawSubjectPublicKeyInfo)
	}
	st, err := conn.OpenStream()
	if err != nil {
		s.closeWith(quicAborted)
		return nil, err
	}
	return newQUICConn(s, st), nil
}

// startProbe finds the address that the kernel has a route to, and lets it say that nothing listens there:
// only a connected socket is told (udp(7)), which quic-go's is not. One byte is no QUIC packet, so nobody
// else takes notice. The caller closes the socket.
func startProbe(ctx context.Context, address string, refused context.CancelCauseFunc) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	_, _ = c.Write([]byte{0})
	go func() { // ends with the socket
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNREFUSED) {
			refused(err)
		}
	}()
	return c, nil
}

// unspecified is the wildcard address of the same family.
func unspecified(a *net.UDPAddr) net.IP {
	if a.IP.To4() != nil {
		return net.IPv4zero
	}
	return net.IPv6unspecified
}
