//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rexec/internal/auth"
	"rexec/internal/proto"
)

// refused is the one answer to a proof that does not hold.
var refused = proto.AppendFrame(nil, proto.Refused{}) //nolint:gochecknoglobals // a constant

// tryProof sends a message as the proof, with a command behind it, and demands the fixed refusal.
func (x *target) tryProof(t *testing.T, message func(binding [32]byte) []byte) {
	t.Helper()
	p := x.Connect(t)
	defer p.Close()
	_ = p.Raw(append(framed(message(p.Binding)), proto.AppendFrame(nil, x.touch())...))
	_ = p.Conn.CloseWrite()
	got, err := io.ReadAll(p.Conn)
	if err != nil {
		t.Errorf("the refusal does not end in order: %v", err)
	}
	if !bytes.Equal(got, refused) {
		t.Errorf("answer %q, want %q", got, refused)
	}
}

// TestTruncatedProof cuts a right proof at every byte.
func TestTruncatedProof(t *testing.T) { overBoth(t, truncatedProof) }

func truncatedProof(t *testing.T, x *target) {
	h := x.handmade(t)
	for n := range len(h.unsigned()) + proto.MACLen {
		if n == 0 {
			continue // a frame without a type
		}
		x.tryProof(t, func(b [32]byte) []byte { return sign(h.client, b, h.unsigned())[:n] })
	}
	// The same with the connection's end in place of the rest.
	for _, n := range []int{1, 3, 4, 5, 6, 60, -1} {
		p := x.Connect(t)
		whole := framed(sign(h.client, p.Binding, h.unsigned()))
		_ = p.Raw(whole[:(n+len(whole))%len(whole)])
		_ = p.Conn.CloseWrite()
		silent(t, p.Conn)
		p.Close()
	}
	x.notReached(t)
	x.unharmed(t)
}

// TestWrongProofs are proofs that are wrong in one place, and signed as they are unless the signature
// is what is wrong.
func TestWrongProofs(t *testing.T) { overBoth(t, wrongProofs) }

func wrongProofs(t *testing.T, x *target) {
	h := x.handmade(t)
	signed := func(edit func(b []byte) []byte) func([32]byte) []byte {
		return func(binding [32]byte) []byte { return sign(h.client, binding, edit(h.unsigned())) }
	}
	set := func(at int, v byte) func([32]byte) []byte {
		return signed(func(b []byte) []byte { b[at] = v; return b })
	}
	mac := func(edit func(mac []byte)) func([32]byte) []byte {
		return func(binding [32]byte) []byte {
			m := sign(h.client, binding, h.unsigned())
			edit(m[len(m)-proto.MACLen:])
			return m
		}
	}
	keyID := func(id string) func([32]byte) []byte {
		return func(binding [32]byte) []byte {
			other := *h
			other.keyID = id
			return sign(h.client, binding, other.unsigned())
		}
	}
	last := len(h.unsigned())
	rows := map[string]func([32]byte) []byte{
		"B07 trailing byte":        signed(func(b []byte) []byte { return append(b, 0) }),
		"B07 trailing after MAC":   func(b [32]byte) []byte { return append(sign(h.client, b, h.unsigned()), 0) },
		"B07 key ID length + 1":    set(atKeyID, byte(len(h.keyID)+1)),
		"B07 key ID length - 1":    set(atKeyID, byte(len(h.keyID)-1)),
		"B07 key ID length 0":      set(atKeyID, 0),
		"B07 key ID length 255":    set(atKeyID, 255),
		"B07 extension of 1":       set(last-1, 1),
		"B07 extension of 65,535":  signed(func(b []byte) []byte { b[last-1], b[last-2] = 255, 255; return b }),
		"B07 extension of 1,025":   signed(func(b []byte) []byte { return append(append(b[:last-2], 4, 1), make([]byte, 1025)...) }),
		"B07 extension of garbage": signed(func(b []byte) []byte { return append(append(b[:last-2], 0, 3), 1, 2, 3) }),
		"B08 version 0":            set(atVersion, 0),
		"B08 version 2":            set(atVersion, 2),
		"B08 version 255":          set(atVersion, 255),
		"B08 transport 0":          set(atTransport, 0),
		"B08 the other transport":  set(atTransport, proto.TransportTCP+proto.TransportQUIC-h.kind),
		"B08 transport 255":        set(atTransport, 255),
		"B09 unknown":              keyID("nobody"),
		"B09 empty":                keyID(""),
		"B09 65 bytes":             keyID(strings.Repeat("a", 65)),
		"B09 upper case":           keyID("Test"),
		"B09 slash":                keyID("../test"),
		"B09 NUL":                  keyID("test\x00"),
		"B09 newline":              keyID("test\n"),
		"B09 invalid UTF-8":        keyID("test\xff"),
		"B10 first byte":           mac(func(m []byte) { m[0] ^= 1 }),
		"B10 middle byte":          mac(func(m []byte) { m[16] ^= 0x80 }),
		"B10 last byte":            mac(func(m []byte) { m[31] ^= 1 }),
		"B10 all zero":             mac(func(m []byte) { clear(m) }),
		"B10 key of the answer":    func(b [32]byte) []byte { return sign(h.answer, b, h.unsigned()) },
		"B11 another connection":   func(b [32]byte) []byte { b[0] ^= 1; return sign(h.client, b, h.unsigned()) },
		"B14 a run first":          func([32]byte) []byte { return x.touch().Append(nil) },
		"B14 a ping first":         func([32]byte) []byte { return proto.Ping{Token: 1}.Append(nil) },
		"B15 unknown type":         func([32]byte) []byte { return []byte{0x7f, 1, 2, 3} },
		"B15 ignorable type":       func([32]byte) []byte { return []byte{0xff, 1, 2, 3} },
		"B16 type alone":           func([32]byte) []byte { return []byte{0x01} },
		"B16 largest":              func([32]byte) []byte { return append([]byte{0x01}, make([]byte, proto.MaxUnproven-1)...) },
	}
	for name, message := range rows {
		t.Run(name, func(t *testing.T) {
			x.tryProof(t, message)
			x.notReached(t)
		})
	}
	// What makes the rows above worth anything: with nothing wrong, the same bytes are accepted.
	p := x.Connect(t)
	_ = p.Raw(framed(sign(h.client, p.Binding, h.unsigned())))
	if typ, _ := p.Next(); typ != proto.TypeServerProof {
		t.Errorf("a right proof is answered with %s", typ)
	}
	if o := p.Run(proto.Run{Shell: []byte("exit 3")}); o.Exit.Code != 3 {
		t.Errorf("and its command ends with %+v", o.Exit)
	}
	x.unharmed(t)
	for _, line := range x.Logs() {
		if strings.ContainsAny(line, "\x00\n") || !utf8.ValidString(line) {
			t.Errorf("raw bytes of a peer in the log: %q", line)
		}
	}
}

// TestReplay repeats one connection's right proof on another.
func TestReplay(t *testing.T) { overBoth(t, replayedProof) }

func replayedProof(t *testing.T, x *target) {
	first := x.Connect(t)
	recorded := first.NewProof(x.Key()).Message().Append(nil)
	_ = first.Raw(framed(recorded))
	if typ, _ := first.Next(); typ != proto.TypeServerProof {
		t.Fatalf("the recorded proof itself is answered with %s", typ)
	}
	x.tryProof(t, func([32]byte) []byte { return recorded })
	x.notReached(t)
	x.unharmed(t)
}

// TestDenied are right proofs that are refused with a reason, under the server's MAC.
func TestDenied(t *testing.T) { overBoth(t, deniedProofs) }

func deniedProofs(t *testing.T, x *target) {
	date := time.Date(2020, 1, 31, 12, 0, 0, 0, time.UTC)
	wrong := x.Key()
	wrong.Server[3] ^= 1
	tests := []struct {
		name   string
		key    auth.ClientKey
		status proto.Status
		words  []string
	}{
		{"B12 another server", wrong, proto.StatusWrongServer, []string{"wrong server", x.ServerID().String(), wrong.Server.String()}},
		{"B13 expired", x.AddKey(auth.Key{ID: "old", NotAfter: date}), proto.StatusExpired, []string{"expired", "2020-01-31 12:00:00 UTC"}},
		{"B13 not yet", x.AddKey(auth.Key{ID: "new", NotBefore: date.AddDate(100, 0, 0)}), proto.StatusNotYet, []string{"not valid before 2120-01-31"}},
		{"B13 disabled", x.AddKey(auth.Key{ID: "off", Disabled: true}), proto.StatusDisabled, []string{"disabled"}},
		{"B13 source", x.AddKey(auth.Key{ID: "far", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}),
			proto.StatusSource, []string{"127.0.0.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := x.Connect(t)
			defer p.Close()
			proof := p.NewProof(tt.key)
			p.Send(proof.Message(), x.touch())
			typ, payload := p.Next()
			_, _, err := proof.Check(typ, payload)
			var denied *auth.DeniedError
			if !errors.As(err, &denied) || denied.Status != tt.status || !containsAll(denied.Text, tt.words) {
				t.Errorf("answer %v, want status %d and %q", err, tt.status, tt.words)
			}
			if said, other := p.Ended(); len(said)+len(other) != 0 {
				t.Errorf("and then %v %v", said, other)
			}
			x.notReached(t)
		})
	}
	x.unharmed(t)
}

// TestBreaches are messages of a proved client that no client may send: the session ends with a
// protocol error that names the message.
func TestBreaches(t *testing.T) { overBoth(t, breaches) }

func breaches(t *testing.T, x *target) {
	data := func(typ proto.Type) []byte { return append([]byte{byte(typ)}, make([]byte, 9)...) }
	tests := []struct {
		name  string
		bytes []byte
		word  string
	}{
		{"B14 second proof", framed(append([]byte{0x01}, make([]byte, 120)...)), "client proof"},
		{"B14 server proof", framed(append([]byte{0x02}, make([]byte, 120)...)), "server proof"},
		{"B14 refused", refused, "refused"},
		{"B14 started", proto.AppendFrame(nil, &proto.Started{PID: 1}), "started"},
		{"B14 stdout", framed(data(proto.TypeStdout)), "stdout"},
		{"B14 stderr", framed(data(proto.TypeStderr)), "stderr"},
		{"B14 exit", proto.AppendFrame(nil, &proto.Exit{State: proto.StateExited}), "exit"},
		{"B14 error", proto.AppendFrame(nil, &proto.Error{Code: 1}), "error"},
		{"B14 stdin before a run", framed(data(proto.TypeStdin)), "stdin"},
		{"B14 end of stdin before a run", proto.AppendFrame(nil, proto.EOF{}), "end of stdin"},
		{"B14 ack before a run", proto.AppendFrame(nil, &proto.Ack{Stream: 1}), "ack"},
		{"B14 signal before a run", proto.AppendFrame(nil, proto.Signal{Name: "KILL"}), "signal"},
		{"B14 window before a run", proto.AppendFrame(nil, proto.Window{}), "window"},
		{"B15 unknown type", framed([]byte{0x7f, 1, 2}), "0x7f"},
		{"B15 type 0", framed([]byte{0, 1, 2}), "0x00"},
		{"B16 empty frame", []byte{0, 0, 0, 0}, "frame"},
		{"B16 ping alone", framed([]byte{byte(proto.TypePing)}), "ping"},
		{"B16 run alone", framed([]byte{byte(proto.TypeRun)}), "run"},
		{"B16 stdin + 1", []byte{0, 4, 0, 10, byte(proto.TypeStdin)}, "stdin"},
		{"B16 run + 1", []byte{0, 0x10, 0, 2, byte(proto.TypeRun)}, ""},
		{"B16 ping of 64 KiB + 1", []byte{0, 1, 0, 1, byte(proto.TypePing)}, "ping"},
		{"B16 2^31-1", []byte{0x7f, 255, 255, 255, byte(proto.TypeStdin)}, ""},
		{"B16 2^32-1", []byte{255, 255, 255, 255, byte(proto.TypeStdin)}, ""},
		{"B16 2^63 as two lengths", []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := x.Peer(t)
			defer p.Close()
			_ = p.Raw(append(slices.Clip(tt.bytes), proto.AppendFrame(nil, x.touch())...))
			said, other := p.Ended()
			if len(said) != 1 || said[0].Code != proto.ErrorProtocol || len(other) != 0 {
				t.Fatalf("the daemon says %+v %v, want one protocol error", said, other)
			}
			if !strings.Contains(said[0].Text, tt.word) {
				t.Errorf("the error %q does not name %q", said[0].Text, tt.word)
			}
			x.notReached(t)
		})
	}
	x.unharmed(t)
}

// TestIgnorable sends types that a peer may ignore; the session lives.
func TestIgnorable(t *testing.T) {
	x := newTarget(t)
	p := x.Peer(t)
	for _, typ := range []byte{0x80, 0xc3, 0xff} {
		if err := p.Raw(framed([]byte{typ, 1, 2, 3})); err != nil {
			t.Fatal(err)
		}
	}
	if o := p.Run(proto.Run{Shell: []byte("exit 4")}); o.Exit.Code != 4 {
		t.Errorf("the command after them ended with %+v", o.Exit)
	}
	x.unharmed(t)
}

// TestCriticalField sends a field that the daemon would have to know; the request is refused and
// the session lives. One that it may ignore is ignored.
func TestCriticalField(t *testing.T) {
	x := newTarget(t)
	p := x.Peer(t)
	m := x.touch()
	m.Extra = []proto.Field{{Tag: 0xfff0, Value: []byte{1}}}
	o := p.Run(*m)
	if o.Exit.State != proto.StateRefused || o.Exit.Cause != proto.CauseInvalid || !strings.Contains(o.Exit.Reason, "0xfff0") {
		t.Errorf("a critical field: %+v", o.Exit)
	}
	x.notReached(t)
	if o := p.Run(proto.Run{Shell: []byte("exit 5"), Extra: []proto.Field{{Tag: 0x7ff0, Value: []byte{1}}}}); o.Exit.Code != 5 {
		t.Errorf("a field that may be ignored: %+v", o.Exit)
	}
	x.unharmed(t)
}

// TestLongFramesBeforeProof claims lengths that no proof has: closed without an answer.
func TestLongFramesBeforeProof(t *testing.T) { overBoth(t, longFramesBeforeProof) }

func longFramesBeforeProof(t *testing.T, x *target) {
	for _, head := range [][]byte{
		{0, 0, 0, 0}, {0, 0, 0x10, 1}, {0, 0x10, 0, 1}, {0x7f, 255, 255, 255}, {255, 255, 255, 255}, {0x80, 0, 0, 0},
	} {
		t.Run(fmt.Sprintf("%x", head), func(t *testing.T) {
			p := x.Connect(t)
			defer p.Close()
			_ = p.Raw(append(slices.Clip(head), 0x01, 1, 1))
			silent(t, p.Conn)
			x.notReached(t)
		})
	}
	x.logged(t, `"outcome":"failed"`, "reading the proof")
	x.unharmed(t)
}
