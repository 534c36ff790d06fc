package transport_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"rexec/internal/transport"
)

func serverKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func listenQUIC(t *testing.T, o transport.QUICOptions) *transport.QUICListener {
	t.Helper()
	o.ALPN = alpn
	ln, err := transport.ListenQUIC(t.Context(), "127.0.0.1:0", serverKey(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ln.Release)
	return ln
}

func dialQUIC(t *testing.T, ln net.Listener) *transport.QUICConn {
	t.Helper()
	c, err := transport.DialQUIC(t.Context(), ln.Addr().String(), transport.Options{ALPN: alpn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pairQUIC returns both ends of a connection's first stream, over which a byte went.
func pairQUIC(t *testing.T, ln net.Listener) (c, s *transport.QUICConn) {
	t.Helper()
	c = dialQUIC(t, ln)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s = accepted.(*transport.QUICConn)
	t.Cleanup(func() { s.Close() })
	if n, err := s.Read(make([]byte, 1)); n != 1 {
		t.Fatal(err)
	}
	return c, s
}

// TestQUICStreams opens further streams of a connection that was admitted; it lasts as long as the last
// of them.
func TestQUICStreams(t *testing.T) {
	ln := listenQUIC(t, transport.QUICOptions{})
	c, s := pairQUIC(t, ln)
	s.Admit()
	c2, err := c.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c2.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	s2, err := s.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
	if err := c2.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(s2); err != nil || string(b) != "second" {
		t.Errorf("%q, %v", b, err)
	}
	if c.RemoteAddr() == nil || s2.RemoteAddr().String() != c2.LocalAddr().String() && s2.RemoteAddr().(*net.UDPAddr).Port == 0 {
		t.Errorf("addresses %v and %v", s2.RemoteAddr(), c2.LocalAddr())
	}
	c2.Close()
	if _, err := s.AcceptStream(t.Context()); err == nil {
		t.Error("the connection goes on without streams")
	}
}

// TestQUICStrangerEndsWithItsStream: a connection that was not admitted gets no second chance.
func TestQUICStrangerEndsWithItsStream(t *testing.T) {
	c, s := pairQUIC(t, listenQUIC(t, transport.QUICOptions{}))
	s.Close()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	eventually(t, "no stream can be opened", func() bool {
		_, err := c.OpenStream(t.Context())
		return err != nil
	})
}

// TestQUICWithoutStream: a connection without a stream is ended.
func TestQUICWithoutStream(t *testing.T) {
	ln := listenQUIC(t, transport.QUICOptions{HandshakeTimeout: 50 * time.Millisecond})
	c := dialQUIC(t, ln)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || err == io.EOF || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("read: %v", err)
	}
}

// TestQUICRefused: a port on which nothing listens is told at once.
func TestQUICRefused(t *testing.T) {
	ln := listenQUIC(t, transport.QUICOptions{})
	address := ln.Addr().String()
	ln.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := transport.DialQUIC(ctx, address, transport.Options{ALPN: alpn}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
}

// TestQUICLeavesNothing ends listeners with connections in every state.
func TestQUICLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		ln, err := transport.ListenQUIC(t.Context(), "127.0.0.1:0", serverKey(t), transport.QUICOptions{Options: transport.Options{ALPN: alpn}})
		if err != nil {
			t.Fatal(err)
		}
		c, s := pairQUIC(t, ln)
		silent := dialQUIC(t, ln)
		waiting := dialQUIC(t, ln) // its first stream is ready, and nobody accepts it
		if _, err := waiting.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		s.Admit()
		s.Close()
		ln.Release()
		for _, c := range []*transport.QUICConn{c, silent, waiting} {
			c.Close()
		}
	}
	eventually(t, "no goroutine more than before", func() bool { return runtime.NumGoroutine() <= before })
}

// TestQUICAbortedThenClosed: an aborted stream does not end in order because another one, the last of its
// connection, does so right behind it.
func TestQUICAbortedThenClosed(t *testing.T) {
	ln := listenQUIC(t, transport.QUICOptions{})
	for range 30 {
		c, s := pairQUIC(t, ln)
		s.Admit()
		c2, err := c.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c2.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		s2, err := s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n, err := s2.Read(make([]byte, 1)); n != 1 {
			t.Fatal(err)
		}
		c2.Abort()
		c.Close()
		if _, err := s2.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("the aborted stream ends with %v", err)
		}
	}
}

// TestQUICAcceptAfterEnd: whoever serves a listener learns why it has ended.
func TestQUICAcceptAfterEnd(t *testing.T) {
	closed := listenQUIC(t, transport.QUICOptions{})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := closed.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	broken, err := transport.WrapQUIC(udp, serverKey(t), transport.QUICOptions{Options: transport.Options{ALPN: alpn}})
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Release()
	_ = udp.Close()
	if _, err := broken.Accept(); err == nil {
		t.Error("a listener without a socket accepts")
	} else {
		t.Log(err)
	}
}
