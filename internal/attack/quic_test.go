//go:build linux

package attack

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/zap"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
)

// newUDPTarget starts a daemon whose clients use QUIC. It logs nothing: what a flood leaves in a test's log would be
// taken for the daemon's memory.
func newUDPTarget(t *testing.T, o server.Options) *rexectest.Daemon {
	t.Helper()
	o.Log = zap.NewNop()
	return rexectest.New(t, rexectest.Options{Transport: client.UDP, Server: o})
}

// over returns the daemon's client over a transport.
func over(t *testing.T, d *rexectest.Daemon, kind client.Transport) *client.Client {
	t.Helper()
	o := d.ClientOptions()
	o.Transport, o.Log = kind, nil
	return rexectest.NewClient(t, o)
}

// unharmed demands that a good client is served over both transports, soon.
func unharmed(t *testing.T, d *rexectest.Daemon) {
	t.Helper()
	for name, kind := range map[string]client.Transport{"TCP": client.TCP, "UDP": client.UDP} {
		began := time.Now()
		c := over(t, d, kind)
		got := run(limited(t, 10*time.Second), c, client.Command{Run: shell("echo served")})
		_ = c.Close()
		got.exited(t, 0)
		if took := time.Since(began); got.out.String() != "served\n" || took > 2*time.Second {
			t.Errorf("over %s: %q after %s", name, got.out.String(), took)
		}
	}
}

// source is a socket that sends to the daemon, answers nothing, and counts what comes back.
type source struct {
	*net.UDPConn
	sent, got atomic.Int64
	last      atomic.Int64 // when something came, Unix nanoseconds
}

func newSource(t *testing.T, to string) *source {
	t.Helper()
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
	if err != nil {
		t.Fatal(err)
	}
	s := &source{UDPConn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			s.got.Add(int64(n))
			s.last.Store(time.Now().UnixNano())
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return s
}

func (s *source) send(b []byte) {
	if n, err := s.Write(b); err == nil {
		s.sent.Add(int64(n))
	}
}

// ratio is what came for each byte that went.
func (s *source) ratio() float64 { return float64(s.got.Load()) / float64(s.sent.Load()) }

// flight is what one client sends before it has heard anything.
type flight [][]byte

// firstFlight records the one of our own client, with retransmissions as far as they come within the time given.
func firstFlight(t *testing.T, record time.Duration) flight {
	t.Helper()
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = quic.DialAddr(ctx, sink.LocalAddr().String(), foreignTLS(), &quic.Config{})
	}()
	var f flight
	_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second)) // for the first
	buf := make([]byte, 1<<16)
	for {
		n, err := sink.Read(buf)
		if err != nil {
			break
		}
		if len(f) == 0 {
			_ = sink.SetReadDeadline(time.Now().Add(record))
		}
		f = append(f, append([]byte(nil), buf[:n]...))
	}
	cancel()
	<-done
	if len(f) == 0 {
		t.Fatal("no first flight")
	}
	return f
}

// foreignTLS is what a QUIC client that is not ours offers.
func foreignTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto.ALPN}, MinVersion: tls.VersionTLS13}
}

// quiet waits until nothing has come back for a while to any of them.
func quiet(t *testing.T, silence, limit time.Duration, sources ...*source) {
	t.Helper()
	began := time.Now()
	until(t, limit, "silence", func() bool {
		last := began
		for _, s := range sources {
			if at := time.Unix(0, s.last.Load()); at.After(last) {
				last = at
			}
		}
		return time.Since(last) > silence
	})
}

// TestJunk sends datagrams that are no QUIC, or not quite, of each size.
func TestJunk(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	r := random(t)
	initial := firstFlight(t, 20*time.Millisecond)[0]
	fill := func(size int, head ...byte) []byte {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		copy(b, head)
		return b
	}
	version := func(first byte, v uint32, size int) []byte {
		return fill(size, append(binary.BigEndian.AppendUint32([]byte{first}, v), 8, 1, 2, 3, 4, 5, 6, 7, 8, 8)...)
	}
	rows := []struct {
		name  string
		make  func(size int) []byte
		bound float64 // of what comes back for each byte
		least int     // nothing comes back for less
	}{
		{"zeros", func(n int) []byte { return make([]byte, n) }, 0, 0},
		{"no fixed bit", func(n int) []byte { return fill(n, byte(r.Uint32())&^0xc0) }, 0, 0},
		// A stateless reset is what a client of a daemon that was restarted must get. It is shorter.
		{"short header", func(n int) []byte { return fill(n, 0x40|byte(r.Uint32())&0x3f) }, 1, 22},
		{"handshake of nobody", func(n int) []byte { return version(0xe0, 1, n) }, 0, 0},
		{"0-RTT of nobody", func(n int) []byte { return version(0xd0, 1, n) }, 0, 0},
		{"retry", func(n int) []byte { return version(0xf0, 1, n) }, 0, 0},
		{"version negotiation", func(n int) []byte { return version(0xc0, 0, n) }, 0, 0},
		{"unknown version", func(n int) []byte { return version(0xc0, 0x1a2a3a4a, n) }, 1, 1200},
		{"Initial of noise", func(n int) []byte { return version(0xc0, 1, n) }, 1, 1200},
		{"truncated Initial", func(n int) []byte { return initial[:min(n, len(initial)-1)] }, 0, 0},
	}
	sizes := []int{4_000, 9_000, 20_000, 65_507}
	for n := range 1501 {
		sizes = append(sizes, n)
	}
	before := goroutines()
	for _, row := range rows {
		small, all := newSource(t, d.Address()), newSource(t, d.Address())
		for i, n := range sizes {
			if n < row.least {
				small.send(row.make(n))
			}
			all.send(row.make(n))
			if i%16 == 0 {
				pause(time.Millisecond) // or the daemon's queues drop most of it
			}
		}
		quiet(t, 250*time.Millisecond, 10*time.Second, all, small)
		t.Logf("%-20s %8d bytes, %6d back: %.3f", row.name, all.sent.Load(), all.got.Load(), all.ratio())
		if all.ratio() > row.bound || small.got.Load() != 0 {
			t.Errorf("%s: %.3f times as much comes back, want at most %.0f; %d bytes for those below %d",
				row.name, all.ratio(), row.bound, small.got.Load(), row.least)
		}
	}
	t.Logf("%d goroutines before, %d right after", before, goroutines())
	unharmed(t, d)
	until(t, time.Minute, "the daemon to forget it all", func() bool {
		return goroutines() <= before+2*len(rows) // each source here has one
	})
	t.Logf("%d at the end", goroutines())
	if n := d.Starts(); n != 2 {
		t.Errorf("%d starts", n)
	}
}

// TestNoise sends noise as fast as it can while good clients come and go.
func TestNoise(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	first := firstFlight(t, 20*time.Millisecond)
	s := newSource(t, d.Address())
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	r := random(t)
	wg.Go(func() {
		for ctx.Err() == nil {
			for range 50 {
				b := make([]byte, 1+r.IntN(1500))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				switch r.IntN(3) {
				case 0:
					copy(b, first[0][:min(len(b), 6+r.IntN(40))]) // looks like an Initial for a while
				case 1:
					b = append([]byte(nil), first[r.IntN(len(first))]...) // a replay of one, with a byte changed
					b[r.IntN(len(b))] ^= 1 << r.IntN(8)
				}
				s.send(b)
			}
			pause(2 * time.Millisecond)
		}
	})
	var worst [2]time.Duration
	served := 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); served++ {
		for i, kind := range []client.Transport{client.TCP, client.UDP} {
			began := time.Now()
			c := over(t, d, kind)
			got := run(limited(t, 15*time.Second), c, client.Command{Run: shell("echo served")})
			got.exited(t, 0)
			_ = c.Close()
			worst[i] = max(worst[i], time.Since(began))
		}
	}
	stop()
	wg.Wait()
	t.Logf("%d good clients of each transport beside %d KiB of noise; slowest %s over TCP, %s over UDP; %.3f times as much came back",
		served, s.sent.Load()>>10, worst[0], worst[1], s.ratio())
	if worst[0] > 2*time.Second || worst[1] > 2*time.Second || s.ratio() > 3 {
		t.Error("more than 2 s, or more than 3 times")
	}
}

// replay sends a flight as from a forged source, which never answers, and counts until the daemon has given up.
func replay(t *testing.T, d *rexectest.Daemon, f flight) *source {
	t.Helper()
	s := newSource(t, d.Address())
	for _, b := range f {
		s.send(b)
	}
	return s
}

// TestAmplification is how many bytes the daemon sends to an address that somebody else claims to be at.
func TestAmplification(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]time.Duration{"once": 30 * time.Millisecond, "with retransmissions": 3 * time.Second} {
		t.Run("a flight "+name, func(t *testing.T) {
			t.Parallel()
			d := newUDPTarget(t, server.Options{})
			s := replay(t, d, firstFlight(t, record))
			quiet(t, 12*time.Second, time.Minute, s)
			t.Logf("%d bytes, %d back: %.3f", s.sent.Load(), s.got.Load(), s.ratio())
			if s.ratio() > 3.1 {
				t.Errorf("%.3f times as much comes back", s.ratio())
			}
		})
	}
	t.Run("its first datagram only", func(t *testing.T) {
		t.Parallel()
		d := newUDPTarget(t, server.Options{})
		s := replay(t, d, firstFlight(t, 30*time.Millisecond)[:1])
		quiet(t, 12*time.Second, time.Minute, s)
		t.Logf("%d bytes, %d back: %.3f", s.sent.Load(), s.got.Load(), s.ratio())
		if s.ratio() > 3.1 {
			t.Errorf("%.3f times as much comes back", s.ratio())
		}
	})
	t.Run("one flight a thousand times", func(t *testing.T) {
		t.Parallel()
		d := newUDPTarget(t, server.Options{})
		s, f := newSource(t, d.Address()), firstFlight(t, 30*time.Millisecond)
		for i := range 1000 {
			for _, b := range f {
				s.send(b)
			}
			if i%20 == 0 {
				pause(time.Millisecond)
			}
		}
		quiet(t, 12*time.Second, time.Minute, s)
		t.Logf("%d bytes, %d back: %.3f", s.sent.Load(), s.got.Load(), s.ratio())
		if s.ratio() > 3.1 {
			t.Errorf("%.3f times as much comes back", s.ratio())
		}
		unharmed(t, d)
	})
	t.Run("under load", underLoad)
}

// underLoad has many handshakes pending, so that addresses have to be proved.
func underLoad(t *testing.T) {
	t.Parallel()
	d := newUDPTarget(t, server.Options{})
	const pending, measured = 150, 20
	flights := make([]flight, pending+measured)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := worker; i < len(flights); i += 10 {
				flights[i] = firstFlight(t, 20*time.Millisecond)
			}
		})
	}
	wg.Wait()
	var load, under [2]int64
	var sources []*source
	for i, f := range flights {
		sources = append(sources, replay(t, d, f))
		pause(time.Millisecond)
		if i == pending {
			pause(50 * time.Millisecond)
		}
	}
	unharmed(t, d) // a good client proves its address, and gets in
	quiet(t, 12*time.Second, time.Minute, sources...)
	for i, s := range sources {
		sum := &load
		if i >= pending {
			sum = &under
			if s.ratio() > 1 {
				t.Errorf("%.3f times as much comes back", s.ratio())
			}
		}
		sum[0], sum[1] = sum[0]+s.sent.Load(), sum[1]+s.got.Load()
	}
	t.Logf("the first %d: %.3f; %d more: %d bytes, %d back: %.3f", pending, float64(load[1])/float64(load[0]),
		measured, under[0], under[1], float64(under[1])/float64(under[0]))
	if under[1] == 0 {
		t.Error("nothing comes back: no Retry, so this is not what is measured")
	}
}
