package charset

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// TestEncodeCommand: what comes out decodes to what went in, or it is an error that says where. Nothing
// ever stands in the place of a character.
func TestEncodeCommand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 11))
	refused := 0
	for range 100_000 {
		var text []rune
		for range 1 + r.IntN(12) {
			text = append(text, anyRune(r))
		}
		for _, to := range []Mode{UTF8, GBK, GB18030} {
			out, err := EncodeCommand(to, string(text))
			var bad *TextError
			if errors.As(err, &bad) {
				refused++
				if to == UTF8 || bad.Char != text[bad.Position-1] || out != nil {
					t.Fatalf("%q in %s: %v", string(text), to, err)
				}
				if one, err := EncodeCommand(to, string(bad.Char)); err == nil {
					t.Fatalf("%s has %q after all: % x", to, bad.Char, one)
				}
				continue
			}
			back, decodeErr := DecodeText(to, out)
			if err != nil || decodeErr != nil || back != reread(to, text) {
				t.Fatalf("%q in %s: % x, %v; back: %q, %v", string(text), to, out, err, back, decodeErr)
			}
			if bytes.Count(out, []byte{0x1A}) != bytes.Count([]byte(string(text)), []byte{0x1A}) ||
				bytes.Count(out, []byte("?")) != bytes.Count([]byte(string(text)), []byte("?")) {
				t.Fatalf("%q in %s has a replacement: % x", string(text), to, out)
			}
		}
	}
	if refused < 1000 {
		t.Errorf("only %d texts were refused", refused)
	}
}

// anyRune is from all of Unicode, but mostly from where people write.
func anyRune(r *rand.Rand) rune {
	for {
		var c rune
		switch r.IntN(4) {
		case 0:
			c = rune(r.IntN(0x80))
		case 1:
			c = 0x4E00 + rune(r.IntN(0x51A5))
		case 2:
			c = rune(r.IntN(0x10000))
		default:
			c = rune(r.IntN(utf8.MaxRune + 1))
		}
		if utf8.ValidRune(c) {
			return c
		}
	}
}

// reread is what text in a charset reads as: the edition of 2022 gave 18 codes of characters for private
// use to others.
func reread(to Mode, text []rune) string {
	var out []rune
	for _, c := range text {
		for _, l := range legacy() {
			if to != UTF8 && c == l.point {
				c = character(loaded().decode[l.code])
			}
		}
		out = append(out, c)
	}
	return string(out)
}

func TestTextErrors(t *testing.T) {
	for _, tt := range []struct {
		to   Mode
		text string
		want string
	}{
		{GBK, "echo 好😀", "gbk has no '😀' (U+1F600), character 7"},
		{GBK, "é", ""},
		{GBK, "ñ", "gbk has no 'ñ' (U+00F1), character 1"},
		{GB18030, "ñ😀", ""},
		{GB18030, "a\uE5E5", "gb18030 has no '\\ue5e5' (U+E5E5), character 2"},
		{GBK, "好\xe4\xb8", "bytes e4 b8 at character 2 are not utf-8"},
		{UTF8, "a\xff", "bytes ff at character 2 are not utf-8"},
	} {
		_, err := EncodeCommand(tt.to, tt.text)
		if got := errorText(err); got != tt.want {
			t.Errorf("%q in %s: %q, want %q", tt.text, tt.to, got, tt.want)
		}
	}
	for _, tt := range []struct {
		text, want string
	}{
		{"\xba\xc3\xff", "bytes ff at character 2 are not gbk"},
		{"\xba", "bytes ba at character 1 are not gbk"},
		{"\x81\x30\x81\x30\x81", "bytes 81 at character 2 are not gbk"},
	} {
		_, err := DecodeText(GBK, []byte(tt.text))
		if got := errorText(err); got != tt.want {
			t.Errorf("% x: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestShellHazard holds for every code of two bytes: the 348 hanzi and the other characters that a shell
// going by bytes takes for something else are found, and no others are.
func TestShellHazard(t *testing.T) {
	hanzi := 0
	for lead := 0x81; lead <= 0xFE; lead++ {
		for trail := 0x40; trail <= 0xFE; trail++ {
			code := []byte{byte(lead), byte(trail)}
			char, position := ShellHazard(append([]byte("echo \\`| "), code...))
			hazard := bytes.IndexByte([]byte("\\`|{}[]^~"), byte(trail)) >= 0
			if hazard != (char != 0) || hazard && position != 10 {
				t.Errorf("% x: %q at %d", code, char, position)
			}
			if hazard && bytes.IndexByte([]byte("\\`|"), byte(trail)) >= 0 && char >= 0x4E00 && char <= 0x9FA5 {
				hanzi++
			}
		}
	}
	if hanzi != 348 {
		t.Errorf("%d hanzi hold one of the first three bytes, want 348", hanzi)
	}
	for _, harmless := range []string{"", "\x81", "\x81\x30\x81\x30|", "a|b", "\xba\xc3|"} {
		if char, position := ShellHazard([]byte(harmless)); char != 0 {
			t.Errorf("%q: %q at %d", harmless, char, position)
		}
	}
}
