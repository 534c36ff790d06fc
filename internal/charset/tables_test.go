package charset_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"rexec/internal/charset"
)

// whole converts in at one go.
func whole(from, to charset.Mode, in []byte) []byte {
	c := charset.NewConverter(from, to)
	return c.Close(c.Append(make([]byte, 0, 4*len(in)+64), in))
}

// gbModes are the labels of the one decoder.
func gbModes() []charset.Mode { return []charset.Mode{charset.GBK, charset.GB18030} }

func TestTables(t *testing.T) {
	s := published(t)
	t.Run("short codes", func(t *testing.T) { testShortCodes(t, s) })
	t.Run("four-byte codes", func(t *testing.T) { testFourCodes(t, s) })
	for _, to := range gbModes() {
		t.Run("characters to "+to.String(), func(t *testing.T) { testCharacters(t, s, to) })
	}
	t.Run("one way", func(t *testing.T) { testOneWay(t, s) })
	t.Run("own", func(t *testing.T) { testOwn(t, s) })
}

// testShortCodes decodes all strings of one and two bytes, alone and amid others.
func testShortCodes(t *testing.T, s *standard) {
	mapped := 0
	for _, from := range gbModes() {
		for n := range 256 + 1<<16 {
			in := []byte{byte(n)}
			if n >= 256 {
				in = []byte{byte((n - 256) >> 8), byte(n)}
			}
			want := s.decode(in)
			if got := whole(from, charset.UTF8, in); !bytes.Equal(got, want) {
				t.Errorf("%v: % x is %q, want %q", from, in, got, want)
			}
			if in[0] >= 0x80 && len(in) == 2 && utf8.RuneCount(want) == 1 && !bytes.Contains(want, []byte("\uFFFD")) {
				mapped++
			}
			// Here the code is read eight bytes at a time, at different places of the eight.
			for before := range 3 {
				amid := append(append(bytes.Repeat([]byte("a"), before), in...), "\xD6\xD0\xCE\xC4abc\xD6\xD0defghi"...)
				if got, want := whole(from, charset.UTF8, amid), s.decode(amid); !bytes.Equal(got, want) {
					t.Errorf("%v: % x is %q, want %q", from, amid, got, want)
				}
			}
		}
	}
	if mapped != 2*pairs {
		t.Errorf("%d pairs are codes in both, want %d", mapped, 2*pairs)
	}
}

// testFourCodes decodes all codes of four bytes.
func testFourCodes(t *testing.T, s *standard) {
	good := 0
	for lead := range 126 {
		var in, want []byte
		const part = fourCodes / 126
		for pointer := lead * part; pointer < (lead+1)*part; pointer++ {
			r := s.rangesPoint(pointer)
			if r == noRune {
				r = utf8.RuneError
			} else {
				good++
			}
			in, want = append(in, fourCode(pointer)...), utf8.AppendRune(want, r)
		}
		for _, from := range gbModes() {
			if got := whole(from, charset.UTF8, in); !bytes.Equal(got, want) {
				t.Errorf("%v: codes from % x: %s", from, in[:4], difference(got, want))
			}
		}
	}
	if good != 39420+0x100000 {
		t.Errorf("%d codes of four bytes have a character", good)
	}
}

// testCharacters encodes all characters and decodes them again.
func testCharacters(t *testing.T, s *standard, to charset.Mode) {
	characters, lacking, astray := 0, 0, 0
	var text, code, back []byte
	check := func() {
		got := whole(charset.UTF8, to, text)
		if !bytes.Equal(got, code) {
			t.Errorf("characters before the %dth: %s", characters, difference(got, code))
		}
		if got = whole(to, charset.UTF8, got); !bytes.Equal(got, back) {
			t.Errorf("characters before the %dth come back: %s", characters, difference(got, back))
		}
		text, code, back = text[:0], code[:0], back[:0]
	}
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		characters++
		text = utf8.AppendRune(text, r)
		if c := s.encode(r, to); c == nil {
			code, back = append(code, '?'), append(back, '?')
			lacking++
		} else {
			code = append(code, c...)
			b := s.decode(c)
			if back = append(back, b...); string(b) != string(r) {
				astray++
			}
		}
		if len(text) > 1<<14 {
			check()
		}
	}
	check()
	wantLacking, wantAstray := 1, 18
	if to == charset.GBK { // it has ASCII and the pairs, one of which is U+3000 again, and the 18
		wantLacking = characters - 0x80 - (pairs - 1) - wantAstray
	}
	if characters != 1112064 || lacking != wantLacking || astray != wantAstray {
		t.Errorf("%d characters, %d without a code, %d come back as others; want 1112064, %d, %d",
			characters, lacking, astray, wantLacking, wantAstray)
	}
}

// testOneWay names the 19 characters that GB 18030 does not give back.
func testOneWay(t *testing.T, s *standard) {
	for _, to := range gbModes() {
		if got := whole(charset.UTF8, to, []byte("\uE5E5")); string(got) != "?" {
			t.Errorf("%v: U+E5E5 is % x", to, got)
		}
		for r, code := range legacyCodes() {
			if got := whole(charset.UTF8, to, []byte(string(r))); string(got) != code {
				t.Errorf("%v: %U is % x, want % x", to, r, got, code)
			}
			if got := whole(to, charset.UTF8, []byte(code)); string(got) == string(r) || !bytes.Equal(got, s.decode([]byte(code))) {
				t.Errorf("%v: % x is %q", to, code, got)
			}
		}
	}
}

// testOwn checks what other tests take for the standard.
func testOwn(t *testing.T, s *standard) {
	for pointer, r := range own().index {
		if r != s.index[pointer] {
			t.Errorf("pointer %d: %U, want %U", pointer, r, s.index[pointer])
		}
	}
	if len(own().ranges) != rangeRows {
		t.Fatalf("%d ranges", len(own().ranges))
	}
	for i, r := range own().ranges {
		if r != s.ranges[i] {
			t.Errorf("range %d: %v, want %v", i, r, s.ranges[i])
		}
	}
}

// TestTablesFrozen guards the tables where the index files are not at hand. The sum is of the output
// that TestTables has found to be the standard's.
func TestTablesFrozen(t *testing.T) {
	var codes, text []byte
	for pointer := range pairs {
		codes = append(codes, pairCode(pointer)...)
	}
	for pointer := range 39420 {
		codes = append(codes, fourCode(pointer)...)
	}
	for r := rune(0); r < 0x11000; r++ {
		if utf8.ValidRune(r) {
			text = utf8.AppendRune(text, r)
		}
	}
	sum := sha256.New()
	sum.Write(whole(charset.GBK, charset.UTF8, codes))
	sum.Write(whole(charset.UTF8, charset.GBK, text))
	sum.Write(whole(charset.UTF8, charset.GB18030, text))
	const want = "74a5191f0dca493d5a452750a232f171206534bb528d0b794bfce270b61bdfa4"
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("tables have the sum %s, want %s", got, want)
	}
}

// malformed makes strings of bytes in which codes begin and break off.
type malformed struct{ *rand.Rand }

func (m malformed) append(b []byte) []byte {
	for range 1 + m.IntN(12) {
		b = append(b, m.byte())
	}
	return b
}

func (m malformed) byte() byte {
	switch m.IntN(8) {
	case 0:
		return byte('0' + m.IntN(10))
	case 1:
		return "\x80\xFF\x7F\x81\xFE\x30\x39\x40"[m.IntN(8)]
	case 2:
		return byte(m.IntN(0x80))
	case 3:
		return byte(0x81 + m.IntN(4)) // the codes of four bytes of the BMP begin so
	}
	return byte(m.IntN(256))
}

// TestDecodeMalformed decodes random bytes, most of which are no text.
func TestDecodeMalformed(t *testing.T) {
	s, m := published(t), malformed{rand.New(rand.NewPCG(3, 18030))}
	failures := 0
	for range 200_000 {
		in := m.append(nil)
		want := s.decode(in)
		if bytes.Contains(want, []byte("\uFFFD")) {
			failures++
		}
		if got := whole(gbModes()[m.IntN(2)], charset.UTF8, in); !bytes.Equal(got, want) {
			t.Fatalf("% x is %q, want %q", in, got, want)
		}
	}
	if failures < 100_000 {
		t.Errorf("only %d of the strings are malformed", failures)
	}
}

// difference shows the first place where two texts differ.
func difference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	show := func(b []byte) string { return hex.EncodeToString(b[max(0, i-8):min(len(b), i+24)]) }
	return fmt.Sprintf("at byte %d of %d (%d): %s, want %s", i, len(want), len(got), show(got), show(want))
}
