package persist

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"rexec/internal/proto"
)

// stream is a conversation's bytes from a client: an empty frame, frames of data, a request.
func stream() (b []byte, types []proto.Type) {
	m := []proto.Message{
		proto.Ping{Token: 1}, proto.Signal{Name: "INT"}, proto.EOF{Length: 7}, &proto.Run{ID: proto.ExecID{1}, Shell: []byte("true")},
	}
	for _, x := range m {
		b = proto.AppendFrame(b, x)
		types = append(types, proto.Type(b[len(b)-len(proto.AppendFrame(nil, x))+4]))
	}
	b = append(b, 0, 0, 0, 1, 0x80) // a frame of a type to be skipped, with nothing in it
	return b, append(types, 0x80)
}

// TestCut feeds a stream in two pieces, cut at every byte: everything but the bye is passed on, in order,
// and the bye is found.
func TestCut(t *testing.T) {
	plain, types := stream()
	whole := append(appendBye(slices.Clone(plain), byeReuse), "behind the end"...)
	for at := range len(plain) + byeLen {
		var f frames
		var passed []byte
		var seen []proto.Type
		held := []byte{}
		ended := false
		for _, piece := range [][]byte{whole[:at], whole[at:]} {
			b := append(held, piece...)
			n, done, what, err := f.cut(b, func(t proto.Type) { seen = append(seen, t) })
			if err != nil {
				t.Fatalf("cut at %d: %v", at, err)
			}
			passed = append(passed, b[:n]...)
			if done {
				if ended = true; what != byeReuse {
					t.Errorf("cut at %d: bye says %d", at, what)
				}
				break
			}
			if held = slices.Clone(b[n:]); len(held) >= byeLen {
				t.Errorf("cut at %d: %d bytes are held back", at, len(held))
			}
		}
		if !ended || !bytes.Equal(passed, plain) || !slices.Equal(seen, types) {
			t.Errorf("cut at %d: ended %v, passed %q, frames %v; want %q, %v", at, ended, passed, seen, plain, types)
		}
	}
}

// TestTake follows a stream that is cut at every byte, and keeps the payloads of whole frames.
func TestTake(t *testing.T) {
	plain, types := stream()
	for at := range len(plain) + 1 {
		var f frames
		var seen []proto.Type
		var again []byte
		each := func(t proto.Type, payload []byte) {
			seen = append(seen, t)
			again = append(again, 0, 0, 0, byte(1+len(payload)), byte(t))
			again = append(again, payload...)
		}
		for _, piece := range [][]byte{plain[:at], plain[at:]} {
			if err := f.take(piece, true, each); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(seen, types) || !bytes.Equal(again, plain) || !f.between() {
			t.Errorf("cut at %d: %v, %q", at, seen, again)
		}
	}
}

func TestImpossibleFrames(t *testing.T) {
	for _, b := range [][]byte{{0, 0, 0, 0, 1}, {0xff, 0xff, 0xff, 0xff, 1}} {
		var f frames
		if err := f.take(b, false, nil); err == nil {
			t.Errorf("% x: taken", b)
		}
		if _, _, _, err := f.cut(b, nil); err == nil {
			t.Errorf("% x: passed on", b)
		}
	}
	var f frames
	if err := f.take([]byte{0, 1, 0, 1, 1}, true, nil); err == nil {
		t.Error("a frame of more than 64 KiB is kept")
	}
}

// TestWire: what one end writes the other one reads, and no part of it.
func TestWire(t *testing.T) {
	q := hello{op: opUse, id: ID{1, 2, 3}, idle: 90 * time.Second}
	b := q.append(nil)
	if got, err := readHello(bytes.NewReader(b)); err != nil || got != q || len(b) != helloLen {
		t.Errorf("%+v, %v", got, err)
	}
	h := header{
		status: statusReady, pid: 77, kind: proto.TransportQUIC, uptime: 5000, age: 1500 * time.Millisecond,
		choice: &proto.Choice{Version: 1, Instance: [proto.IDLen]byte{9}, Uptime: 4000, Retain: 60000},
	}
	b = h.append(nil)
	got, err := readHeader(bytes.NewReader(b))
	if err != nil || got.choice == nil || got.choice.Instance != h.choice.Instance || got.choice.Retain != 60000 {
		t.Fatalf("%+v, %v", got, err)
	}
	if p := got.proven(nil); p.Uptime != 5000 || time.Since(p.Told) < h.age {
		t.Errorf("uptime %d, told %s ago", p.Uptime, time.Since(p.Told))
	}
	got.choice, h.choice = nil, nil
	if got != h {
		t.Errorf("%+v, want %+v", got, h)
	}
	for n := range b {
		if _, err := readHeader(bytes.NewReader(b[:n])); err == nil {
			t.Errorf("%d of %d bytes are a header", n, len(b))
		}
	}
	b[0]++
	if _, err := readHeader(bytes.NewReader(b)); err == nil {
		t.Error("a header of another program is taken")
	}
}
