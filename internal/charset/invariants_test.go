package charset_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"rexec/internal/charset"
)

// anyWay is a random way to bring a stream, Idle and all.
func anyWay(way conversion, r *rand.Rand) feed {
	return feed{from: way.from, to: way.to, size: []int{0, 1, 2, 5, 40}[r.IntN(5)], random: r, expect: r.IntN(3) == 0,
		pass: r.IntN(2) == 0, restore: r.IntN(2) == 0, idle: r.IntN(2) == 0}
}

// visible are the bytes that no conversion may take away or move: what moves the cursor, and the spaces.
func visible(b []byte) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\n\r\x1b\x00 ", r) {
			return r
		}
		return -1
	}, string(b))
}

// TestNothingEaten: a stray lead byte, a cut code and binary data leave the control characters alone.
func TestNothingEaten(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(10, 10))}
	for n := range 12000 {
		in := p.stream(1 + p.IntN(15))
		for range p.IntN(4) {
			at := p.IntN(len(in) + 1)
			in = append(in[:at:at], append([]byte{"\n\r\x1b\x00 "[p.IntN(5)]}, in[at:]...)...)
		}
		f := anyWay(conversions()[n%len(conversions())], p.Rand)
		if out, _ := f.run(t, in); visible(out) != visible(in) {
			t.Fatalf("%v: %q is %q", f, in, out)
		}
	}
}

// explained reports whether out is in with some of its codes replaced by the characters that they stand
// for, and nothing else.
func explained(in, out []byte, to charset.Mode) bool {
	reached := make([]map[int]bool, len(in)+5)
	for i := range reached {
		reached[i] = map[int]bool{}
	}
	reached[0][0] = true
	for i := range in {
		code, size := []byte(nil), 0
		if to == charset.UTF8 {
			var r rune
			if r, size, _ = own().code(in[i:]); r != noRune {
				code = []byte(string(r))
			}
		} else if r, n := utf8.DecodeRune(in[i:]); r != utf8.RuneError || n > 1 {
			code, size = own().encode(r, to), n
		}
		for j := range reached[i] {
			if j < len(out) && out[j] == in[i] {
				reached[i+1][j+1] = true
			}
			if code != nil && bytes.HasPrefix(out[j:], code) {
				reached[i+size][j+len(code)] = true
			}
		}
	}
	return reached[len(in)][len(out)]
}

// TestIdleLosesNothing: whatever is decided early, out of Auto comes every byte or its character.
func TestIdleLosesNothing(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(11, 11))}
	for range 8000 {
		in := p.stream(1 + p.IntN(12))
		f := anyWay(conversion{charset.Auto, targets()[p.IntN(3)]}, p.Rand)
		f.idle = true
		if p.IntN(3) == 0 {
			f.random, f.size = nil, 1
		}
		if out, _ := f.run(t, in); !explained(in, out, f.to) {
			t.Fatalf("%v: %q is %q", f, in, out)
		}
	}
}

// TestAutoIdentity are the streams in which Auto must not touch a byte.
func TestAutoIdentity(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	p := pieces{Rand: r, utf8Only: true}
	anything := pieces{Rand: r}
	for name, stream := range map[string]func() []byte{
		// A line with a character of three bytes shows UTF-8, and then even 系统 in GBK, if it is UTF-8, is that.
		"UTF-8": func() []byte {
			first := p.pick("", "a", "é", "\r\n") + p.pick("中", "…", "한", "ก") + p.pick("", "é", "ä x")
			return append([]byte(first+"\n"), append(p.stream(p.IntN(30)), p.pick("\xcf\xb5\xcd\xb3", "")...)...)
		},
		"ASCII": func() []byte {
			return []byte(strings.Map(func(r rune) rune {
				return r & 0x7F
			}, string(anything.stream(r.IntN(100)))))
		},
		"NUL": func() []byte {
			b := anything.stream(r.IntN(30))
			return append(append(b, 0), anything.stream(r.IntN(30))...)
		},
		"neither": func() []byte {
			var b []byte
			for range 1 + r.IntN(5) {
				b = append(b, p.pick("", "a", "x = ")+p.pick("\xff", "\x80", "\xaa\xa1", "\xd6\n", "\xd6\xff", "\x81\x30a")...)
				b = append(append(b, bytes.ReplaceAll(anything.stream(r.IntN(8)), []byte("\r"), nil)...), '\n')
			}
			return bytes.ReplaceAll(b, []byte("\n"), []byte("\n\xff"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2500 {
				in := stream()
				f := anyWay(conversion{charset.Auto, charset.UTF8}, r)
				f.expect, f.idle = false, f.idle && name == "ASCII"
				if out, c := f.run(t, in); !bytes.Equal(out, in) || c.Lines() != 0 {
					t.Fatalf("%v: %q is %q, %d lines", f, in, out, c.Lines())
				}
			}
		})
	}
}

// TestAutoStaysUTF8: once the stream has shown UTF-8, no valid UTF-8 is anything else.
func TestAutoStaysUTF8(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(13, 13)), utf8Only: true}
	for n := range 3000 {
		in := []byte(p.pick("中文\n", "目录：x\n", "😀…\n"))
		if n%2 == 0 { // after GBK
			in = append([]byte("\xd6\xd0\xce\xc4\n"), in...)
		}
		text := p.stream(p.IntN(30))
		for range p.IntN(5) {
			text = append(text, p.pick("\xcf\xb5\xcd\xb3", "\xc4\xbf\xc2\xbc", "на", "é", "ê", " ", "\n")...)
		}
		f := anyWay(conversion{charset.Auto, charset.UTF8}, p.Rand)
		f.idle = false
		whole, _ := f.run(t, append(in, text...))
		c := f.converter()
		head := c.Append(nil, in)
		if c.Found() != charset.UTF8 && n%2 != 0 {
			t.Fatalf("%v after %q", c.Found(), in)
		}
		f.idle = true // from here on it may not matter
		for rest := text; len(rest) > 0; {
			k := 1 + p.IntN(len(rest))
			head = c.Append(head, rest[:k])
			if rest = rest[k:]; p.IntN(2) == 0 {
				head = c.Idle(head)
			}
		}
		head = c.Close(head)
		if !bytes.HasSuffix(whole, text) || !bytes.HasSuffix(head, text) {
			t.Fatalf("%q after %q is %q, with Idle %q", text, in, whole, head)
		}
	}
}

// TestAutoGBK: no line of five hanzi or more in GBK is taken for something else.
func TestAutoGBK(t *testing.T) {
	const lines = 20000
	r := rand.New(rand.NewPCG(14, 14))
	var text, gbk [][]byte
	for range lines {
		var b []byte
		for n := 5 + r.IntN(12); n > 0; {
			switch r.IntN(12) {
			case 0:
				b = append(b, []string{"a", " ", "/", "12", "x.txt", "：", "，", "。"}[r.IntN(8)]...)
			default:
				b = append(b, string(own().index[levelOne(r)])...)
				n--
			}
		}
		b = append(b, '\n')
		text, gbk = append(text, b), append(gbk, whole(charset.UTF8, charset.GBK, b))
	}
	for _, f := range []feed{{size: 4096}, {size: 57, expect: true}, {size: 1000, random: r, pass: true}} {
		f.from, f.to = charset.Auto, charset.UTF8
		out, c := f.run(t, bytes.Join(gbk, nil))
		wrong := 0
		for i, line := range bytes.SplitAfter(out, []byte("\n"))[:lines] {
			if !bytes.Equal(line, text[i]) {
				wrong++
				t.Logf("%q is %q", text[i], line)
			}
		}
		if wrong > 0 || c.Lines() != lines || c.Found() != charset.GB18030 {
			t.Errorf("%v: %d of %d lines are wrong, %d converted, found %v", f, wrong, lines, c.Lines(), c.Found())
		}
	}
}

// levelOne is the pointer of one of the 3755 commonest hanzi.
func levelOne(r *rand.Rand) int {
	n := r.IntN(3755)
	return (0xB0+n/94-0x81)*190 + 0xA1 + n%94 - 0x41
}

// kinds are texts, each of which is something else to a converter.
func kinds() map[string][]byte {
	r := rand.New(rand.NewPCG(15, 15))
	p := pieces{Rand: r}
	var chinese, mix []byte
	for i := range 4000 {
		chinese = append(chinese, string(own().index[levelOne(r)])...)
		if mix = fmt.Appendf(mix, "%d ", i); i%3 == 0 {
			mix = append(mix, string(own().index[levelOne(r)])...)
		}
		if i%50 == 0 {
			chinese, mix = append(chinese, "。\n"...), append(mix, '\n')
		}
	}
	return map[string][]byte{
		"ASCII": textBlock(), "Chinese": chinese, "mix": mix, "pieces": p.stream(4000), "long line": bytes.Repeat([]byte("é"), 10000),
		"GBK": whole(charset.UTF8, charset.GBK, chinese), "GBK mix": whole(charset.UTF8, charset.GBK, mix),
		"four bytes": bytes.Repeat([]byte("\x81\x39\xef\x30"), 5000), "malformed": bytes.Repeat([]byte{0xFF}, 10000),
		"binary": append(append(textBlock(), chinese...), 0, 0xD6),
	}
}

// TestAllocations: once a converter runs, converting allocates nothing.
func TestAllocations(t *testing.T) {
	for name, text := range kinds() {
		dst := make([]byte, 0, 4*len(text)+4*charset.MaxHold)
		for _, way := range conversions() {
			for _, size := range []int{len(text), 1000, 33} {
				c := charset.NewConverter(way.from, way.to)
				run := func() {
					out := dst
					for rest := text; len(rest) > 0; {
						n := min(size, len(rest))
						out = c.Append(out, rest[:n])
						rest = rest[n:]
					}
					c.Idle(out)
				}
				run() // what it keeps back has to have room
				if n := testing.AllocsPerRun(2, run); n != 0 {
					t.Errorf("%v to %v, %s by %d: %v allocations", way.from, way.to, name, size, n)
				}
			}
		}
	}
}

// TestASCIIIsNotHeld: what is only ASCII goes out at once.
func TestASCIIIsNotHeld(t *testing.T) {
	text := textBlock()
	for _, way := range conversions() {
		for _, size := range []int{1, 2, 7, 64, 4096} {
			c := charset.NewConverter(way.from, way.to)
			var out []byte
			for i := 0; i < len(text); i += size {
				end := min(len(text), i+size)
				if out = c.Append(out, text[i:end]); c.Held() != 0 || !bytes.Equal(out, text[:end]) {
					t.Fatalf("%v: %d bytes held", way, c.Held())
				}
			}
			c = charset.NewConverter(way.from, way.to)
			if n := c.PassThrough(text); n != len(text) {
				t.Errorf("%v: %d of %d bytes pass through", way, n, len(text))
			}
		}
	}
}

// TestParallel: converters share nothing that one of them changes. The race detector looks on.
func TestParallel(t *testing.T) {
	texts := kinds()
	var wg sync.WaitGroup
	for _, way := range conversions() {
		for name, text := range texts {
			want := whole(way.from, way.to, text)
			for seed := range uint64(2) {
				wg.Go(func() {
					f := feed{from: way.from, to: way.to, random: rand.New(rand.NewPCG(seed, 16)), pass: true, restore: true}
					if out, _ := f.run(t, text); !bytes.Equal(out, want) {
						t.Errorf("%v, %s: %s", f, name, difference(out, want))
					}
				})
			}
		}
	}
	wg.Wait()
}
