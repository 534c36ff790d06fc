package transport_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"rexec/internal/rexectest"
	"rexec/internal/transport"
)

// TestQUICReset: a client learns from the first packet it sends that the server was killed and started
// again, because both instances have the same reset key.
func TestQUICReset(t *testing.T) {
	o := transport.QUICOptions{ResetKey: [32]byte{1}}
	first, second := listenQUIC(t, o), listenQUIC(t, o)
	p := rexectest.NewUDPProxy(t, first.Addr().String())
	c, err := transport.DialQUIC(t.Context(), p.Address(), transport.Options{ALPN: alpn})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A round trip first: until its handshake is confirmed, a client repeats nothing that it has sent behind it
	// (RFC 9002 6.2.1).
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	s, err := first.Accept()
	if err != nil {
		t.Fatal(err)
	}
	greet(t, s.(conn), c)
	p.Retarget(second.Addr().String())
	if _, err := c.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	var timeout net.Error
	if err == nil || err == io.EOF || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("got %v", err)
	}
}
