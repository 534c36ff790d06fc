//go:build linux

package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
)

// dial opens a TCP connection on which nothing may block for long.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * hang))
	return conn
}

// foreign is a TLS client that is not ours.
func foreign(edit func(*tls.Config)) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto.ALPN}, MinVersion: tls.VersionTLS12}
	edit(c)
	return c
}

// TestOldTLS connects with TLS 1.2, and our client to a server that has no other.
func TestOldTLS(t *testing.T) {
	x := newTarget(t)
	conn := tls.Client(dial(t, x.Address()), foreign(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }))
	err := conn.HandshakeContext(t.Context())
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("a TLS 1.2 client gets %v, want the alert about the version", err)
	}
	x.logged(t, `"outcome":"failed"`, "tls", "version")
	x.notReached(t)
	x.unharmed(t)
}

// TestOldServer lets our client meet a server without TLS 1.3.
func TestOldServer(t *testing.T) {
	x := newTarget(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = tls.Server(conn, &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{proto.ALPN}}).Handshake()
			conn.Close()
		}
		served <- err
	}()
	o := x.ClientOptions()
	o.Address = ln.Addr().String()
	_, err = rexectest.NewClient(t, o).Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("true")}})
	ln.Close()
	if <-served == nil {
		t.Error("our client accepts TLS 1.2")
	}
	var lost *client.LostError
	if err == nil || errors.As(err, &lost) || !strings.Contains(err.Error(), "TLS 1.3") {
		t.Errorf("the client says %v, want that the server needs TLS 1.3, and that nothing was run", err)
	}
}

// TestALPN offers none, another one, and one that would write into a log.
func TestALPN(t *testing.T) {
	for name, offer := range map[string][]string{
		"none": nil, "wrong": {"h2", "rexec/2"}, "prefix": {"rexec/1x"}, "case": {"REXEC/1"},
		"control characters": {"rexec/1\n{\"level\":\"error\"}\x1b[2J\u202e"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTarget(t)
			conn := tls.Client(dial(t, x.Address()), foreign(func(c *tls.Config) { c.NextProtos = offer }))
			if conn.HandshakeContext(t.Context()) == nil {
				h := newHandmade(t, x.Token())
				state := conn.ConnectionState()
				binding, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write(append(framed(sign(h.client, [32]byte(binding), h.unsigned())), proto.AppendFrame(nil, x.touch())...))
				silent(t, conn)
			}
			x.logged(t, `"outcome":"failed"`, `"reason":"`)
			for _, line := range x.Logs() {
				if strings.ContainsAny(line, "\n\x1b\u202e") {
					t.Errorf("control characters in the log: %q", line)
				}
			}
			x.notReached(t)
			x.unharmed(t)
		})
	}
}

// TestNotTLS speaks other protocols, or nothing.
func TestNotTLS(t *testing.T) {
	x := newTarget(t)
	for name, text := range map[string]string{
		"http":        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"ssh":         "SSH-2.0-OpenSSH_9.2\r\n",
		"nothing":     "",
		"one byte":    "\x16",
		"zeros":       strings.Repeat("\x00", 5000),
		"noise":       strings.Repeat("\xa7\x01\xf3", 5000),
		"our frame":   string(proto.AppendFrame(nil, x.touch())),
		"long record": "\x16\x03\x01\xff\xff" + strings.Repeat("x", 70_000),
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, x.Address())
			_, _ = io.WriteString(conn, text)
			_ = conn.(*net.TCPConn).CloseWrite()
			b, err := io.ReadAll(conn)
			var n net.Error
			if errors.As(err, &n) && n.Timeout() {
				t.Error("the daemon keeps the connection")
			}
			if len(b) > 64 {
				t.Errorf("the daemon answers %d bytes: %q", len(b), b)
			}
			x.notReached(t)
		})
	}
	x.unharmed(t)
}

// TestStalls stops at every point of the way to a session; the daemon closes at its deadline,
// which a peer that sends a byte now and then does not move.
func TestStalls(t *testing.T) {
	const limit = 3 * time.Second
	x := &target{Daemon: rexectest.New(t, rexectest.Options{Server: server.Options{HandshakeTimeout: limit}})}
	x.marker = t.TempDir() + "/ran"
	hello := clientHello(t)
	h := newHandmade(t, x.Token())
	stalls := map[string]func(t *testing.T) net.Conn{
		"silence":        func(t *testing.T) net.Conn { return dial(t, x.Address()) },
		"half a header":  func(t *testing.T) net.Conn { return dialAndSend(t, x.Address(), hello[:3]) },
		"header":         func(t *testing.T) net.Conn { return dialAndSend(t, x.Address(), hello[:5]) },
		"half a hello":   func(t *testing.T) net.Conn { return dialAndSend(t, x.Address(), hello[:len(hello)/2]) },
		"hello":          func(t *testing.T) net.Conn { return dialAndSend(t, x.Address(), hello) },
		"no proof":       func(t *testing.T) net.Conn { return rexectest.Connect(t, x.Address()).Conn },
		"half a length":  func(t *testing.T) net.Conn { return proveHalf(t, x, h, 2) },
		"half a proof":   func(t *testing.T) net.Conn { return proveHalf(t, x, h, 50) },
		"all but a byte": func(t *testing.T) net.Conn { return proveHalf(t, x, h, len(framed(h.unsigned()))+31) },
		"a drip":         func(t *testing.T) net.Conn { return dialAndSend(t, x.Address(), hello[:1]) },
	}
	for name, stall := range stalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			conn := stall(t)
			_ = conn.SetDeadline(time.Now().Add(2 * hang))
			if name == "a drip" { // all of it would take longer than that
				drip(conn, hello[1:], 2*hang/time.Duration(len(hello)/2))
			}
			_, err := io.Copy(io.Discard, conn)
			var n net.Error
			if errors.As(err, &n) && n.Timeout() {
				t.Fatal("the daemon keeps the connection")
			}
			if took := time.Since(began); took < limit/2 || took > hang {
				t.Errorf("closed after %s, want about %s", took, limit)
			}
		})
	}
	t.Run("good client meanwhile", func(t *testing.T) {
		t.Parallel()
		x.notReached(t)
		x.unharmed(t)
	})
}

func dialAndSend(t *testing.T, address string, b []byte) net.Conn {
	t.Helper()
	conn := dial(t, address)
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	return conn
}

// proveHalf sends the first n bytes of a right proof.
func proveHalf(t *testing.T, x *target, h *handmade, n int) net.Conn {
	t.Helper()
	p := rexectest.Connect(t, x.Address())
	if err := p.Raw(framed(sign(h.client, p.Binding, h.unsigned()))[:n]); err != nil {
		t.Fatal(err)
	}
	return p.Conn
}

// drip sends a byte at a time until the other end has had enough.
func drip(conn net.Conn, b []byte, every time.Duration) {
	for i := 0; i < len(b); i++ {
		if _, err := conn.Write(b[i : i+1]); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// clientHello is the first flight of our own client.
func clientHello(t *testing.T) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		_ = tls.Client(ours, foreign(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })).Handshake()
	}()
	_ = theirs.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 5)
	if _, err := io.ReadFull(theirs, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(theirs, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// fragmenter puts every byte of the first flight into a record of its own, which TLS allows.
type fragmenter struct {
	net.Conn
	done bool
}

func (f *fragmenter) Write(b []byte) (int, error) {
	if f.done || b[0] != 22 {
		return f.Conn.Write(b)
	}
	f.done = true
	var out []byte
	for _, c := range b[5:] {
		out = append(out, b[0], b[1], b[2], 0, 1, c)
	}
	if _, err := f.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// TestTinyRecords sends the first flight in records of one byte: a connection like any other, or
// closed, but never a burden.
func TestTinyRecords(t *testing.T) {
	x := newTarget(t)
	conn := tls.Client(&fragmenter{Conn: dial(t, x.Address())}, foreign(func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }))
	err := conn.HandshakeContext(t.Context())
	t.Logf("the handshake over 1-byte records: %v", err)
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		t.Error("the daemon keeps the connection")
	}
	_ = conn.Close()
	x.notReached(t)
	x.unharmed(t)
}
