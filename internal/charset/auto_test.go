package charset_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"rexec/internal/charset"
)

// targets are the charsets that something is converted to.
func targets() []charset.Mode { return []charset.Mode{charset.UTF8, charset.GBK, charset.GB18030} }

// sameAsModel checks that in is converted from Auto as the model says, however it comes.
func sameAsModel(t testing.TB, in []byte, to charset.Mode, r *rand.Rand) {
	t.Helper()
	expect := r.IntN(4) == 0
	want, lines := expected(to, expect, in)
	for _, f := range feeds(charset.Auto, to, r, len(in)) {
		f.expect = expect
		got, c := f.run(t, in)
		if !bytes.Equal(got, want) {
			if len(in) < 200 {
				t.Fatalf("%v: %q is\n%q, want\n%q", f, in, got, want)
			}
			t.Fatalf("%v: %d bytes: %s", f, len(in), difference(got, want))
		}
		if c.Lines() != lines {
			t.Fatalf("%v: %q: %d lines are converted, want %d", f, in[:min(len(in), 200)], c.Lines(), lines)
		}
	}
}

func TestAutoShort(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(5, 5))}
	for range 5000 {
		p.utf8Only = p.IntN(4) == 0
		in := p.stream(1 + p.IntN(12))
		p.utf8Only = false
		in = append(in, p.stream(p.IntN(6))...)
		if p.IntN(6) == 0 {
			at := p.IntN(len(in) + 1)
			in = slices.Insert(in, at, byte(p.IntN(0x20)))
		}
		sameAsModel(t, in, targets()[p.IntN(3)], p.Rand)
	}
}

// textBlock is as much ASCII as must be seen of a stream before it is found to be text.
func textBlock() []byte { return bytes.Repeat([]byte("just some lines of text\n"), 171)[:modelBlock] }

// TestAutoText are streams that have been found to be text before anything has to be decided.
func TestAutoText(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(6, 6))}
	for range 300 {
		in := append(textBlock()[p.IntN(12):], p.stream(1+p.IntN(40))...)
		sameAsModel(t, in, targets()[p.IntN(3)], p.Rand)
	}
}

// TestAutoLong are streams with lines that are too long and with binary data.
func TestAutoLong(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(7, 7))}
	for range 300 {
		p.utf8Only = p.IntN(3) == 0
		sameAsModel(t, p.long(), targets()[p.IntN(3)], p.Rand)
	}
}
