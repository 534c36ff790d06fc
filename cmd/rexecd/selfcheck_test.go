package main

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/server"
	"rexec/internal/transport"
)

// elsewhere is a listener that says it is at another address.
type elsewhere struct {
	net.Listener
	addr net.Addr
}

func (l elsewhere) Addr() net.Addr { return l.addr }

// serveSelf serves a listener as the daemon does, without keys, until the test ends.
func serveSelf(t *testing.T, ln net.Listener, o server.Options) *daemon {
	t.Helper()
	d := &daemon{server: server.New(nil, job.NewTable(job.Options{}), o)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.server.Serve(t.Context(), ln) })
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		d.server.Shutdown(ctx)
		wg.Wait()
	})
	return d
}

// TestReachWithoutIPv6: nobody answers at ::1, as on a machine without IPv6, but the listener on every address
// is reached all the same.
func TestReachWithoutIPv6(t *testing.T) {
	ln, err := transport.Listen(t.Context(), "127.0.0.1:0", newKey(t), transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	d := serveSelf(t, ln, server.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	port := ln.Addr().(*net.TCPAddr).Port
	if err := d.reach(ctx, elsewhere{ln, &net.TCPAddr{IP: net.IPv6unspecified, Port: port}}); err != nil {
		t.Error(err)
	}
}

// TestReachRefused: a daemon that takes no more connections is alive, over QUIC as well.
func TestReachRefused(t *testing.T) {
	ln, err := transport.ListenQUIC(t.Context(), "127.0.0.1:0", newKey(t), transport.QUICOptions{
		Options: transport.Options{ALPN: proto.ALPN}, Failed: func(net.Addr, error) {}, Slow: func(error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Release)
	d := serveSelf(t, ln, server.Options{MaxConnections: 1, HandshakeTimeout: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // less than a stranger may keep silent
	defer cancel()
	strangers := func(n uint64) {
		for d.server.Counts().Unproven.UDP != n && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	if err := d.reach(ctx, ln); err != nil {
		t.Fatalf("with room for one: %v", err)
	}
	strangers(0) // the daemon's own visit ends a moment after it has seen what it came for
	stranger, err := dialSelf(ctx, "udp", netip.MustParseAddrPort(ln.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	strangers(1)
	if err := d.reach(ctx, ln); err == nil || ctx.Err() != nil {
		t.Errorf("without room: %v; want a refusal at once", err)
	}
}

// TestAnswering: a listener that nobody answers at does not take the time of the next one.
func TestAnswering(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "@nobody") // with a service manager, which need not listen
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ln, err := transport.Listen(t.Context(), "127.0.0.1:0", newKey(t), transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	d := serveSelf(t, ln, server.Options{})
	d.log = zap.NewNop()
	if got := d.answering(t.Context(), []net.Listener{silent, ln}); len(got) != 1 || got[0] != net.Listener(ln) {
		t.Errorf("%d listeners are watched", len(got))
	}
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
