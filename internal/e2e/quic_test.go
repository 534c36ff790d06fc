//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
	"rexec/internal/transport"
)

// stream opens a further stream of a peer's connection.
func stream(t *testing.T, p *rexectest.Peer) *transport.QUICConn {
	t.Helper()
	st, err := p.Conn.(*transport.QUICConn).OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	_ = st.SetDeadline(time.Now().Add(hang))
	return st
}

// cutOff demands that the daemon closes a connection, not only a stream of it, and returns how long it took.
func cutOff(t *testing.T, conn io.Reader, began time.Time) time.Duration {
	t.Helper()
	b, err := io.ReadAll(conn)
	took := time.Since(began)
	var app *quic.ApplicationError
	if !errors.As(err, &app) || !app.Remote {
		t.Errorf("read %q, then %v, want the daemon's end of the connection", b, err)
	}
	return took
}

// TestSecondStreamBeforeProof: until its proof is accepted a peer has one stream. A second one ends the connection,
// whatever it carries, and with it the chance to prove anything.
func TestSecondStreamBeforeProof(t *testing.T) {
	// A limit at which a peer's patience ends first: it is not why the connection is closed.
	x := &target{Daemon: rexectest.New(t, rexectest.Options{
		Transport: client.UDP, Server: server.Options{HandshakeTimeout: time.Hour}})}
	x.marker = t.TempDir() + "/ran"
	for name, frames := range map[string][]byte{
		"empty": nil, "ping": proto.AppendFrame(nil, proto.Ping{Token: 1}), "run": proto.AppendFrame(nil, x.touch()),
	} {
		for _, first := range []int{1, 50, 1 << 10} { // bytes of the first stream
			p := x.Connect(t)
			whole := framed(p.NewProof(x.Key()).Message().Append(nil))
			_ = p.Raw(whole[:min(first, len(whole)-1)])
			st := stream(t, p)
			began := time.Now()
			_, _ = st.Write(frames)
			_ = st.CloseWrite()
			took := cutOff(t, p.Conn, began)
			t.Logf("%s after %d bytes: closed after %s", name, first, took)
		}
	}
	x.logged(t, `"outcome":"failed"`, "a second stream before the proof")
	x.notReached(t)
	x.unharmed(t)
}

// TestStreamRightAfterProof is what a good client may do: its second stream is there as soon as it has the answer.
func TestStreamRightAfterProof(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	for range 100 {
		p := x.Peer(t)
		st := stream(t, p)
		if _, err := st.Write(proto.AppendFrame(nil, proto.Ping{Token: 9})); err != nil {
			t.Fatal(err)
		}
		if typ, _, err := proto.NewReader(st).Next(); err != nil || typ != proto.TypePong {
			t.Fatalf("%v, %v", typ, err)
		}
		st.Close()
		p.Close()
	}
}

// TestProofOfAnotherStream repeats an accepted proof where it proves nothing: behind a second stream's beginning, and as
// the first word of another connection and of another stream of one that is admitted.
func TestProofOfAnotherStream(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	first := x.Connect(t)
	recorded := framed(first.NewProof(x.Key()).Message().Append(nil))
	_ = first.Raw(recorded)
	if typ, _ := first.Next(); typ != proto.TypeServerProof {
		t.Fatalf("the recorded proof itself is answered with %s", typ)
	}
	attack := append(bytes.Clone(recorded), proto.AppendFrame(nil, x.touch())...)
	// Another key may be admitted there: what is behind the proof must not run as the recorded one's.
	second := x.Connect(t)
	if err := second.Prove(x.AddKey(auth.Key{ID: "other"})); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*rexectest.Peer{"of the same connection": first, "of another connection": second} {
		st := stream(t, p)
		_, _ = st.Write(attack)
		_ = st.CloseWrite()
		b, _ := io.ReadAll(st)
		if !bytes.Contains(b, []byte("client proof")) || bytes.Contains(b, []byte{byte(proto.TypeServerProof)}) && b[4] == byte(proto.TypeServerProof) {
			t.Errorf("on a stream %s: %q, want a protocol error", name, b)
		}
	}
	p := x.Connect(t)
	_ = p.Raw(attack)
	_ = p.Conn.CloseWrite()
	if got, err := io.ReadAll(p.Conn); err != nil || !bytes.Equal(got, refused) {
		t.Errorf("on another connection: %q, %v", got, err)
	}
	x.notReached(t)
	x.unharmed(t)
}

// TestRefusedConnectionEnds: with the answer to a bad proof the whole connection ends, not only its stream.
func TestRefusedConnectionEnds(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	p := x.Connect(t)
	stranger := x.Key()
	stranger.KeyID = "nobody"
	began := time.Now()
	if err := p.Prove(stranger); !errors.Is(err, auth.ErrRefused) {
		t.Fatal(err)
	}
	// The daemon does not know of this stream, so it ends with the connection only.
	b, err := io.ReadAll(stream(t, p))
	took := time.Since(began)
	t.Logf("closed after %s", took)
	if err != nil || len(b) != 0 || took > 4*time.Second {
		t.Errorf("%q, %v after %s, want an end in order", b, err, took)
	}
	x.notReached(t)
	x.unharmed(t)
}

// TestUDPStalls stops on the way to a session over UDP: one limit holds for all of it, which a peer does not stretch by
// doing each part as late as it can.
func TestUDPStalls(t *testing.T) {
	const limit = 5 * time.Second
	x := &target{Daemon: rexectest.New(t, rexectest.Options{
		Transport: client.UDP, Server: server.Options{HandshakeTimeout: limit}})}
	x.marker = t.TempDir() + "/ran"
	h := newHandmade(t, x.Token())
	h.kind = proto.TransportQUIC
	for name, stall := range map[string]func(*rexectest.Peer){
		"no stream":         func(*rexectest.Peer) {},
		"half a length":     func(p *rexectest.Peer) { _ = p.Raw([]byte{0, 0}) },
		"half a proof":      func(p *rexectest.Peer) { _ = p.Raw(framed(sign(h.client, p.Binding, h.unsigned()))[:50]) },
		"everything late":   func(p *rexectest.Peer) { wait(t, limit*9/10); _ = p.Raw([]byte{0, 0, 0}) },
		"a byte now and so": func(p *rexectest.Peer) { go drip(p.Conn, framed(h.unsigned()), limit/8) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p := x.Connect(t)
			stall(p)
			// Connection and stream have the same limit, and either may run out first.
			b, err := io.ReadAll(p.Conn)
			took := time.Since(began)
			var app *quic.ApplicationError
			if len(b) > 0 || err != nil && (!errors.As(err, &app) || !app.Remote) {
				t.Errorf("read %q, then %v, want the daemon's end of the connection", b, err)
			}
			if took > limit*17/10 { // twice the limit, nearly, if each part had one of its own
				t.Errorf("closed after %s, the limit is %s", took, limit)
			}
			if name != "no stream" {
				x.logged(t, `"outcome":"failed"`, "reading the proof: ")
			}
		})
	}
	t.Run("good client meanwhile", func(t *testing.T) {
		t.Parallel()
		x.notReached(t)
		x.unharmed(t)
	})
}

// wait lets time pass where time itself is the matter.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// foreignQUIC is a QUIC client that is not ours.
func foreignQUIC(ctx context.Context, address string, edit func(*tls.Config)) (*quic.Conn, error) {
	settings := foreign(edit)
	settings.MinVersion = tls.VersionTLS13
	ctx, cancel := context.WithTimeout(ctx, hang)
	defer cancel()
	return quic.DialAddr(ctx, address, settings, &quic.Config{HandshakeIdleTimeout: hang})
}

// TestALPNOverUDP offers none and wrong ones: the handshake itself fails, with the alert that says why.
func TestALPNOverUDP(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	for name, offer := range map[string][]string{
		"none": nil, "wrong": {"h3", "rexec/2"}, "prefix": {"rexec/"}, "longer": {"rexec/1x"}, "case": {"REXEC/1"},
		"control characters": {"rexec/1\n{\"level\":\"error\"}\x1b[2J\u202e"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			conn, err := foreignQUIC(t.Context(), x.Address(), func(c *tls.Config) { c.NextProtos = offer })
			if err == nil {
				_ = conn.CloseWithError(0, "")
				t.Fatal("the handshake is complete")
			}
			var te *quic.TransportError
			if !errors.As(err, &te) || te.ErrorCode != 0x100+120 {
				t.Errorf("%v, want the alert no_application_protocol", err)
			}
			t.Logf("refused after %s: %v", time.Since(began), err)
			x.notReached(t)
		})
	}
	// The same client with the right one gets in.
	conn, err := foreignQUIC(t.Context(), x.Address(), func(*tls.Config) {})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.CloseWithError(0, "")
	x.unharmed(t)
}

// tickets counts the session tickets that a server issues.
type tickets struct {
	tls.ClientSessionCache
	mu sync.Mutex
	n  int
}

func newTickets() *tickets { return &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(4)} }

func (c *tickets) Put(name string, s *tls.ClientSessionState) {
	c.mu.Lock()
	if s != nil {
		c.n++
	}
	c.mu.Unlock()
	c.ClientSessionCache.Put(name, s)
}

func (c *tickets) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// TestNoEarlyData asks for tickets, and sends early data with a ticket from elsewhere.
func TestNoEarlyData(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	cache := newTickets()
	ours := func(c *tls.Config) { c.ClientSessionCache, c.ServerName = cache, "rexec" }
	for range 3 {
		conn, err := foreignQUIC(t.Context(), x.Address(), ours)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, 100*time.Millisecond) // tickets would come behind the handshake
		if state := conn.ConnectionState(); state.TLS.DidResume || state.Used0RTT {
			t.Error("resumed")
		}
		_ = conn.CloseWithError(0, "")
	}
	if n := cache.count(); n != 0 {
		t.Errorf("%d tickets issued", n)
	}
	earlyDataServer(t, cache)
	if cache.count() == 0 {
		t.Fatal("the other server issued no ticket: nothing to try")
	}
	settings := foreign(ours)
	settings.MinVersion = tls.VersionTLS13
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	proxy := rexectest.NewUDPProxy(t, x.Address())
	proxy.Blackhole() // so that the handshake cannot overtake the early data
	conn, err := quic.DialAddrEarly(ctx, proxy.Address(), settings, &quic.Config{HandshakeIdleTimeout: hang})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "") //nolint:errcheck // it is over
	st, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = st.Write(proto.AppendFrame(nil, x.touch()))
	wait(t, 100*time.Millisecond)
	select {
	case <-conn.HandshakeComplete():
		t.Error("the handshake was complete before: no early data")
	default:
	}
	proxy.Forward()
	select {
	case <-conn.HandshakeComplete():
	case <-ctx.Done():
		t.Fatal("no handshake")
	}
	state := conn.ConnectionState()
	_, err = st.Read(make([]byte, 1))
	t.Logf("resumed: %v; early data taken: %v; its stream: %v", state.TLS.DidResume, state.Used0RTT, err)
	if state.TLS.DidResume || state.Used0RTT || !errors.Is(err, quic.Err0RTTRejected) {
		t.Error("want the early data rejected")
	}
	x.notReached(t)
	x.unharmed(t)
}

// earlyDataServer is another server, which issues tickets for early data; it fills the cache.
func earlyDataServer(t *testing.T, cache *tickets) {
	t.Helper()
	ln, err := quic.ListenAddrEarly("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{proto.ALPN}}, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := foreignQUIC(t.Context(), ln.Addr().String(), func(c *tls.Config) { c.ClientSessionCache, c.ServerName = cache, "rexec" })
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(hang); cache.count() == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	_ = conn.CloseWithError(0, "")
}

// TestMigration moves an admitted connection to an address that its key may not be used from. The daemon knows of the
// move once the new path has answered it, which is one round trip after the first packet from there; a ping makes it.
func TestMigration(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	proxy := rexectest.NewUDPProxy(t, x.Address())
	o := x.ClientOptions()
	o.Address = proxy.Address()
	o.Key = x.AddKey(auth.Key{ID: "here", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	c := rexectest.NewClient(t, o)
	fork, err := c.Fork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer fork.Close()
	x.mayRun(t, c, true)
	before := x.Starts()
	proxy.Rebind("127.0.0.2")
	moved := time.Now()
	if _, err := fork.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a ping over the new path took %s", time.Since(moved))
	another, err := fork.Fork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer another.Close()
	for _, c := range []*client.Client{another, c, fork} {
		x.mayRun(t, c, false)
	}
	if n := x.Starts() - before; n != 0 {
		t.Errorf("%d requests reached the code that starts processes", n)
	}
	proxy.Rebind("127.0.0.1")
	if _, err := c.Ping(t.Context()); err != nil {
		t.Logf("the session was ended meanwhile: %v", err)
	}
	x.mayRun(t, c, true)
	if n := strings.Count(strings.Join(x.Logs(), "\n"), `"outcome":"accepted"`); n != 1 {
		t.Logf("%d connections, so the move back was not seen", n)
	}
	x.unharmed(t)
}

// mayRun demands that a client's command runs, or is refused because of the address it comes from.
func (x *target) mayRun(t *testing.T, c *client.Client, may bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	r, err := c.Run(ctx, &client.Command{Run: proto.Run{Shell: []byte("exit 5")}})
	switch {
	case may && (err != nil || r.Code != 5):
		t.Errorf("%+v, %v", r, err)
	case may:
	case err != nil && strings.Contains(err.Error(), "127.0.0.2"): // the session was ended for it
	case err == nil && r.State == proto.StateRefused && r.Cause == proto.CausePolicy && strings.Contains(r.Reason, "127.0.0.2"):
	default:
		t.Errorf("%+v, %v, want the policy's reason", r, err)
	}
}

// TestRevokedOverUDP revokes a key while two streams of a connection are open, one of them with a command.
func TestRevokedOverUDP(t *testing.T) {
	x := newTargetOver(t, client.UDP)
	p := x.Peer(t)
	busy := stream(t, p)
	_ = busy.SetDeadline(time.Now().Add(20 * time.Second))
	sleep := proto.Run{ID: client.NewID(), Shell: []byte("exec sleep 60")}
	if _, err := busy.Write(proto.AppendFrame(nil, &sleep)); err != nil {
		t.Fatal(err)
	}
	if typ, _, err := proto.NewReader(busy).Next(); err != nil || typ != proto.TypeStarted {
		t.Fatalf("%v, %v", typ, err)
	}
	if err := auth.RevokeKey(x.KeysPath(), x.Key().KeyID); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	late := stream(t, p)
	_, _ = late.Write(proto.AppendFrame(nil, x.touch()))
	for name, conn := range map[string]net.Conn{"the idle one": p.Conn, "the busy one": busy, "a late one": late} {
		b, err := io.ReadAll(conn)
		t.Logf("%s ends after %s: %v", name, time.Since(began), err)
		if err != nil || !bytes.Contains(b, []byte("was revoked")) {
			t.Errorf("%s: %q, %v, want the reason and an end in order", name, b, err)
		}
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("it took %s", took)
	}
	// One more, when all others are gone.
	if st, err := p.Conn.(*transport.QUICConn).OpenStream(t.Context()); err == nil {
		_ = st.SetDeadline(time.Now().Add(15 * time.Second))
		_, _ = st.Write(proto.AppendFrame(nil, x.touch()))
		b, err := io.ReadAll(st)
		if err == nil && !bytes.Contains(b, []byte("was revoked")) {
			t.Errorf("a stream after all: %q", b)
		}
		st.Close()
	}
	if n := x.Starts(); n != 1 {
		t.Errorf("%d requests reached the code that starts processes, want the one before", n)
	}
}
