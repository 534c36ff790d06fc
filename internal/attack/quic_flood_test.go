//go:build linux

package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
	"rexec/internal/transport"
)

// burden is what this process, the daemon and its attackers, holds.
type burden struct {
	bytes      int64
	goroutines int
}

func weigh() burden { return burden{held(), goroutines()} }

// goroutines is their number while everything stands still: runtime.NumGoroutine adds up lists that a garbage
// collection moves at that moment, and on a busy machine counts hundreds that have ended.
func goroutines() int {
	n, _ := runtime.GoroutineProfile(make([]runtime.StackRecord, 1)) // too few of them: it only counts
	return n
}

func (b burden) String() string {
	return fmt.Sprintf("%d KiB, %d goroutines", b.bytes>>10, b.goroutines)
}

// watched runs what is done to the daemon and returns the highest burden meanwhile.
func watched(attack func()) (peak burden) {
	done := make(chan struct{})
	go func() { defer close(done); attack() }()
	for {
		now := weigh()
		peak = burden{max(peak.bytes, now.bytes), max(peak.goroutines, now.goroutines)}
		select {
		case <-done:
			return peak
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// settled waits until the burden is about what it was, but for the records of commands that ran meanwhile.
func settled(t *testing.T, before burden, commands int, limit time.Duration) (after burden) {
	t.Helper()
	before.bytes += int64(commands) * 3 << 10
	for end := time.Now().Add(limit); ; {
		after = weigh()
		if after.bytes < before.bytes+4<<20 && after.goroutines <= before.goroutines+8 {
			return after
		}
		if time.Now().After(end) {
			t.Errorf("%s are left, before it were %s", after, before)
			return after
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// others runs commands over a second stream of a connection and over a connection of its own until stop is called,
// which returns how many there were and the slowest.
func others(t *testing.T, d *rexectest.Daemon, same *client.Client) (stop func() (n int, worst time.Duration)) {
	t.Helper()
	clients := []*client.Client{over(t, d, client.UDP), over(t, d, client.TCP)}
	if same != nil {
		clients = append(clients, same)
	}
	var wg sync.WaitGroup
	var ending atomic.Bool
	var mu sync.Mutex
	var n int
	var worst time.Duration
	for _, c := range clients {
		wg.Go(func() {
			for !ending.Load() {
				began := time.Now()
				got := run(t.Context(), c, client.Command{Run: shell("echo served; exit 3")})
				took := time.Since(began)
				if got.failure != nil || got.result.Code != 3 || got.out.String() != "served\n" || got.result.Resumed != 0 {
					t.Errorf("beside a flood: %+v, %v, %q", got.result, got.failure, got.out.String())
					return
				}
				mu.Lock()
				n, worst = n+1, max(worst, took)
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return func() (int, time.Duration) {
		ending.Store(true)
		wg.Wait()
		for _, c := range clients {
			_ = c.Close()
		}
		return n, worst
	}
}

// conn is the connection of a peer.
func conn(p *rexectest.Peer) *transport.QUICConn { return p.Conn.(*transport.QUICConn) }

// TestThousandStreams: no more streams are open at a time than the daemon allows, each of which costs little.
func TestThousandStreams(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	p := d.Peer(t)
	before := weigh()
	var open []*transport.QUICConn
	ping := proto.AppendFrame(nil, proto.Ping{Token: 1})
	for range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // only for the one that is too many
		st, err := conn(p).OpenStream(ctx)
		cancel()
		if err != nil {
			break
		}
		_ = st.SetDeadline(time.Now().Add(time.Minute))
		if _, err := st.Write(ping); err != nil {
			t.Fatal(err)
		}
		open = append(open, st)
	}
	for _, st := range open {
		if typ, _, err := proto.NewReader(st).Next(); err != nil || typ != proto.TypePong {
			t.Fatalf("%v, %v", typ, err)
		}
	}
	peak := weigh()
	t.Logf("%d streams beside the first; %s before, %s with them", len(open), before, peak)
	if len(open) > 127 || len(open) < 100 {
		t.Errorf("%d streams beside the first, want 127", len(open))
	}
	if n := peak.goroutines - before.goroutines; n > 3*len(open) {
		t.Errorf("%d goroutines for them", n)
	}
	if n := peak.bytes - before.bytes; n > 64<<10*int64(len(open)) {
		t.Errorf("%d KiB for them", n>>10)
	}
	unharmed(t, d)
	for _, st := range open {
		st.Close()
	}
	t.Logf("%s after them", settled(t, before, 2, time.Minute))
}

// TestStreamStorm opens and ends 20,000 streams in every way there is, beside commands on the same connection.
func TestStreamStorm(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	c := over(t, d, client.UDP)
	p := d.Peer(t)
	before := weigh()
	ping := proto.AppendFrame(nil, proto.Ping{Token: 1})
	ways := []func(*transport.QUICConn){
		func(st *transport.QUICConn) { st.Close() },
		func(st *transport.QUICConn) { st.Abort() },
		func(st *transport.QUICConn) { _, _ = st.Write(ping); st.Close() },
		func(st *transport.QUICConn) { _, _ = st.Write(ping); st.Abort() },
		func(st *transport.QUICConn) { _, _ = st.Write(ping[:3]); st.Close() },
		func(st *transport.QUICConn) {
			_, _ = st.Write([]byte{0, 0, 0, 0})
			_ = st.CloseWrite()
			_, _ = io.Copy(io.Discard, st)
			st.Close()
		},
		func(st *transport.QUICConn) {
			_, _ = st.Write(ping)
			_ = st.CloseWrite()
			_, _ = io.Copy(io.Discard, st)
			st.Close()
		},
	}
	stop := others(t, d, c)
	began := time.Now()
	ctx := limited(t, 5*time.Minute)
	peak := watched(func() {
		var wg sync.WaitGroup
		for worker := range 16 {
			wg.Go(func() {
				for i := range 20_000 / 16 {
					st, err := conn(p).OpenStream(ctx)
					if err != nil {
						t.Errorf("stream %d of worker %d: %v", i, worker, err)
						return
					}
					_ = st.SetDeadline(time.Now().Add(time.Minute))
					ways[(i+worker)%len(ways)](st)
				}
			})
		}
		wg.Wait()
	})
	took := time.Since(began)
	n, worst := stop()
	t.Logf("20,000 streams in %s; %s before, %s at most; %d commands meanwhile, slowest %s", took, before, peak, n, worst)
	if peak.bytes > before.bytes+64<<20 || peak.goroutines > before.goroutines+128*4+100 || worst > 2*time.Second {
		t.Error("too much")
	}
	_ = p.Conn.SetDeadline(time.Now().Add(time.Minute)) // the storm has taken the time that a peer has
	p.Send(proto.Ping{Token: 5})
	if typ, _ := p.Next(); typ != proto.TypePong {
		t.Errorf("the first stream gets %s", typ)
	}
	t.Logf("%s after them", settled(t, before, n, time.Minute))
}

// TestFloodOfFrames floods a stream with pings, with and without reading the answers, and with frames that may be ignored.
// (One that is empty ends the conversation; a flood of it is one of streams.)
func TestFloodOfFrames(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	for name, tt := range map[string]struct {
		frame []byte
		read  bool
	}{
		"pings":        {proto.AppendFrame(nil, proto.Ping{Token: 1}), true},
		"unread pings": {proto.AppendFrame(nil, proto.Ping{Token: 1}), false},
		"ignorable":    {[]byte{0, 0, 0, 1, 0xff}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.Peer(t)
			st, err := conn(p).OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := weigh()
			stop := others(t, d, nil)
			var sent int64
			var got bytes.Buffer
			peak := watched(func() {
				var wg sync.WaitGroup
				limit := 3 * time.Second // for who does not read, nothing happens
				if tt.read {
					limit = 30 * time.Second // a busy machine takes its time to see that it is a flood
				}
				_ = st.SetDeadline(time.Now().Add(limit))
				if tt.read {
					wg.Go(func() { _, _ = io.Copy(&got, st) })
				}
				many := bytes.Repeat(tt.frame, 2000)
				for {
					n, err := st.Write(many)
					sent += int64(n)
					if err != nil {
						break
					}
				}
				wg.Wait()
			})
			n, worst := stop()
			t.Logf("%d frames, %d bytes read; %s before, %s at most; %d commands of others, slowest %s",
				sent/int64(len(tt.frame)), got.Len(), before, peak, n, worst)
			if peak.bytes > before.bytes+48<<20 || peak.goroutines > before.goroutines+60 || worst > 2*time.Second {
				t.Error("too much")
			}
			if tt.read && !bytes.HasSuffix(got.Bytes(), []byte("flood: too many messages that move nothing on")) {
				t.Errorf("it was not cut off: %q", got.Bytes()[max(0, got.Len()-100):])
			}
			p.Send(proto.Ping{Token: 5}) // another stream of the same connection
			if typ, _ := p.Next(); typ != proto.TypePong {
				t.Errorf("the first stream gets %s", typ)
			}
			st.Abort()
			p.Close()
			t.Logf("%s after it", settled(t, before, n, time.Minute))
		})
	}
	unharmed(t, d)
}

// TestRebindingStorm moves a connection to another port 500 times while a command prints.
func TestRebindingStorm(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	proxy := rexectest.NewUDPProxy(t, d.Address())
	o := d.ClientOptions()
	o.Address, o.Log = proxy.Address(), nil
	c := rexectest.NewClient(t, o)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 1<<20)
	r := random(t)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	file := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(file, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	before := weigh()
	stop := others(t, d, nil)
	var got *output
	peak := watched(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// A KiB at a time, for as long as the storm and a little longer.
			text := fmt.Sprintf("i=0; while [ $i -lt 1024 ]; do dd if=%s bs=1024 skip=$i count=1 2>/dev/null; i=$((i+1)); done", file)
			got = run(limited(t, 2*time.Minute), c, client.Command{Run: shell("%s", text)})
		}()
		for range 500 {
			proxy.Rebind("")
			pause(7 * time.Millisecond)
		}
		<-done
	})
	n, worst := stop()
	got.exited(t, 0)
	t.Logf("500 moves; the command came back %d times; %s before, %s at most; %d commands of others, slowest %s",
		got.result.Resumed, before, peak, n, worst)
	if !bytes.Equal(got.out.Bytes(), noise) {
		t.Errorf("%d bytes of output, want %d; equal so far as %d", got.out.Len(), len(noise), common(got.out.Bytes(), noise))
	}
	if peak.bytes > before.bytes+48<<20 || peak.goroutines > before.goroutines+100 || worst > 2*time.Second {
		t.Error("too much")
	}
	_ = c.Close()
	t.Logf("%s after it", settled(t, before, n, time.Minute))
}

func common(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestSilentHandshakes over QUIC: 2,000 handshakes of a client that says no more, and a good one that gets in. How long
// that takes on this machine meanwhile shows a daemon that nobody floods.
func TestSilentHandshakes(t *testing.T) {
	const limit = 5 * time.Second
	d, calm := newUDPTarget(t, server.Options{HandshakeTimeout: limit}), newUDPTarget(t, server.Options{})
	unharmed(t, d)
	unharmed(t, calm)
	before := weigh()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: udp}
	defer func() { _ = tr.Close(); udp.Close() }()
	var worst, elsewhere time.Duration
	tries, ins := 0, 0
	peak := watched(func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			silentHandshakes(t, tr, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(d.Address())))
		}()
		for over := false; !over; ins++ {
			select {
			case <-done:
				over = true
			default:
			}
			n, took := getIn(t, d)
			tries, worst = tries+n, max(worst, took)
			_, took = getIn(t, calm)
			elsewhere = max(elsewhere, took)
			pause(20 * time.Millisecond)
		}
	})
	t.Logf("a good client got in %d times with %d tries, slowest %s, at the other daemon %s; %s before, %s at most",
		ins, tries, worst, elsewhere, before, peak)
	if worst > 2*time.Second+elsewhere {
		t.Errorf("a good client needed %s", worst)
	}
	// Both ends' memory of 512 connections, and of what is being refused.
	if peak.bytes > before.bytes+96<<20 {
		t.Error("too much")
	}
	t.Logf("%s after them", settled(t, before, 0, limit+15*time.Second))
	unharmed(t, d)
}

// TestSilentCrowd keeps many more connections open than may be without a proof, which stop at some point on
// the way to one; a good client gets in with one try.
func TestSilentCrowd(t *testing.T) {
	for name, kind := range map[string]client.Transport{"TCP": client.TCP, "UDP": client.UDP} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{Transport: kind, Server: server.Options{MaxUnauthenticated: 64}})
			before := weigh()
			tries, ins := 0, 0
			var worst time.Duration
			peak := watched(func() {
				for i := range 400 {
					_ = d.Connect(t).Raw([]byte{0, 0, 1}) // a proof is to follow
					if i%10 == 9 {
						n, took := getIn(t, d)
						tries, ins, worst = tries+n, ins+1, max(worst, took)
					}
				}
			})
			t.Logf("400 connections, 64 places; a good client got in %d times with %d tries, slowest %s; %s before, %s at most",
				ins, tries, worst, before, peak)
			if worst > 2*time.Second || tries > 2*ins {
				t.Error("a good client was kept out")
			}
			if !strings.Contains(strings.Join(d.Logs(), "\n"), "a newer connection took its place") {
				t.Error("the log does not say so")
			}
			// The clients have theirs in this process, over UDP up to four each.
			if peak.goroutines > before.goroutines+64*4+400*4+50 {
				t.Error("too much")
			}
		})
	}
}

// silentHandshakes makes 2,000 handshakes, 20 at a time.
func silentHandshakes(t *testing.T, tr *quic.Transport, to *net.UDPAddr) {
	var wg sync.WaitGroup
	var complete, refused, other atomic.Int64
	for range 20 {
		wg.Go(func() {
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				_, err := tr.Dial(ctx, to, foreignTLS(), &quic.Config{})
				cancel()
				var te *quic.TransportError
				switch {
				case err == nil:
					complete.Add(1)
				case errors.As(err, &te) && te.ErrorCode == quic.ConnectionRefused:
					refused.Add(1)
					pause(5 * time.Millisecond)
				default:
					other.Add(1)
					t.Logf("%v", err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d complete, %d refused, %d ended otherwise", complete.Load(), refused.Load(), other.Load())
}

// getIn connects a good client, as often as it takes.
func getIn(t *testing.T, d *rexectest.Daemon) (tries int, took time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for {
		tries++
		o := d.ClientOptions()
		o.Log = nil
		c := client.New(o)
		err := c.Connect(ctx)
		_ = c.Close()
		if err == nil {
			return tries, time.Since(began)
		}
		if ctx.Err() != nil {
			t.Errorf("not in after %d tries: %v", tries, err)
			return tries, time.Since(began)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestEndedConnections: what is over costs nothing, right away.
func TestEndedConnections(t *testing.T) {
	d := newUDPTarget(t, server.Options{})
	for range 20 {
		getIn(t, d)
	}
	before := weigh()
	const n = 400
	for range n {
		getIn(t, d)
	}
	t.Logf("%s before, %s right after %d connections", before, weigh(), n)
	t.Logf("%s at the end", settled(t, before, 0, 3*time.Second))
}
