//go:build linux

package e2e

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
)

// target is a daemon under attack, and the file that exists once an attack got through.
type target struct {
	*rexectest.Daemon
	marker    string
	transport client.Transport
}

func newTarget(t *testing.T) *target {
	t.Helper()
	return newTargetOver(t, client.TCP)
}

func newTargetOver(t *testing.T, transport client.Transport) *target {
	t.Helper()
	return &target{
		Daemon: rexectest.New(t, rexectest.Options{
			Transport: transport, Server: server.Options{HandshakeTimeout: 5 * time.Second},
		}),
		marker: filepath.Join(t.TempDir(), "ran"), transport: transport,
	}
}

// overBoth runs a test over each transport, against a daemon of its own.
func overBoth(t *testing.T, test func(*testing.T, *target)) {
	for name, transport := range map[string]client.Transport{"TCP": client.TCP, "UDP": client.UDP} {
		t.Run(name, func(t *testing.T) { test(t, newTargetOver(t, transport)) })
	}
}

// touch is a request that would leave the marker.
func (x *target) touch() *proto.Run {
	return &proto.Run{ID: client.NewID(), Shell: []byte("touch '" + x.marker + "'"), NoStdin: true}
}

// unharmed demands that nothing ran and that the daemon serves a good client. Every test of bad input
// ends with it.
func (x *target) unharmed(t *testing.T) {
	t.Helper()
	if _, err := os.Lstat(x.marker); err == nil {
		t.Error("the command ran")
		_ = os.Remove(x.marker)
	}
	var out strings.Builder
	result, err := x.Client(t).Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("echo served")}, Stdout: &out})
	if err != nil || result.Code != 0 || out.String() != "served\n" {
		t.Fatalf("a good client got %q, %+v, %v", out.String(), result, err)
	}
}

// notReached demands that no request came to the code that starts processes.
func (x *target) notReached(t *testing.T) {
	t.Helper()
	if n := x.Starts(); n != 0 {
		t.Errorf("%d requests reached the runner", n)
	}
}

// logged demands a log line with all of the words.
func (x *target) logged(t *testing.T, words ...string) {
	t.Helper()
	deadline := time.Now().Add(hang)
	for {
		for _, line := range x.Logs() {
			if containsAll(line, words) {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Errorf("no log line has all of %q:\n%s", words, strings.Join(x.Logs(), "\n"))
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// silent demands that a connection ends without a byte from the daemon.
func silent(t *testing.T, r io.Reader) {
	t.Helper()
	b, err := io.ReadAll(io.LimitReader(r, 1<<10))
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the daemon keeps the connection")
	}
	if len(b) != 0 {
		t.Errorf("the daemon says %q", b)
	}
}

// handmade is the client's half of the proof written a second time, from the description of the
// protocol, so that it can be wrong in one place and right in all others.
type handmade struct {
	server         [proto.IDLen]byte
	keyID          string
	client, answer []byte // the keys of the two MACs
	kind           byte   // what the proof says of the transport
}

// handmade makes proofs for the target's key and transport.
func (x *target) handmade(t *testing.T) *handmade {
	t.Helper()
	h := newHandmade(t, x.Token())
	if x.transport == client.UDP {
		h.kind = proto.TransportQUIC
	}
	return h
}

func newHandmade(t *testing.T, token auth.Token) *handmade {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token.Encode(), "rexec:"))
	if err != nil {
		t.Fatal(err)
	}
	secret := raw[1+proto.IDLen:][:32]
	h := &handmade{server: [proto.IDLen]byte(raw[1:]), keyID: token.Key.KeyID, kind: proto.TransportTCP}
	for label, dst := range map[string]*[]byte{
		"rexec/1 client proof key": &h.client, "rexec/1 server proof key": &h.answer,
	} {
		if *dst, err = hkdf.Expand(sha256.New, secret, label, 32); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// unsigned is a right proof without its MAC: type, version, transport, server, key ID, nonce, extension.
func (h *handmade) unsigned() []byte {
	b := append([]byte{0x01, 1, h.kind}, h.server[:]...)
	b = append(append(b, byte(len(h.keyID))), h.keyID...)
	b = append(b, make([]byte, 32)...)
	return append(b, 0, 0)
}

// Where the parts of an unsigned proof begin.
const (
	atVersion   = 1
	atTransport = 2
	atServer    = 3
	atKeyID     = atServer + 16
)

// sign appends the MAC over a channel and a message.
func sign(key []byte, binding [32]byte, unsigned []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("rexec/1 client proof\x00"))
	m.Write(binding[:])
	m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(unsigned))))
	m.Write(unsigned)
	return m.Sum(unsigned[:len(unsigned):len(unsigned)])
}

// framed is a message with its length before it.
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}
