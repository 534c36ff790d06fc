//go:build linux

package attack

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"rexec/internal/server"
)

// TestPaths lets a stranger probe and give up paths as fast as it can: each takes a PATH_CHALLENGE and a new
// connection ID from the daemon, and returns one.
func TestPaths(t *testing.T) {
	d := newUDPTarget(t, server.Options{HandshakeTimeout: time.Minute})
	unharmed(t, d)
	before := weigh()
	conn, err := newTransport(t).Dial(limited(t, 10*time.Second), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(d.Address())),
		foreignTLS(), &quic.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sockets := []*quic.Transport{newTransport(t), newTransport(t), newTransport(t)}
	probed, validated := 0, 0
	stop := others(t, d, nil)
	began := time.Now()
	peak := watched(func() {
		for end := began.Add(5 * time.Second); time.Now().Before(end); probed++ {
			path, err := conn.AddPath(sockets[probed%len(sockets)])
			if err != nil {
				t.Log(err)
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if path.Probe(ctx) == nil {
				validated++
			}
			cancel()
			_ = path.Close()
		}
	})
	n, worst := stop()
	t.Logf("%d paths probed in %s, %d validated; %s before, %s at most; %d commands of others, slowest %s",
		probed, time.Since(began).Round(time.Millisecond), validated, before, peak, n, worst)
	if probed < 100 || validated == 0 {
		t.Error("that was no flood")
	}
	if peak.bytes > before.bytes+16<<20 || peak.goroutines > before.goroutines+60 || worst > 2*time.Second {
		t.Error("too much")
	}
	_ = conn.CloseWithError(0, "")
	unharmed(t, d)
}

func newTransport(t *testing.T) *quic.Transport {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: udp}
	t.Cleanup(func() { _ = tr.Close(); _ = udp.Close() })
	return tr
}
