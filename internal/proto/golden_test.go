package proto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// golden is a message as a value and as bytes.
type golden struct {
	name  string
	value Message
	parse func([]byte) (Message, error)
	// wire is the message in hexadecimal: its type byte (none for the extensions of the proofs), then
	// one string for each part.
	wire []string
	// ext marks the extensions, which have no type byte.
	ext bool
	// valid reports whether the first n bytes of the payload are a message as well; nil: none are.
	valid func(g *golden, n int) bool
}

// boxed gives a parser the signature that all have in common.
func boxed[M Message](parse func([]byte) (M, error)) func([]byte) (Message, error) {
	return func(b []byte) (Message, error) {
		m, err := parse(b)
		return m, err
	}
}

func parseAck(b []byte) (Message, error) {
	m, err := ParseAck(b)
	return &m, err
}

func parseRefused(b []byte) (Message, error) { return Refused{}, ParseRefused(b) }

// text is a converted frame as a message: Writer and Reader move its text without holding it in one.
type text struct {
	Type
	TextHeader
	text []byte
}

func (m *text) Append(b []byte) []byte {
	frame := AppendTextHeader(nil, m.Type, m.TextHeader, len(m.text))
	return append(append(b, frame[4:]...), m.text...)
}

// parseText reads a payload as that of a converted frame of type t.
func parseText(t Type) func([]byte) (Message, error) {
	return func(b []byte) (Message, error) {
		r := Reader{r: bytes.NewReader(b), left: len(b)}
		h, err := r.TextHeader()
		if err != nil {
			return nil, err
		}
		rest, err := io.ReadAll(&r)
		return &text{t, h, rest}, err
	}
}

// afterParts allows a message to end behind its first n parts, and behind each later one.
func afterParts(n int) func(*golden, int) bool {
	return func(g *golden, length int) bool {
		end := 0
		for i, part := range g.payloadParts() {
			if i >= n && end == length {
				return true
			}
			end += len(unhex(part))
		}
		return false
	}
}

// fromByte allows a message, whose last part is as long as the frame says, to end anywhere from n on.
func fromByte(n int) func(*golden, int) bool {
	return func(_ *golden, length int) bool { return length >= n }
}

func (g *golden) payloadParts() []string {
	if g.ext {
		return g.wire
	}
	return g.wire[1:]
}

func (g *golden) bytes() []byte   { return unhex(strings.Join(g.wire, "")) }
func (g *golden) payload() []byte { return unhex(strings.Join(g.payloadParts(), "")) }

// unhex reads hexadecimal with spaces in it, and panics on a typing error in a test.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return b
}

// counter is n bytes that count up from first.
func counter(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func TestGolden(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			want := g.bytes()
			if got := g.value.Append(nil); !bytes.Equal(got, want) {
				t.Errorf("appended\n%x, want\n%x", got, want)
			}
			if got := g.value.Append([]byte("before")); !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("appended behind other bytes: %x", got)
			}
			payload := g.payload()
			got, err := g.parse(payload)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, g.value) {
				t.Errorf("parsed\n%+v, want\n%+v", got, g.value)
			}
			// The payload's memory is used again for the next frame.
			for i := range payload {
				payload[i] = 0xff
			}
			if again := got.Append(nil); !bytes.Equal(again, want) {
				t.Errorf("parsed message changed with the payload's memory:\n%x, want\n%x", again, want)
			}
		})
	}
}

func TestEveryPrefix(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			payload := g.payload()
			for n := range payload {
				m, err := g.parse(payload[:n])
				want := g.valid != nil && g.valid(&g, n)
				switch {
				case err == nil && !want:
					t.Errorf("parsed from its first %d of %d bytes", n, len(payload))
				case err != nil && want:
					t.Errorf("first %d of %d bytes: %v", n, len(payload), err)
				case err != nil && !errors.Is(err, ErrMalformed):
					t.Errorf("first %d bytes: %v is not ErrMalformed", n, err)
				case err == nil:
					if again := reparsed(&g, m); !bytes.Equal(again, payload[:n]) {
						t.Errorf("first %d bytes re-encode to %x, want %x", n, again, payload[:n])
					}
				}
			}
		})
	}
}

// reparsed is the payload of m.
func reparsed(g *golden, m Message) []byte {
	b := m.Append(nil)
	if g.ext {
		return b
	}
	return b[1:]
}

func TestTrailingByte(t *testing.T) {
	for _, g := range goldens() {
		t.Run(g.name, func(t *testing.T) {
			switch g.value.(type) {
			case *Error, *text:
				t.Skip("its text is whatever the frame holds")
			}
			for _, extra := range []byte{0, 1, 0xff} {
				if m, err := g.parse(append(g.payload(), extra)); err == nil {
					t.Errorf("parsed with 0x%02x behind it: %+v", extra, m)
				}
			}
		})
	}
}

func TestFrames(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"ping", AppendFrame(nil, Ping{Token: 7}), "00000009 1b 0000000000000007"},
		{"behind another", AppendFrame(unhex("ffff"), EOF{Length: 1 << 40}), "ffff 00000009 15 0000010000000000"},
		{"data", append(AppendDataHeader(nil, TypeStdout, 0x0102030405060708, 3), "abc"...),
			"0000000c 12 0102030405060708 616263"},
		{"no data", AppendDataHeader(nil, TypeStdin, 0, 0), "00000009 14 0000000000000000"},
		{"largest data", AppendDataHeader(nil, TypeStderr, 1<<64-1, MaxData), "00040009 13 ffffffffffffffff"},
		{"text", append(AppendTextHeader(nil, TypeStdoutText, TextHeader{1, 2, ConverterState{3}}, 3), "abc"...),
			"00000020 1d 0000000000000001 00000002 03000000000000000000000000000000 616263"},
		{"no text", AppendTextHeader(nil, TypeStderrText, TextHeader{Length: 1}, 0),
			"0000001d 1e 0000000000000000 00000001 00000000000000000000000000000000"},
		{"largest text", AppendTextHeader(unhex("ff"), TypeStdoutText, TextHeader{1 << 63, 1<<32 - 1, ConverterState{}}, MaxData),
			"ff 0004001d 1d 8000000000000000 ffffffff 00000000000000000000000000000000"},
	}
	for _, tt := range tests {
		if want := unhex(tt.want); !bytes.Equal(tt.got, want) {
			t.Errorf("%s: %x, want %x", tt.name, tt.got, want)
		}
	}
}
