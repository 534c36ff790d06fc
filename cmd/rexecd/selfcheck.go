package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"rexec/internal/proto"
	"rexec/internal/transport"
)

// selfCheck is what a client would notice first: whether connections are taken, and whether a command
// starts. An error that is errStuck means that only a new start helps; any other one may pass.
func (d *daemon) selfCheck(ctx context.Context, listeners []net.Listener) error {
	for _, ln := range listeners {
		if err := d.within(ctx, func(ctx context.Context) error { return d.reach(ctx, ln) }); err != nil {
			return fmt.Errorf("connecting to %s %s: %w", ln.Addr().Network(), ln.Addr(), err)
		}
	}
	if err := d.within(ctx, d.runner.SelfCheck); err != nil {
		return fmt.Errorf("trying a command: %w", err)
	}
	return nil
}

// checkup keeps the outcome of a self-check for a moment, so that asking often does not mean checking often.
type checkup struct {
	mu  sync.Mutex
	at  time.Time // zero: never
	err error
}

const (
	checkupGood  = 5 * time.Second
	checkupLimit = 8 * time.Second
)

// recent returns the outcome of a check that is not older than checkupGood, and checks if there is none.
func (c *checkup) recent(ctx context.Context, check func(context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > checkupGood {
		ctx, cancel := context.WithTimeout(ctx, checkupLimit)
		defer cancel()
		c.err, c.at = check(ctx), time.Now()
	}
	return c.err
}

// errStuck is a part of the daemon that does not answer.
var errStuck = errors.New("no answer in time")

// within makes errStuck of a check that is not over when ctx ends. It does not wait for one that does
// not heed ctx, since that is the very thing to find out; such a one ends when what it waits for does.
func (d *daemon) within(ctx context.Context, check func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- check(ctx) }()
	select {
	case err := <-done:
		if ctx.Err() != nil {
			return errStuck
		}
		return err
	case <-ctx.Done():
		return errStuck
	}
}

// reach connects to a listener as a client does, as far as a client without a key gets. A connection that is
// refused is an error, and a sign of life.
func (d *daemon) reach(ctx context.Context, ln net.Listener) error {
	a, err := netip.ParseAddrPort(ln.Addr().String())
	if err != nil {
		return err
	}
	conn, to, err := dialLocal(ctx, ln.Addr().Network(), a)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	own, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return err
	}
	// The kernel uses an address of this machine as the source of what goes to it.
	served, forget := d.server.Expect(netip.AddrPortFrom(to.Addr().Unmap(), own.Port()))
	defer forget()
	if _, err := conn.Bind(ctx); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{0}); err != nil { // until then nobody is told of a QUIC stream
		return err
	}
	return answered(ctx, conn, served)
}

// answered waits until a connection is served, or refused: a daemon that takes no more of them closes it, over
// QUIC after the handshake.
func answered(ctx context.Context, conn net.Conn, served <-chan struct{}) error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = conn.Read(make([]byte, 1)) // nothing comes
	}()
	defer func() {
		conn.Close()
		<-closed
	}()
	select {
	case <-served:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-closed:
	}
	select {
	case <-served: // which comes before the end of the connection
		return nil
	default:
		return errors.New("the connection was closed at once")
	}
}

// selfConn is the client's end of a connection.
type selfConn interface {
	net.Conn
	Bind(ctx context.Context) ([32]byte, error)
}

func dialSelf(ctx context.Context, network string, to netip.AddrPort) (selfConn, error) {
	o := transport.Options{ALPN: proto.ALPN}
	if network == "udp" {
		return transport.DialQUIC(ctx, to.String(), o)
	}
	return transport.Dial(ctx, to.String(), o)
}

// dialLocal connects to where a listener is reached from this machine, and tells where that is.
func dialLocal(ctx context.Context, network string, a netip.AddrPort) (conn selfConn, to netip.AddrPort, err error) {
	for _, host := range local(a.Addr()) {
		to = netip.AddrPortFrom(host, a.Port())
		if conn, err = dialSelf(ctx, network, to); err == nil || ctx.Err() != nil {
			break
		}
	}
	return conn, to, err
}

// local is where a listener on an address is reached from this machine. One on every address of IPv6 is on
// those of IPv4, too, which are the only ones where IPv6 is switched off, as in most containers.
func local(a netip.Addr) []netip.Addr {
	loopback4 := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	switch {
	case a.IsUnspecified() && a.Is4():
		return []netip.Addr{loopback4}
	case a.IsUnspecified():
		return []netip.Addr{netip.IPv6Loopback(), loopback4}
	}
	return []netip.Addr{a}
}
