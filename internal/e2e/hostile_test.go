//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/proto"
	"rexec/internal/transport"
)

// hostileText drives a terminal that shows it as it is: title, clipboard, screen, and the C1 form of the same.
const hostileText = "\x1b]0;title\a\x1b]52;c;cm0gLXJmIH4=\a\x1b[2J\x1b[31mrexec: all is well\r\n\u009b2J\u202e\xff end"

// hostile is a server that knows the key and keeps no rule.
type hostile struct {
	t       *testing.T
	conn    net.Conn
	binding [32]byte
	asked   []byte // the client's proof
	key     []byte
	ran     chan<- bool // what came behind the proof, if something did
}

// newHostile returns the address of such a server, which does with each connection what behave says. On ran it tells
// for each whether the client sent a command.
func newHostile(t *testing.T, token func(address string) auth.Token, behave func(*hostile)) (address string, ran <-chan bool) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := transport.Listen(t.Context(), "127.0.0.1:0", key, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	address = ln.Addr().String()
	mac := newHandmade(t, token(address)).answer
	commands := make(chan bool, 100)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go (&hostile{t: t, conn: conn, key: mac, ran: commands}).serve(behave)
		}
	}()
	return address, commands
}

func (h *hostile) serve(behave func(*hostile)) {
	defer h.conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	var err error
	if h.binding, err = h.conn.(*transport.Conn).Bind(ctx); err != nil {
		return // the other half of a race of TCP and UDP
	}
	if h.asked, err = h.frame(); err == nil {
		behave(h)
	}
}

// frame reads one message.
func (h *hostile) frame() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(h.conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<20))
	_, err := io.ReadFull(h.conn, b)
	return b, err
}

func (h *hostile) send(messages ...[]byte) {
	for _, m := range messages {
		_, _ = h.conn.Write(framed(m))
	}
}

// proof is the server's proof, with a MAC that holds.
func (h *hostile) proof(status proto.Status, text string) []byte {
	m := &proto.ServerProof{Status: status, Nonce: [proto.NonceLen]byte{1}, SessionID: [proto.IDLen]byte{2}, Text: text}
	m.Ext = (&proto.Choice{Version: proto.Version, Instance: [proto.IDLen]byte{3}, Uptime: 1000, Retain: 60_000}).Append(nil)
	unsigned := m.AppendUnsigned(nil)
	mac := hmac.New(sha256.New, h.key)
	mac.Write([]byte("rexec/1 server proof\x00"))
	mac.Write(h.binding[:])
	for _, part := range [][]byte{h.asked, unsigned} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write(part)
	}
	return mac.Sum(unsigned)
}

// rest is all that comes until the client closes.
func (h *hostile) rest() {
	_ = h.conn.(*transport.Conn).CloseWrite()
	b, _ := io.ReadAll(h.conn)
	h.ran <- bytes.Contains(b, []byte("secret command"))
}

// run waits for the command.
func (h *hostile) run() {
	m, err := h.frame()
	h.ran <- err == nil && bytes.Contains(m, []byte("secret command"))
}

func message(m proto.Message) []byte { return m.Append(nil) }

func stdout(text string) []byte {
	return append(append([]byte{byte(proto.TypeStdout)}, make([]byte, 8)...), text...)
}

// TestHostileServer: whatever a server says, the client ends with 255, shows no control character, writes nothing to
// stdout that is not a command's, and sends no command to one that has not proved itself.
func TestHostileServer(t *testing.T) {
	s := newStation(t)
	exited := message(&proto.Exit{State: proto.StateExited, StdoutBytes: 4})
	started := message(&proto.Started{PID: 1, StdinFrom: proto.Closed})
	for _, tt := range []struct {
		name   string
		behave func(*hostile)
		sent   bool   // a command
		says   string // on stderr
	}{
		{"refusal, then output", func(h *hostile) { h.send(message(proto.Refused{}), started, stdout("data"), exited); h.rest() }, false, "refused"},
		{"denial with escapes, then output", func(h *hostile) {
			h.send(h.proof(proto.StatusExpired, hostileText), started, stdout("data"), exited)
			h.rest()
		}, false, "^[[31mrexec: all is well"},
		{"denial that nobody knows", func(h *hostile) { h.send(h.proof(200, hostileText), stdout("data")); h.rest() }, false, "^[[31mrexec"},
		{"wrong MAC", func(h *hostile) {
			m := h.proof(proto.StatusAccepted, "")
			m[len(m)-1] ^= 1
			h.send(m, started, stdout("data"), exited)
			h.rest()
		}, false, "not the server that the key belongs to"},
		{"proof for another", func(h *hostile) {
			h.asked[50] ^= 1
			h.send(h.proof(proto.StatusAccepted, ""), started, stdout("data"), exited)
			h.rest()
		}, false, "not the server that the key belongs to"},
		{"no proof", func(h *hostile) { h.send(started, stdout("data"), exited); h.rest() }, false, ""},
		{"a banner", func(h *hostile) { _, _ = io.WriteString(h.conn, "SSH-2.0-"+hostileText+"\r\n"); h.rest() }, false, ""},
		{"4 GiB before the proof", func(h *hostile) {
			_, _ = h.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, byte(proto.TypeServerProof)})
			h.rest()
		}, false, ""},
		{"pings for a proof", func(h *hostile) { flood(h); h.ran <- false }, false, ""},
		{"4 GiB of output", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(started)
			_, _ = h.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, byte(proto.TypeStdout)})
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "outcome unknown"},
		{"an error with escapes", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(message(&proto.Error{Code: 99, Text: hostileText}))
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "^[[31mrexec"},
		{"a refusal of the command with escapes", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(message(&proto.Exit{State: proto.StateRefused, Code: 255, Cause: proto.CausePolicy, Reason: hostileText}))
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "^[[31mrexec"},
		{"a refusal of what it began", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(started, message(&proto.Exit{State: proto.StateRefused, Code: 255, Cause: proto.CausePolicy, Reason: hostileText}))
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "outcome unknown: the server has begun to run it, and refuses to say more: "},
		{"less output than it says", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(started, exited)
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "does not add up"},
		{"a message of the client's", func(h *hostile) {
			h.send(h.proof(proto.StatusAccepted, ""))
			h.run()
			h.send(started, message(proto.Signal{Name: "INT"}))
			_, _ = io.Copy(io.Discard, h.conn)
		}, true, "broke the protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var token auth.Token
			address, ran := newHostile(t, func(address string) auth.Token {
				token = s.Token()
				token.Address = address
				return token
			}, tt.behave)
			s.enroll(token.Encode())
			code, out, stderr := s.run("rexec", "-v", "--tcp", address, "secret command")
			if code != 255 || out != "" || !strings.Contains(stderr, "rexec: error: ") || !strings.Contains(stderr, tt.says) {
				t.Errorf("code %d, stdout %q, stderr %q; want 255, nothing and %q", code, out, stderr, tt.says)
			}
			if i := strings.IndexAny(stderr, "\x1b\a\r\u009b\u202e"); i >= 0 || !utf8.ValidString(stderr) {
				t.Errorf("stderr is not printable: %q", stderr)
			}
			if sent := <-ran; sent != tt.sent {
				t.Errorf("command sent: %v", sent)
			}
		})
	}
}

// flood pings for as long as the client takes it.
func flood(h *hostile) {
	ping := framed(message(proto.Ping{Token: 1}))
	for {
		if _, err := h.conn.Write(ping); err != nil {
			return
		}
	}
}

// TestServerThatKeepsTheClient: one that only shows that it lives, reads no more and ends nothing, can be left.
func TestServerThatKeepsTheClient(t *testing.T) {
	s := newStation(t)
	var token auth.Token
	address, _ := newHostile(t, func(address string) auth.Token {
		token = s.Token()
		token.Address = address
		return token
	}, func(h *hostile) {
		h.send(h.proof(proto.StatusAccepted, ""))
		h.run()
		h.send(message(&proto.Started{PID: 1, StdinWindow: 16 << 20}), stdout("begun\n"))
		flood(h)
	})
	s.enroll(token.Encode())
	for _, signal := range []unix.Signal{unix.SIGINT, unix.SIGTERM} {
		var stderr bytes.Buffer
		cmd := s.command("sh", "-c", `exec rexec --tcp "$0" "secret command" </dev/zero`, address)
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "begun\n" {
			t.Errorf("%q, %v", line, err)
		}
		if code := insist(s, cmd, signal); code != 255 || !strings.Contains(stderr.String(), "outcome unknown: interrupted") {
			t.Errorf("%s: %d, %s", signal, code, stderr.String())
		}
	}
}

// insist sends a signal again and again until a program has ended, and returns its exit code.
func insist(s *station, cmd *exec.Cmd, signal unix.Signal) int {
	ended := make(chan int, 1)
	go func() { ended <- s.ended(cmd) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case code := <-ended:
			return code
		case <-tick.C:
			_ = cmd.Process.Signal(signal)
		}
	}
}
