package charset_test

import (
	"bytes"
	"strings"
	"testing"

	"rexec/internal/charset"
)

// named are streams about which the rule of Auto has something to say.
type named struct {
	name, in string
	want     string // "" for what came
	expect   bool
	idle     bool // even if nothing comes for a while behind each byte
	to       charset.Mode
}

const (
	gbkChinese = "\xd6\xd0\xce\xc4"                    // 中文
	gbkSystem  = "\xcf\xb5\xcd\xb3"                    // 系统, which is valid UTF-8
	gbkListing = "\xc4\xbf\xc2\xbc"                    // 目录, too
	gbkLampung = "\xe9\xaa\xb0\xf1"                    // 楠榜, UTF-8 with a tail that is cut
	pngHead    = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" // its first line is a code of GBK and "NG"
	mojibake   = "\u03f5\u0373"                        // 系统 for who takes it for UTF-8
	fourByte   = "\x81\x39\xef\x30\x82\x35\x87\x38"    // 㐁䶵
)

func namedToUTF8() []named {
	return []named{
		{name: "Notepad's word", in: "\xc1\xaa\xcd\xa8\n", want: "联通\n", idle: true},
		{name: "GBK that is UTF-8", in: gbkSystem + "\n", want: "系统\n"},
		{name: "another one", in: gbkListing, want: "目录"},
		{name: "in brackets", in: "[" + gbkListing + "] 1\r\n", want: "[目录] 1\r\n"},
		{name: "beside a letter", in: "x" + gbkSystem + "\n"},
		{name: "before a letter", in: gbkSystem + "x\n"},
		{name: "beside a letter after GBK", in: gbkChinese + "\nx" + gbkSystem + "x\n", want: "中文\nx系统x\n"},
		{name: "beside a letter where GBK is expected", in: "x" + gbkSystem + "x\n", want: "x系统x\n", expect: true},
		{name: "a letter in the line before", in: "xé\n" + gbkSystem + "\n", want: "xé\n系统\n"},
		{name: "beside a letter in a later line", in: "é\nx" + gbkSystem + "\n"},
		{name: "the last of the common hanzi", in: "\xd7\xa1\xd7\xa1\n", want: "住住\n"},
		{name: "beyond the common hanzi", in: "\xd8\xa1\xd8\xa1\n"},
		{name: "one alone", in: "\xcf\xb5\n"},
		{name: "one alone where GBK is expected", in: "\xcf\xb5\n", want: "系\n", expect: true, idle: true},
		{name: "after UTF-8", in: "中文\n" + gbkSystem + "\n", idle: true},
		{name: "after one character of UTF-8", in: "中\n" + gbkSystem + "\n", idle: true},
		{name: "after é, which tells nothing", in: "é\n" + gbkSystem + "\n", want: "é\n系统\n"},
		{name: "UTF-8 that was meant", in: mojibake + "中文\n"},

		{name: "Portuguese", in: "configuração\n", idle: true},
		{name: "French", in: "café Ça déjà\n", idle: true},
		{name: "German", in: "Größe: 3 §\n", idle: true},
		{name: "Russian", in: "Ошибка: нет такого файла\n", idle: true},
		{name: "Japanese", in: "ファイル\n", idle: true},
		{name: "an emoji", in: "ok 👍\n", idle: true},

		{name: "cut after 4 bytes", in: "\xe4\xb8\xad\xe6\n", idle: true},
		{name: "cut after 5 bytes", in: "\xe4\xb8\xad\xe6\x96\n", idle: true},
		{name: "cut after UTF-8", in: "中文\n\xe6\x96\nx", idle: true},
		{name: "a cut code after GBK", in: gbkChinese + "\n" + gbkChinese + "\xce\n", want: "中文\n中文\xce\n", idle: true},
		{name: "a cut code at the end", in: gbkChinese + "\xce", want: "中文\xce", idle: true},
		{name: "GBK that looks cut", in: gbkChinese + "\n" + gbkLampung + "\n", want: "中文\n楠榜\n"},
		{name: "GBK that looks cut, alone", in: gbkLampung + "\n"},
		{name: "only a cut code", in: "\xd6\n\xd6\r\n\xd6", idle: true},

		{name: "a picture", in: pngHead + gbkChinese + "\n"},
		{name: "binary data that GBK precedes", in: gbkChinese + "\n\x00" + gbkChinese},
		{name: "an odd control first", in: "\x10" + gbkChinese + "\n"},
		{name: "an odd control after UTF-8", in: "中文\n\x10\n" + gbkChinese + "\n"},
		{name: "an odd control in UTF-8", in: "中文\n中\x1a文\n" + gbkChinese + "\n"},
		{name: "a stray lead byte", in: "\xd6\x1b[0m\n", idle: true},
		{name: "a stray lead byte in GBK", in: gbkChinese + "\xd6\x1b[0m" + gbkChinese + "\n", want: "中文\xd6\x1b[0m中文\n", idle: true},
		{name: "a bar in a character", in: "echo \x81|id\n", want: "echo 亅id\n", idle: true},
		{name: "a backslash in a character", in: gbkChinese + "\x81\\n\n", want: "中文乗n\n", idle: true},

		{name: "both in a line", in: "总计 " + gbkChinese + " 总计\n", want: "总计 中文 总计\n", idle: true},
		{name: "broken UTF-8 in a run", in: "总计\xd6\xd0\n", idle: true},
		{name: "line after line", in: "中文\n" + gbkChinese + "\n中文\n", want: "中文\n中文\n中文\n", idle: true},
		{name: "CR ends a line", in: "中文\r" + gbkChinese + "\r\n", want: "中文\r中文\r\n", idle: true},

		{name: "0x80 alone", in: "\x80 1\n", idle: true},
		{name: "0x80 in GBK", in: gbkChinese + "\x80\n", want: "中文€\n", idle: true},
		{name: "0xFF", in: "\xff" + gbkChinese + "\n", idle: true},
		{name: "0xFF in GBK", in: gbkChinese + "\xff" + gbkChinese + "\n", want: "中文\xff中文\n", idle: true},
		{name: "private use", in: "\xaa\xa1" + gbkChinese + "\n", idle: true},
		{name: "private use in GBK", in: gbkChinese + "\xaa\xa1\n", want: "中文\ue000\n", idle: true},
		{name: "four bytes", in: fourByte + "\n", want: "㐁䶵\n"},
		{name: "no code of four bytes", in: "\x84\x31\xa5\x30\n", idle: true},
		{name: "2022", in: gbkChinese + "\xfe\x59\xa6\xd9\n", want: "中文龴︐\n", idle: true},
		{name: "slow GBK", in: gbkChinese, want: "中文", idle: true},
		{name: "slow UTF-8", in: "中文", idle: true},
	}
}

func namedToGB() []named {
	return []named{
		{name: "UTF-8", in: "中文 €\n", want: gbkChinese + " \x80\n", to: charset.GBK, idle: true},
		{name: "UTF-8 to GB18030", in: "中文 €\n", want: gbkChinese + " \xa2\xe3\n", to: charset.GB18030, idle: true},
		{name: "GBK stays", in: gbkChinese + "\n", to: charset.GBK, idle: true},
		{name: "GBK that is UTF-8 stays", in: gbkSystem + "\n", to: charset.GBK},
		{name: "neither stays", in: "\xff中文\n", to: charset.GBK, idle: true},
		{name: "what GBK lacks", in: "中文😀한\n", want: gbkChinese + "😀한\n", to: charset.GBK, idle: true},
		{name: "what GBK lacks to GB18030", in: "中文😀\uE5E5\n", want: gbkChinese + "\x94\x39\xfc\x36\uE5E5\n", to: charset.GB18030, idle: true},
		{name: "a cut tail", in: "中文\xe6\n", want: gbkChinese + "\xe6\n", to: charset.GBK, idle: true},
		{name: "both in a line", in: "总计 " + gbkChinese + "\n", want: "\xd7\xdc\xbc\xc6 " + gbkChinese + "\n", to: charset.GBK, idle: true},
		{name: "binary data", in: "中文\n\x00", to: charset.GBK},
	}
}

func TestNamed(t *testing.T) {
	cases := namedToGB()
	for _, tt := range namedToUTF8() {
		tt.to = charset.UTF8
		cases = append(cases, tt)
	}
	for _, tt := range cases {
		t.Run(tt.to.String()+"/"+tt.name, func(t *testing.T) { testNamed(t, tt) })
	}
}

func testNamed(t *testing.T, tt named) {
	if tt.want == "" {
		tt.want = tt.in
	}
	alone := feed{from: charset.Auto, to: tt.to, expect: tt.expect}
	for size := range 9 {
		for _, pass := range []bool{false, true} {
			for _, idle := range []bool{false, tt.idle && size <= 1} {
				f := alone
				f.size, f.pass, f.idle = size, pass, idle
				if got, _ := f.run(t, []byte(tt.in)); string(got) != tt.want {
					t.Fatalf("%v: %q is %q, want %q", f, tt.in, got, tt.want)
				}
			}
		}
	}
	blocks := []string{"", string(textBlock())}
	if strings.ContainsAny(tt.in, "\x00\x10\x1a") {
		blocks = blocks[:1]
	}
	for _, block := range blocks {
		for at := range len(tt.in) {
			for _, pause := range []bool{false, tt.idle} {
				c, rest := alone.converter(), []byte(tt.in[at:])
				out := c.Append(nil, []byte(block+tt.in[:at]))
				if pause {
					out = c.Idle(out)
				}
				n := c.PassThrough(rest) // without it was above
				out = c.Close(c.Append(append(out, rest[:n]...), rest[n:]))
				if string(out[len(block):]) != tt.want {
					t.Fatalf("split at %d, block %v, pause %v: %q is %q, want %q", at, block != "", pause, tt.in, out[len(block):], tt.want)
				}
			}
		}
	}
}

// TestPause: what was said before a pause is decided in it, even if the line may go on.
func TestPause(t *testing.T) {
	for _, tt := range []struct{ before, in, want, rest string }{
		{"", gbkChinese, "中文", ""},
		{"", gbkChinese + ": ", "中文: ", ""},
		{"", gbkListing + ": ", "目录: ", ""},
		{"中文\n", gbkListing + ": ", gbkListing + ": ", ""},
		{gbkChinese + "\n", "\xb5", "", "\xb5"},
		{gbkChinese + "\n", "\xb5\xa1\xb5", "怠", "\xb5"},
		{"", gbkChinese + "\xce", "中文", "\xce"},
		{"", "中\xe6\x96", "中", "\xe6\x96"},
		{"", "中文\xf0\x9f\x98", "中文", "\xf0\x9f\x98"},
		{"", "\xe4\xb8", "", "\xe4\xb8"},
		{"", "\xf0\x9f\x98", "", "\xf0\x9f\x98"},
		{gbkChinese + "\n", "\x81\x30\x81", "", "\x81\x30\x81"},
	} {
		c := charset.NewConverter(charset.Auto, charset.UTF8)
		c.Idle(c.Append(nil, []byte(tt.before)))
		got := c.Idle(c.Append(nil, []byte(tt.in)))
		if string(got) != tt.want || c.Held() != len(tt.rest) {
			t.Errorf("after %q: %q is %q and %d bytes, want %q and %q", tt.before, tt.in, got, c.Held(), tt.want, tt.rest)
		}
		if again := c.Idle(nil); len(again) > 0 {
			t.Errorf("%q: %q in a second pause", tt.in, again)
		}
	}
}

// TestFirstBlock: nothing is altered until enough has been seen to know that it is text.
func TestFirstBlock(t *testing.T) {
	line, text := gbkChinese+"\n", "中文\n"
	block := string(textBlock())
	for _, tt := range []struct{ name, in, now, end string }{
		{"too little", block[:4090] + line, block[:4090], block[:4090] + text},
		{"just enough", block[:4091] + line, block[:4091] + text, block[:4091] + text},
		{"later", block + line, block + text, block + text},
		{"binary at once", line + "\x00" + line, line + "\x00" + line, line + "\x00" + line},
		{"binary in the block's last byte", line + block[:4090] + "\x01" + line, line + block[:4090] + "\x01" + line, line + block[:4090] + "\x01" + line},
		{"binary behind the block", line + block[:4091] + "\x01" + line, text + block[:4091] + "\x01" + line, text + block[:4091] + "\x01" + line},
		{"binary in a line", block + gbkChinese + "\x01" + gbkChinese, block + "中文\x01" + gbkChinese, block + "中文\x01" + gbkChinese},
		{"binary in lines of UTF-8", block + "中文\n中\x01\n" + line, block + "中文\n中\x01\n" + line, block + "中文\n中\x01\n" + line},
		{"odd controls behind the block", block + "\x10\x1a" + line, block + "\x10\x1a" + text, block + "\x10\x1a" + text},
		{"no odd controls", line + "\a\b\t\v\f\x0e\x0f\x1b\x7f\n", "", text + "\a\b\t\v\f\x0e\x0f\x1b\x7f\n"},
	} {
		for _, size := range []int{0, 1, 50, 100, 4096, 4102} {
			c := charset.NewConverter(charset.Auto, charset.UTF8)
			var out []byte
			for rest := []byte(tt.in); len(rest) > 0; {
				n := len(rest)
				if size > 0 {
					n = min(n, size)
				}
				passed := 0
				if size%4 > 0 {
					passed = c.PassThrough(rest[:n])
				}
				out = c.Append(append(out, rest[:passed]...), rest[passed:n])
				rest = rest[n:]
			}
			if string(out) != tt.now {
				t.Errorf("%s by %d: at first %s", tt.name, size, difference(out, []byte(tt.now)))
			}
			if out = c.Close(out); string(out) != tt.end {
				t.Errorf("%s by %d: %s", tt.name, size, difference(out, []byte(tt.end)))
			}
		}
	}
	for b := range byte(0x20) {
		odd := b < 0x07 || b > 0x0F && b != 0x1B
		for before := range 40 { // the test goes by eight and by sixteen bytes
			in := strings.Repeat("a", before) + string(b) + strings.Repeat(" ", 30) + line
			got := whole(charset.Auto, charset.UTF8, []byte(in))
			if raw := string(got) == in; raw != odd {
				t.Fatalf("byte %02x at %d: raw is %v", b, before, raw)
			}
		}
	}
}

// TestPauseEndsTheBlock: a pause takes what came for text, and binary data behind it is left alone.
func TestPauseEndsTheBlock(t *testing.T) {
	c := charset.NewConverter(charset.Auto, charset.UTF8)
	out := c.Append(nil, []byte(gbkChinese+"\n"))
	if len(out) != 0 || c.Held() != 5 || c.Found() != charset.UTF8 || c.Lines() != 0 {
		t.Errorf("%q before the pause, %d held, %v found", out, c.Held(), c.Found())
	}
	out = c.Append(c.Idle(out), []byte(gbkChinese+"\n"))
	if string(out) != "中文\n中文\n" || c.Found() != charset.GB18030 || c.Lines() != 2 {
		t.Errorf("%q behind the pause, %v found", out, c.Found())
	}
	out = c.Append(nil, []byte(gbkChinese+"\x02"+gbkChinese+"\n"+gbkChinese))
	if string(out) != "中文\x02"+gbkChinese+"\n"+gbkChinese || c.Held() != 0 || c.Found() != charset.GB18030 {
		t.Errorf("%q behind binary data, %v found", out, c.Found())
	}
	if n := c.PassThrough([]byte(gbkChinese)); n != 4 {
		t.Errorf("%d of 4 bytes pass through", n)
	}
}

func TestExpect(t *testing.T) {
	c := charset.NewConverter(charset.Auto, charset.UTF8)
	if c.Expects() {
		t.Error("GB 18030 is expected from the start")
	}
	if c.Expect(); !c.Expects() || c.Found() != charset.UTF8 {
		t.Errorf("told to expect GB 18030: %v, found %v", c.Expects(), c.Found())
	}
	if c.Append(nil, []byte("中文\n")); c.Expects() || c.Found() != charset.UTF8 {
		t.Errorf("after UTF-8: expected %v, found %v", c.Expects(), c.Found())
	}
	if c.Expect(); c.Expects() {
		t.Error("what the stream has shown itself is forgotten")
	}
	if c.Idle(c.Append(nil, []byte(gbkChinese+"\n"))); !c.Expects() || c.Found() != charset.GB18030 || c.Lines() != 1 {
		t.Errorf("after GBK: expected %v, found %v, %d lines", c.Expects(), c.Found(), c.Lines())
	}
}

// TestLines counts lines that are altered, however they end and whatever they mix.
func TestLines(t *testing.T) {
	for in, want := range map[string]uint64{
		"":                               0,
		"a\nb\n":                         0,
		"中文\n中文\n":                       0,
		"\xff\n" + gbkChinese + "\n":     1,
		gbkChinese:                       1,
		gbkChinese + "\r\n":              1,
		gbkChinese + "\r" + gbkChinese:   2,
		gbkChinese + "\n\n" + gbkChinese: 2,
		"总计 " + gbkChinese + " 总 " + gbkChinese:              1,
		strings.Repeat(gbkChinese, 3000) + "\n" + gbkChinese: 2,
	} {
		c := charset.NewConverter(charset.Auto, charset.UTF8)
		if c.Close(c.Append(nil, []byte(in))); c.Lines() != want {
			t.Errorf("%.40q: %d lines, want %d", in, c.Lines(), want)
		}
	}
}

// TestRestoreRefuses wants no state of which a converter could not make sense.
func TestRestoreRefuses(t *testing.T) {
	c := charset.NewConverter(charset.Auto, charset.UTF8)
	c.Append(nil, []byte("中文"))
	good := c.State()
	for name, spoil := range map[string]func(*charset.State){
		"zero":      func(s *charset.State) { *s = charset.State{} },
		"version":   func(s *charset.State) { s[0]++ },
		"memory":    func(s *charset.State) { s[1] |= 3 },
		"line size": func(s *charset.State) { s[4] = 0x10 },
		"seen":      func(s *charset.State) { s[6] = 0xFF },
	} {
		s := good
		spoil(&s)
		other := charset.NewConverter(charset.Auto, charset.UTF8)
		before := other.State()
		if err := other.Restore(s); err == nil || other.State() != before {
			t.Errorf("%s: %x is restored: %v, %x", name, s, err, other.State())
		}
	}
	if err := c.Restore(good); err != nil || c.State() != good || c.Held() != 0 {
		t.Errorf("%x is not restored: %v, %x", good, err, c.State())
	}
}

// TestLongLine: what has no end is judged anew, at characters' ends.
func TestLongLine(t *testing.T) {
	for _, text := range []string{"中", "à", "👍", "a中", "系统"} {
		for before := range 8 {
			in := []byte(strings.Repeat(" ", before) + strings.Repeat(text, 5000) + "\n")
			if got := whole(charset.Auto, charset.UTF8, in); !bytes.Equal(got, in) {
				t.Errorf("%s, %d before: %s", text, before, difference(got, in))
			}
			if text == "à" || text == "👍" {
				continue
			}
			code := whole(charset.UTF8, charset.GBK, in)
			if got := whole(charset.Auto, charset.UTF8, code); !bytes.Equal(got, in) {
				t.Errorf("%s in GBK, %d before: %s", text, before, difference(got, in))
			}
			if got := whole(charset.Auto, charset.GBK, in); !bytes.Equal(got, code) {
				t.Errorf("%s to GBK, %d before: %s", text, before, difference(got, code))
			}
		}
	}
}
