//go:build linux

package rexectest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"go.uber.org/zap"

	"rexec/internal/classic"
	"rexec/internal/job"
)

// classicListeners are the classic listeners of one instance, on free ports.
type classicListeners struct {
	server *classic.Server
	tcp    net.Listener
	udp    net.PacketConn
	served chan error
}

// foreign lets the senders of datagrams appear to be on another machine.
type foreign struct{ net.PacketConn }

// ForeignAddress is where (RFC 5737).
const ForeignAddress = "192.0.2.1"

func (f foreign) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := f.PacketConn.ReadFrom(b)
	if udp, ok := from.(*net.UDPAddr); ok {
		from = &net.UDPAddr{IP: net.ParseIP(ForeignAddress), Port: udp.Port}
	}
	return n, from, err
}

func (f foreign) WriteTo(b []byte, to net.Addr) (int, error) {
	return f.PacketConn.WriteTo(b, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to.(*net.UDPAddr).Port})
}

func listenClassic(p classic.Privileged, jobs *job.Table, o classic.Options, log *zap.Logger) (*classicListeners, error) {
	if o.Log == nil {
		o.Log = log
	}
	l := &classicListeners{server: classic.New(p, jobs, o), served: make(chan error, 2)}
	var lc net.ListenConfig
	var err error
	if l.tcp, err = lc.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if l.udp, err = lc.ListenPacket(context.Background(), "udp", "127.0.0.1:0"); err != nil {
		l.tcp.Close()
		return nil, err
	}
	if o.Insecure {
		l.udp = foreign{l.udp}
	}
	return l, nil
}

// start serves until the instance is stopped.
func (l *classicListeners) start(ctx context.Context) {
	go func() { l.served <- l.server.Serve(ctx, l.tcp) }() // wait waits for both
	go func() { l.served <- l.server.ServePacket(ctx, l.udp) }()
}

func (l *classicListeners) wait(t testing.TB) {
	for range cap(l.served) {
		if err := <-l.served; !errors.Is(err, classic.ErrClosed) {
			t.Errorf("a classic listener ended with %v", err)
		}
	}
}

// shutdown ends all that serves clients.
func (in *instance) shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	if in.classic != nil {
		wg.Go(func() { in.classic.server.Shutdown(ctx) })
	}
	in.server.Shutdown(ctx)
	wg.Wait()
}

// ClassicTCP is where the daemon takes classic TCP clients.
func (d *Daemon) ClassicTCP() string { return d.listeners().tcp.Addr().String() }

// ClassicUDP is where the daemon takes classic datagrams.
func (d *Daemon) ClassicUDP() string { return d.listeners().udp.LocalAddr().String() }

func (d *Daemon) listeners() *classicListeners {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.instance == nil || d.instance.classic == nil {
		d.t.Fatal("no classic listener runs")
	}
	return d.instance.classic
}
