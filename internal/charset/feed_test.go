package charset_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"rexec/internal/charset"
)

// feed is a way to bring a stream to a converter.
type feed struct {
	from, to charset.Mode
	expect   bool
	size     int        // of the pieces; 0 for all at once
	random   *rand.Rand // pieces are of random sizes up to size, if set, and the rest happens at random too
	pass     bool       // what PassThrough takes goes past the converter
	restore  bool       // another converter goes on now and then
	idle     bool       // Idle is called now and then, or after every piece
}

func (f feed) String() string {
	s := fmt.Sprintf("%v to %v, pieces of %d", f.from, f.to, f.size)
	for _, o := range []struct {
		on   bool
		name string
	}{
		{f.random != nil, "random"}, {f.expect, "expecting"}, {f.pass, "passing"}, {f.restore, "restoring"}, {f.idle, "idling"},
	} {
		if o.on {
			s += ", " + o.name
		}
	}
	return s
}

// now says whether something that happens now and then happens.
func (f feed) now() bool { return f.random == nil || f.random.IntN(4) == 0 }

// converter returns a new converter as f wants it.
func (f feed) converter() *charset.Converter {
	c := charset.NewConverter(f.from, f.to)
	if f.expect {
		c.Expect()
	}
	return c
}

// run converts in, and checks on the way what a converter promises at any time.
func (f feed) run(t testing.TB, in []byte) ([]byte, *charset.Converter) {
	t.Helper()
	c := f.converter()
	out := make([]byte, 0, 4*len(in)+64)
	piece := make([]byte, 0, 256)
	for at := 0; at < len(in); {
		n := len(in) - at
		if f.size > 0 {
			n = min(n, f.size)
		}
		if f.random != nil {
			n = 1 + f.random.IntN(n)
		}
		// A converter may neither keep nor change what it is given: the piece is used again.
		piece = append(piece[:0], in[at:at+n]...)
		at += n
		passed := 0
		if f.pass && f.now() {
			passed = c.PassThrough(piece)
			out = append(out, piece[:passed]...)
		}
		out = c.Append(out, piece[passed:])
		if !bytes.Equal(piece, in[at-n:at]) {
			t.Fatalf("%v: the input was changed", f)
		}
		clear(piece)
		if f.idle && f.now() {
			out = c.Idle(out)
			if c.Held() > 3 {
				t.Fatalf("%v: %d bytes held after Idle", f, c.Held())
			}
		}
		if c.Held() > charset.MaxHold || c.Held() > at {
			t.Fatalf("%v: %d bytes held", f, c.Held())
		}
		if f.restore && f.now() {
			out, c = f.again(t, c, in[:at], out)
		}
	}
	out = c.Close(out)
	if c.Held() != 0 || len(c.Close(nil)) != 0 {
		t.Fatalf("%v: %d bytes held after Close", f, c.Held())
	}
	return out, c
}

// again goes on with another converter in place of c, which has had in.
func (f feed) again(t testing.TB, c *charset.Converter, in, out []byte) ([]byte, *charset.Converter) {
	t.Helper()
	other := charset.NewConverter(f.from, f.to)
	state, lines, held := c.State(), c.Lines(), c.Held()
	if state == (charset.State{}) {
		t.Fatalf("%v: a state of zeros", f)
	}
	if err := other.Restore(state); err != nil {
		t.Fatalf("%v: %v", f, err)
	}
	if other.State() != state {
		t.Fatalf("%v: restored %x, want %x", f, other.State(), state)
	}
	before := len(out)
	out = other.Append(out, in[len(in)-held:])
	if other.Held() != held || len(out) != before || other.State() != state || other.Lines() != lines || other.Found() != c.Found() {
		t.Fatalf("%v: held %d bytes in state %x, restored %d in %x after %q", f, held, state, other.Held(), other.State(), in)
	}
	return out, other
}

// feeds are ways to bring a stream that must not matter. size bounds the pieces; smaller ones are for short
// streams.
func feeds(from, to charset.Mode, r *rand.Rand, length int) []feed {
	sizes := []int{1, 2, 3, 7}
	if length > 2000 {
		sizes = []int{61, 4095, 4096, 4097, 65536}
	}
	var out []feed
	for i, size := range append(sizes, 0) {
		out = append(out, feed{from: from, to: to, size: size, pass: i%2 == r.IntN(2), restore: size > 0 && r.IntN(3) == 0})
	}
	for _, size := range []int{16, 0} {
		if size == 0 || length < 2000 {
			out = append(out, feed{from: from, to: to, size: size, random: r})
			out = append(out, feed{from: from, to: to, size: size, random: r, pass: true, restore: true})
		}
	}
	return out
}

// pieces makes streams in which much that matters to the rule of Auto comes together.
type pieces struct {
	*rand.Rand
	gbOnly, utf8Only bool
}

func (p pieces) pick(from ...string) string { return from[p.IntN(len(from))] }

// piece is one of them.
func (p pieces) piece() string {
	switch n := p.IntN(22); {
	case n < 3:
		return p.pick("a", "Z", " ", "-rw-r--r--", "0", "9", "x=1;", "[", "@", "|", "`", "~")
	case n < 6:
		return p.pick("\n", "\n", "\r\n", "\r", "\n\n")
	case n == 6:
		return p.pick("\x1b[31m", "\x1b[0m", "\x07", "\b", "\t", "\x0e", "\x0f")
	case n < 10 && !p.utf8Only:
		return p.gbk()
	case n < 14 && !p.gbOnly:
		return p.pick("中", "文", "目录", "系统", "中文件名", "é", "café", "на", "“x”", "…", "€", "😀", "\U00020000", "\uE5E5",
			"\uE81E", "\uE000", "한", "あ", "ÿ", "¥", "\u0080", "\uFFFD", "\uFFFF", "\uFEFF", "ä")
	case n == 14 && !p.utf8Only:
		return p.cut()
	case n == 15 && !p.utf8Only:
		return string([]byte{byte(0x80 + p.IntN(0x80))})
	case n == 16 && !p.utf8Only:
		return string(fourCode(p.IntN(fourCodes)))
	case n == 17 && !p.utf8Only:
		return string(pairCode(p.IntN(pairs)))
	case n == 18 && p.IntN(8) == 0:
		return p.pick("\x00", "\x06", "\x10", "\x1a", "\x1e", "\x7f")
	}
	return p.pick("", "a", "\n", " ")
}

// gbk is text in GB 18030, much of which could be UTF-8 as well.
func (p pieces) gbk() string {
	switch p.IntN(3) {
	case 0:
		return p.pick("\xcf\xb5\xcd\xb3" /* 系统 */, "\xc4\xbf\xc2\xbc" /* 目录 */, "\xd1\xa7\xd0\xa3" /* 学校 */, "\xc1\xaa\xcd\xa8", /* 联通 */
			"\xe9\xaa\xb0\xf1" /* 楠榜 */, "\xd6\xd0\xce\xc4" /* 中文 */, "\xcf\xb5", "\xd7\xa1", "\xd7\xbf", "\xb0\xa1", "\xa1\xa3", "\xa3\xac", "\xde\xa1")
	case 1:
		return p.pick("\x81|", "\x81\x40", "\x8a\x5c", "\xfe\x59", "\xa6\xd9", "\xa8\xbc", "\xa3\xa0", "\x81\x30\x81\x30", "\x95\x32\x82\x36",
			"\x84\x31\xa4\x37", "\x81\x35\xf4\x37", "\xaa\xa1" /* private */, "\xf8\xa1", "\xa2\xe3", "\xe3\x32\x9a\x36", "\xfe\xfe")
	}
	lead, trail := 0xC2+p.IntN(0xDF-0xC2+1), 0x80+p.IntN(0x40)
	if p.IntN(2) == 0 {
		lead, trail = 0xB0+p.IntN(0xD8-0xB0), 0xA1+p.IntN(94)
	}
	return string([]byte{byte(lead), byte(trail)})
}

// cut is a character that is not whole, or nothing at all.
func (p pieces) cut() string {
	return p.pick("\xe4", "\xe4\xb8", "\xc3", "\xf0", "\xf0\x9f", "\xf0\x9f\x98", "\xd6", "\x81", "\x81\x30", "\x81\x30\x81", "\x80", "\xff",
		"\xfe", "\xc0\x80", "\xed\xa0\x80", "\xe0\x80", "\xf4\x90", "\xbf", "\xa1", "\xb0")
}

// stream makes a stream of count pieces.
func (p pieces) stream(count int) []byte {
	var b []byte
	for range count {
		b = append(b, p.piece()...)
	}
	return b
}

// long makes a stream with lines near the limit of a line and the size of the first block, and perhaps
// with binary data.
func (p pieces) long() []byte {
	var b []byte
	for range 1 + p.IntN(4) {
		b = append(b, p.stream(p.IntN(12))...)
		near := []int{modelLimit, modelBlock, modelLimit - len(b), modelBlock - len(b), 2 * modelLimit}[p.IntN(5)]
		filler := p.pick("a", " ", "x\n", p.gbk(), p.gbk(), p.piece(), "é", "中", "\xcf\xb5", "\xff", "😀", "\x81\x30\x81\x30")
		if filler == "" {
			continue
		}
		if fill := near + p.IntN(12) - 6; fill > 0 {
			b = append(b, bytes.Repeat([]byte(filler), fill/len(filler))...)
		}
		b = append(b, p.stream(p.IntN(8))...)
		if p.IntN(6) == 0 {
			b = append(b, p.pick("\x00", "\x01", "\x06", "\x10", "\x1a", "\x1f")...)
		}
	}
	return b
}
