package transport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestEveryAddress: a name's first addresses, at which nothing listens or nobody answers, do not hide the one
// where the daemon is.
func TestEveryAddress(t *testing.T) {
	const alpn = "test/1"
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := ListenQUIC(t.Context(), "127.0.0.1:0", key, QUICOptions{Options: Options{ALPN: alpn}})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Release()
	refused, silent := unbound(t), mute(t)
	go func() { // ends with the listener
		for {
			if _, err := ln.Accept(); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	for name, all := range map[string][]string{"refused": {refused, ln.Addr().String()}, "silent": {silent, refused, ln.Addr().String()}} {
		c, err := dialAny(ctx, all, Options{ALPN: alpn})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.Close()
	}
	if _, err := dialAny(ctx, []string{refused, refused}, Options{ALPN: alpn}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want the refusal", err)
	}
}

// mute is an address that answers nothing.
func mute(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// unbound is an address at which nothing listens.
func unbound(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}
