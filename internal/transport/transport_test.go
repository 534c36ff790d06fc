package transport_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"rexec/internal/transport"
)

const alpn = "rexec/1"

func listen(t *testing.T) *transport.Listener {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := transport.Listen(t.Context(), "127.0.0.1:0", key, transport.Options{ALPN: alpn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// bound is what binding the next connection of a listener gave.
type bound struct {
	conn    *transport.Conn
	binding [32]byte
	err     error
}

func accept(t *testing.T, ln net.Listener) <-chan bound {
	t.Helper()
	result := make(chan bound, 1)
	ctx := t.Context()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			result <- bound{err: err}
			return
		}
		c := conn.(*transport.Conn)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var b bound
		b.conn = c
		b.binding, b.err = c.Bind(ctx)
		result <- b
	}()
	return result
}

func pair(t *testing.T) (c, s *transport.Conn, cb, sb [32]byte) {
	t.Helper()
	ln := listen(t)
	server := accept(t, ln)
	c, err := transport.Dial(t.Context(), ln.Addr().String(), transport.Options{ALPN: alpn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if cb, err = c.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := <-server
	if b.err != nil {
		t.Fatal(b.err)
	}
	t.Cleanup(func() { b.conn.Close() })
	return c, b.conn, cb, b.binding
}

// conn is what both transports offer.
type conn interface {
	net.Conn
	Kind() transport.Kind
	PeerKey() [32]byte
	WriteVec(head, body []byte) (int, error)
	CloseWrite() error
	Abort()
	Quiet() bool
}

// over runs a test over both transports. A pair is connected, and the second one has read a byte of the
// first.
func over(t *testing.T, test func(t *testing.T, c, s conn, cb, sb [32]byte)) {
	t.Run("TCP", func(t *testing.T) {
		c, s, cb, sb := pair(t)
		greet(t, c, s)
		test(t, c, s, cb, sb)
	})
	t.Run("QUIC", func(t *testing.T) {
		ln := listenQUIC(t, transport.QUICOptions{})
		c, s := pairQUIC(t, ln)
		cb, err := c.Bind(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sb, err := s.Bind(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		test(t, c, s, cb, sb)
	})
}

func greet(t *testing.T, c, s conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
}

func TestBothEndsAgree(t *testing.T) {
	over(t, func(t *testing.T, c, s conn, cb, sb [32]byte) {
		if cb != sb || cb == [32]byte{} {
			t.Errorf("bindings %x and %x", cb, sb)
		}
		if _, _, other, _ := pair(t); other == cb {
			t.Error("two connections have one binding")
		}
		if c.PeerKey() == [32]byte{} || s.PeerKey() != [32]byte{} {
			t.Errorf("peer keys %x and %x", c.PeerKey(), s.PeerKey())
		}
		if c.Kind() != s.Kind() {
			t.Errorf("kinds %d and %d", c.Kind(), s.Kind())
		}
	})
	c, _, _, _ := pair(t)
	state := c.ConnectionState()
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("version %x, curve %v", state.Version, state.CurveID)
	}
}

// TestServerRefusesPeers: whatever a peer negotiates or breaks off,
// there is an error and no binding. The exporter of such a connection is nil or answers too early, so a
// call of it would panic here or give bytes.
func TestServerRefusesPeers(t *testing.T) {
	tests := map[string]struct {
		config *tls.Config
		is     error
	}{
		"no ALPN":          {&tls.Config{}, transport.ErrALPN},
		"wrong ALPN":       {&tls.Config{NextProtos: []string{"h2"}}, nil},
		"ALPN with prefix": {&tls.Config{NextProtos: []string{"rexec/10", "rexec"}}, nil},
		"ALPN of escapes":  {&tls.Config{NextProtos: []string{"\x1b[2J\n"}}, nil},
		"TLS 1.2":          {&tls.Config{NextProtos: []string{alpn}, MaxVersion: tls.VersionTLS12}, nil},
		"TLS 1.2, no ALPN": {&tls.Config{MaxVersion: tls.VersionTLS12}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ln := listen(t)
			server := accept(t, ln)
			config := tt.config
			config.InsecureSkipVerify = true
			config.MinVersion = tls.VersionTLS10
			conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", ln.Addr().String())
			if err == nil {
				defer conn.Close()
			}
			b := <-server
			defer b.conn.Close()
			if b.err == nil || b.binding != [32]byte{} {
				t.Fatalf("bound: %x, %v", b.binding, b.err)
			}
			if tt.is != nil && !errors.Is(b.err, tt.is) {
				t.Errorf("%v, want %v", b.err, tt.is)
			}
		})
	}
}

// breaking is a connection that ends after a number of bytes were written.
type breaking struct {
	net.Conn
	left int
	mute bool // goes silent instead
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) <= b.left {
		b.left -= len(p)
		return b.Conn.Write(p)
	}
	n, _ := b.Conn.Write(p[:b.left])
	b.left = 0
	if b.mute {
		return len(p), nil
	}
	b.Close()
	return n, io.ErrClosedPipe
}

// TestAbortedHandshakes breaks the handshake off at many places. The last ones lie before the client's
// Finished, when Go's exporter answers already.
func TestAbortedHandshakes(t *testing.T) {
	ln := listen(t)
	full := handshakeBytes(t, ln)
	for _, mute := range []bool{false, true} {
		for at := 0; at < full; at += 1 + full/24 {
			server := make(chan bound, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					server <- bound{err: err}
					return
				}
				c := conn.(*transport.Conn)
				_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
				b := bound{conn: c}
				b.binding, b.err = c.Bind(ctx)
				server <- b
			}()
			raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.SetDeadline(time.Now().Add(200 * time.Millisecond))
			c := tls.Client(&breaking{raw, at, mute}, &tls.Config{
				InsecureSkipVerify: true, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13})
			_ = c.HandshakeContext(ctx)
			b := <-server
			if b.err == nil || b.binding != [32]byte{} {
				t.Errorf("broken off after %d of %d bytes (silent: %v): %x, %v", at, full, mute, b.binding, b.err)
			}
			b.conn.Close()
			raw.Close()
			cancel()
		}
	}
}

// counting counts what is written.
type counting struct {
	net.Conn
	n int
}

func (c *counting) Write(p []byte) (int, error) { c.n += len(p); return c.Conn.Write(p) }

// handshakeBytes is how much a client writes until its handshake is complete.
func handshakeBytes(t *testing.T, ln net.Listener) int {
	t.Helper()
	server := accept(t, ln)
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	count := &counting{Conn: raw}
	c := tls.Client(count, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13})
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := <-server
	if b.err != nil {
		t.Fatal(b.err)
	}
	b.conn.Close()
	return count.n
}

// TestClientRefusesServers is the client's side of the same checks.
func TestClientRefusesServers(t *testing.T) {
	tests := map[string]*tls.Config{
		"no ALPN":    {},
		"wrong ALPN": {NextProtos: []string{"h2"}},
		"TLS 1.2":    {NextProtos: []string{alpn}, MaxVersion: tls.VersionTLS12},
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			config.Certificates = certificate(t)
			fake, err := tls.Listen("tcp", "127.0.0.1:0", config)
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			done := make(chan struct{})
			go func() {
				defer close(done)
				if conn, err := fake.Accept(); err == nil {
					_ = conn.(*tls.Conn).HandshakeContext(context.Background())
					_, _ = io.Copy(io.Discard, conn)
					conn.Close()
				}
			}()
			c, err := transport.Dial(t.Context(), fake.Addr().String(), transport.Options{ALPN: alpn})
			if err != nil {
				t.Fatal(err)
			}
			if b, err := c.Bind(t.Context()); err == nil || b != [32]byte{} {
				t.Errorf("bound: %x, %v", b, err)
			}
			c.Close()
			<-done
		})
	}
}

func certificate(t *testing.T) []tls.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{selfSigned(t, pub, key)}, PrivateKey: key}}
}

// TestSilentPeerHoldsUpNobody: accepting does not wait for a handshake.
func TestSilentPeerHoldsUpNobody(t *testing.T) {
	ln := listen(t)
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if first, err := ln.Accept(); err != nil {
		t.Fatal(err)
	} else {
		defer first.Close()
	}
	server := accept(t, ln)
	c, err := transport.Dial(t.Context(), ln.Addr().String(), transport.Options{ALPN: alpn})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := <-server
	if b.err != nil {
		t.Fatal(b.err)
	}
	b.conn.Close()
}

// TestAbortIsNoOrderlyEnd: the peer must be able to tell a broken connection from a closed one.
func TestAbortIsNoOrderlyEnd(t *testing.T) {
	for name, abort := range map[string]bool{"close": false, "abort": true} {
		t.Run(name, func(t *testing.T) {
			over(t, func(t *testing.T, c, s conn, _, _ [32]byte) {
				if abort {
					c.Abort()
				} else {
					c.Close()
				}
				_, err := s.Read(make([]byte, 1))
				if orderly := err == io.EOF; orderly == abort || err == nil {
					t.Errorf("the other end reads %v", err)
				}
			})
		})
	}
}

// TestForgedEndIsNoOrderlyEnd: a TCP end of stream between two records is no closing alert, and anybody on the path can
// make one (RFC 8446 6.1). crypto/tls by itself reports io.EOF for both.
func TestForgedEndIsNoOrderlyEnd(t *testing.T) {
	ln := listen(t)
	server := accept(t, ln)
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13})
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	b := <-server
	if b.err != nil {
		t.Fatal(b.err)
	}
	defer b.conn.Close()
	if err := raw.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b.conn); err == nil {
		t.Errorf("after %q the stream ended as if the peer had closed it", got)
	}
}

// TestStream sends both ways at once, in pieces of all kinds, half-closes, and compares.
func TestStream(t *testing.T) {
	over(t, testStream)
}

func testStream(t *testing.T, c, s conn, _, _ [32]byte) {
	up, down := make([]byte, 3<<20), make([]byte, 5<<20)
	for i := range up {
		up[i] = byte(i * 7 >> 3)
	}
	for i := range down {
		down[i] = byte(i * 13 >> 4)
	}
	var wg sync.WaitGroup
	send := func(conn conn, b []byte, vector bool) {
		for i := 0; len(b) > 0; i++ {
			n := min(len(b), []int{1, 4095, 17, 16 << 10, 16<<10 + 1, 256 << 10, 300 << 10}[i%7])
			var err error
			if vector {
				_, err = conn.WriteVec(b[:min(n, 13)], b[min(n, 13):n])
			} else {
				_, err = conn.Write(b[:n])
			}
			if err != nil {
				t.Error(err)
				return
			}
			b = b[n:]
		}
		if err := conn.CloseWrite(); err != nil {
			t.Error(err)
		}
	}
	receive := func(conn conn, want []byte) {
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
	wg.Go(func() { send(c, up, false) })
	wg.Go(func() { send(s, down, true) })
	wg.Go(func() { receive(s, up) })
	wg.Go(func() { receive(c, down) })
	wg.Wait()
}

// TestAbortUnblocks: a writer whose peer reads no more is let go.
func TestAbortUnblocks(t *testing.T) {
	for name, end := range map[string]func(conn){
		"abort":    conn.Abort,
		"close":    func(c conn) { c.Close() },
		"deadline": func(c conn) { _ = c.SetWriteDeadline(time.Unix(1, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			over(t, func(t *testing.T, c, s conn, _, _ [32]byte) {
				done := make(chan error, 1)
				go func() {
					_, err := c.WriteVec(make([]byte, 13), make([]byte, 64<<20)) // more than any window
					done <- err
				}()
				if _, err := io.ReadFull(s, make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
				end(c)
				select {
				case err := <-done:
					if err == nil {
						t.Error("the write is said to be done")
					}
				case <-time.After(8 * time.Second):
					t.Error("a write goes on after its connection was ended")
				}
			})
		})
	}
}

// TestCloseUnderWrite: what a peer has got of a write that was cut short is not everything.
func TestCloseUnderWrite(t *testing.T) {
	over(t, func(t *testing.T, c, s conn, _, _ [32]byte) {
		done := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 64<<20)) // more than any window
			done <- err
		}()
		if _, err := io.ReadFull(s, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		if err := <-done; err == nil {
			t.Error("the write is said to be done")
		}
		if n, err := io.Copy(io.Discard, s); err == nil {
			t.Errorf("after %d bytes more the stream ended in order", n)
		}
	})
}

// TestQuiet tells a connection that is idle from one that has news or has ended.
func TestQuiet(t *testing.T) {
	over(t, func(t *testing.T, c, s conn, _, _ [32]byte) {
		if !c.Quiet() || !s.Quiet() {
			t.Error("an idle connection is not quiet")
		}
		if _, err := s.Write([]byte("news")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "news", func() bool { return !c.Quiet() })
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if !c.Quiet() {
			t.Error("not quiet after all was read")
		}
		s.Close()
		eventually(t, "the end", func() bool { return !c.Quiet() })
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
