package charset_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"rexec/internal/charset"
)

// seeds are streams to begin with.
func seeds(f *testing.F) {
	for i, tt := range append(namedToUTF8(), namedToGB()...) {
		f.Add([]byte(tt.in), uint64(i))
	}
	p := pieces{Rand: rand.New(rand.NewPCG(17, 17))}
	for i := range 40 {
		f.Add(p.stream(1+p.IntN(20)), uint64(i))
		f.Add(malformed{p.Rand}.append(nil), uint64(i))
	}
	f.Add([]byte("GBK \xb5\xc4\xba\xba\xd7\xd6 \x81\x30\x81\x30 \xff"), uint64(1))
}

// grown is b, or a stream that b is a part of: behind enough text to be known as such, or in a long line.
func grown(b []byte, r *rand.Rand) []byte {
	switch r.IntN(8) {
	case 0:
		return append(textBlock()[r.IntN(8):], b...)
	case 1:
		if len(b) > 0 {
			return bytes.Repeat(b, 1+5000/len(b))
		}
	case 2:
		b = append(bytes.Repeat([]byte("\xb0\xa1"), 2040+r.IntN(16)), b...)
	case 3:
		b = append(bytes.Repeat([]byte("é"), 2040+r.IntN(16)), b...)
	case 4:
		b = append(bytes.Repeat([]byte("中"), 1360+r.IntN(10)), b...)
	}
	return b
}

// FuzzAuto compares Auto with the model of its rule, in different pieces.
func FuzzAuto(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		sameAsModel(t, grown(in, r), targets()[r.IntN(3)], r)
	})
}

// FuzzForced compares the other conversions with the standard's decoders and encoders.
func FuzzForced(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		known := slices.DeleteFunc(conversions(), func(way conversion) bool { return way.from == charset.Auto })
		sameAsStandard(t, grown(in, r), known[r.IntN(len(known))], r)
	})
}

// FuzzIdle decides at any time, which must lose nothing.
func FuzzIdle(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		way := anyWay(conversion{charset.Auto, targets()[r.IntN(3)]}, r)
		way.idle = true
		in = grown(in[:min(len(in), 200)], r)
		out, _ := way.run(t, in)
		if visible(out) != visible(in) || len(in) < 400 && !explained(in, out, way.to) {
			t.Fatalf("%v: %q is %q", way, in, out)
		}
	})
}

// FuzzRestore goes on from any state that a peer may send.
func FuzzRestore(f *testing.F) {
	p := pieces{Rand: rand.New(rand.NewPCG(18, 18))}
	for i := range 40 {
		way := conversions()[i%len(conversions())]
		c := charset.NewConverter(way.from, way.to)
		c.Append(nil, p.stream(i))
		state := c.State()
		f.Add(state[:], p.stream(10), uint64(i))
	}
	f.Fuzz(func(t *testing.T, state, in []byte, seed uint64) {
		if len(state) != len(charset.State{}) {
			return
		}
		r := rand.New(rand.NewPCG(seed, 0))
		for _, way := range conversions() {
			c := charset.NewConverter(way.from, way.to)
			if c.Restore(charset.State(state)) != nil {
				continue
			}
			in := grown(in, r)
			var out []byte
			for rest := in; len(rest) > 0; {
				n := 1 + r.IntN(len(rest))
				passed := c.PassThrough(rest[:n])
				out = c.Append(append(out, rest[:passed]...), rest[passed:n])
				if rest = rest[n:]; r.IntN(3) == 0 {
					if out = c.Idle(out); c.Held() > 3 {
						t.Fatalf("%v: %d bytes held after Idle", way, c.Held())
					}
				}
				if c.Held() > charset.MaxHold {
					t.Fatalf("%v: %d bytes held", way, c.Held())
				}
			}
			if out = c.Close(out); c.Held() != 0 || visible(out) != visible(in) {
				t.Fatalf("%v: %x, then %q is %q, %d held", way, state, in, out, c.Held())
			}
		}
	})
}
