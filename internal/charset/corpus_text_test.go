package charset_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode/utf8"

	"rexec/internal/charset"
)

// corpusPiece is how much of a stream is read at a time.
const corpusPiece = 64 << 10

// corpusStream are lines as they come from a command, and what they should become.
type corpusStream struct{ in, want [][]byte }

func (s *corpusStream) add(in, want []byte) {
	s.in, s.want = append(s.in, in), append(s.want, want)
}

// bytes is the stream as it comes.
func (s *corpusStream) bytes() []byte {
	return append(bytes.Join(s.in, []byte("\n")), '\n')
}

// through returns what b becomes.
func corpusThrough(c *charset.Converter, b []byte, piece int) []byte {
	out := make([]byte, 0, len(b)+len(b)/2+charset.MaxHold)
	for part := range slices.Chunk(b, piece) {
		out = c.Append(out, part)
	}
	return c.Close(out)
}

// wrong returns the lines that did not become what they should.
func (s *corpusStream) wrong(t *testing.T, c *charset.Converter) []string {
	t.Helper()
	return s.differ(t, corpusThrough(c, s.bytes(), corpusPiece))
}

func (s *corpusStream) differ(t *testing.T, out []byte) []string {
	t.Helper()
	lines := bytes.Split(out, []byte("\n"))
	if len(lines) != len(s.want)+1 || len(lines[len(s.want)]) > 0 {
		t.Fatalf("%d lines became %d", len(s.want), len(lines)-1)
	}
	var wrong []string
	for i, want := range s.want {
		if !bytes.Equal(lines[i], want) {
			wrong = append(wrong, fmt.Sprintf("%q became %q, want %q", s.in[i], lines[i], want))
		}
	}
	return wrong
}

// alone is wrong with a stream for each line.
func (s *corpusStream) alone(expect bool) []string {
	var wrong []string
	var out []byte
	for i, in := range s.in {
		c := charset.NewConverter(charset.Auto, charset.UTF8)
		if expect {
			c.Expect()
		}
		if out = c.Close(c.Append(out[:0], in)); !bytes.Equal(out, s.want[i]) {
			wrong = append(wrong, fmt.Sprintf("%q became %q, want %q", in, out, s.want[i]))
		}
	}
	return wrong
}

// corpusAny is a bound for what is only printed.
const corpusAny = 100

// corpusReport prints a count of wrong lines with examples, and compares it with the most, in percent.
func corpusReport(t *testing.T, name string, wrong []string, of int, most float64) {
	t.Helper()
	share := 100 * float64(len(wrong)) / float64(of)
	t.Logf("%-48s %5d of %d lines wrong, %.4f %%", name, len(wrong), of, share)
	show := 3
	if share > most {
		show = 20
		t.Errorf("%s: %.4f %% of the lines are wrong, want at most %g %%", name, share, most)
	}
	for _, line := range wrong[:min(show, len(wrong))] {
		t.Logf("    %s", line)
	}
}

func TestCorpusChinese(t *testing.T) {
	text := corpusLoad(t)
	t.Run("streams", func(t *testing.T) { corpusStreams(t, text) })
	t.Run("alone", func(t *testing.T) { corpusAlone(t, text) })
	t.Run("mixed", func(t *testing.T) { corpusMixed(t, text) })
	t.Run("cut", func(t *testing.T) { corpusCut(t, text) })
	t.Run("held", func(t *testing.T) { corpusHeld(t, text) })
}

// inGBK is all text in GBK, for a client in UTF-8.
func (c *corpusText) inGBK() *corpusStream {
	s := &corpusStream{}
	for _, line := range c.gbk {
		s.add(line.gbk, line.utf8)
	}
	return s
}

// inUTF8 is all text in UTF-8, for a client in UTF-8.
func (c *corpusText) inUTF8() *corpusStream { return &corpusStream{c.all, c.all} }

// corpusStreams converts all lines as one stream, for a client in either charset.
func corpusStreams(t *testing.T, text *corpusText) {
	toUTF8 := func() *charset.Converter { return charset.NewConverter(charset.Auto, charset.UTF8) }
	toGBK := func() *charset.Converter { return charset.NewConverter(charset.Auto, charset.GBK) }
	expecting := func() *charset.Converter {
		c := toUTF8()
		c.Expect()
		return c
	}
	gbkStays, encoded := &corpusStream{}, &corpusStream{}
	for _, line := range text.gbk {
		gbkStays.add(line.gbk, line.gbk)
		encoded.add(line.utf8, line.gbk)
	}
	for _, tt := range []struct {
		name   string
		stream *corpusStream
		conv   func() *charset.Converter
		most   float64
	}{
		{"GBK to UTF-8", text.inGBK(), toUTF8, 0.01},
		{"GBK to UTF-8, GBK expected", text.inGBK(), expecting, 0.01},
		{"UTF-8 to UTF-8", text.inUTF8(), toUTF8, 0},
		{"UTF-8 to UTF-8, GBK expected", text.inUTF8(), expecting, 0},
		{"GBK to GBK", gbkStays, toGBK, 0.01},
		{"UTF-8 to GBK", encoded, toGBK, 0},
	} {
		corpusReport(t, tt.name, tt.stream.wrong(t, tt.conv()), len(tt.stream.in), tt.most)
	}
}

// corpusAlone converts each line as a stream of its own.
func corpusAlone(t *testing.T, text *corpusText) {
	gbk, utf := text.inGBK(), text.inUTF8()
	corpusReport(t, "GBK, each line alone", gbk.alone(false), len(gbk.in), corpusAny)
	corpusReport(t, "GBK, each line alone, GBK expected", gbk.alone(true), len(gbk.in), corpusAny)
	corpusReport(t, "UTF-8, each line alone", utf.alone(false), len(utf.in), 0)
	corpusReport(t, "UTF-8, each line alone, GBK expected", utf.alone(true), len(utf.in), corpusAny)
}

// corpusMixed alternates between the charsets, as two programs in one shell do.
func corpusMixed(t *testing.T, text *corpusText) {
	for _, tt := range []struct {
		block int
		most  float64
	}{{5, 0.15}, {50, 0.05}} {
		for seed := range uint64(2) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			s := &corpusStream{}
			inGBK := false
			for lines := text.gbk; len(lines) > 0; inGBK = !inGBK {
				n := min(1+rnd.IntN(tt.block), len(lines))
				for _, line := range lines[:n] {
					if inGBK {
						s.add(line.gbk, line.utf8)
					} else {
						s.add(line.utf8, line.utf8)
					}
				}
				lines = lines[n:]
			}
			name := fmt.Sprintf("blocks of 1 to %d lines, seed %d", tt.block, seed)
			corpusReport(t, name, s.wrong(t, charset.NewConverter(charset.Auto, charset.UTF8)), len(s.in), tt.most)
		}
	}
}

// corpusCut ends each line inside of a character, as programs do that count bytes. The first line is whole,
// for where nothing was before and nothing but half a character is, none could tell.
func corpusCut(t *testing.T, text *corpusText) {
	last := func(n int) int { return n - 1 }
	for seed := range uint64(2) {
		name, pick := "in the last character", last
		if seed > 0 {
			rnd := rand.New(rand.NewPCG(seed, 1))
			name, pick = fmt.Sprintf("in any character, seed %d", seed), rnd.IntN
		}
		whole := []byte("下面的每一行都不完整。")
		gbk, utf := &corpusStream{}, &corpusStream{}
		gbk.add(bytes.Clone(text.convert(charset.UTF8, charset.GBK, whole)), whole)
		utf.add(whole, whole)
		for _, line := range text.gbk {
			gbk.add(line.cutGBK(pick))
		}
		for _, line := range text.all {
			b := corpusCutUTF8(line, pick)
			utf.add(b, b)
		}
		conv := func() *charset.Converter { return charset.NewConverter(charset.Auto, charset.UTF8) }
		corpusReport(t, "GBK, cut "+name, gbk.wrong(t, conv()), len(gbk.in), 0.05)
		corpusReport(t, "UTF-8, cut "+name, utf.wrong(t, conv()), len(utf.in), 0.001)
	}
}

// corpusCutAt picks one of a line's characters that have more than a byte in both charsets: its index in
// UTF-8, its size there, and its index in GBK.
func corpusCutAt(line []byte, pick func(n int) int) (at, size, gbk int) {
	var places [][3]int
	for i, r := range string(line) {
		switch n := utf8.RuneLen(r); {
		case n == 1, r == '€':
			gbk++
		default:
			places = append(places, [3]int{i, n, gbk})
			gbk += 2
		}
	}
	p := places[pick(len(places))]
	return p[0], p[1], p[2]
}

// cutGBK ends a line behind the first byte of a character; that byte stays.
func (l corpusLine) cutGBK(pick func(n int) int) (in, want []byte) {
	at, _, gbk := corpusCutAt(l.utf8, pick)
	return l.gbk[:gbk+1], append(bytes.Clone(l.utf8[:at]), l.gbk[gbk])
}

// corpusCutUTF8 ends a line inside of a character.
func corpusCutUTF8(line []byte, pick func(n int) int) []byte {
	at, size, _ := corpusCutAt(line, pick)
	return line[:at+1+pick(size-1)]
}

// corpusHeld feeds every fifth line byte by byte, and looks at how much is kept back.
func corpusHeld(t *testing.T, text *corpusText) {
	some := &corpusText{}
	for i := 0; i < len(text.gbk); i += 5 {
		some.all, some.gbk = append(some.all, text.gbk[i].utf8), append(some.gbk, text.gbk[i])
	}
	for _, tt := range []struct {
		name   string
		stream *corpusStream
		most   int
	}{{"GBK", some.inGBK(), 8}, {"UTF-8", some.inUTF8(), 32}} {
		var each, peaks []int
		c := charset.NewConverter(charset.Auto, charset.UTF8)
		var out []byte
		for _, line := range tt.stream.in {
			// The first verdict waits until enough of the stream was seen.
			warm, peak := len(out) > 2*charset.MaxHold, 0
			for i := range line {
				out = c.Append(out, line[i:i+1])
				peak = max(peak, c.Held())
				if warm {
					each = append(each, c.Held())
				}
			}
			out = c.Append(out, []byte("\n"))
			if held := c.Held(); warm && held > 0 {
				t.Fatalf("%d bytes kept back behind %q", held, line)
			}
			if warm {
				peaks = append(peaks, peak)
			}
		}
		out = c.Close(out)
		if whole := corpusThrough(charset.NewConverter(charset.Auto, charset.UTF8), tt.stream.bytes(), corpusPiece); !bytes.Equal(out, whole) {
			t.Errorf("%s: byte by byte differs from %d bytes at a time", tt.name, corpusPiece)
		}
		t.Logf("%s: kept back behind each byte: %s; most in each line: %s", tt.name, corpusSpread(each), corpusSpread(peaks))
		if p99 := corpusQuantile(peaks, 99); p99 > tt.most {
			t.Errorf("%s: %d bytes kept back in one of a hundred lines, want at most %d", tt.name, p99, tt.most)
		}
	}
}

func corpusQuantile(n []int, percent int) int {
	sorted := slices.Sorted(slices.Values(n))
	return sorted[(len(sorted)-1)*percent/100]
}

func corpusSpread(n []int) string {
	return fmt.Sprintf("median %d, p99 %d, max %d", corpusQuantile(n, 50), corpusQuantile(n, 99), slices.Max(n))
}

// TestCorpusLanguages takes the catalogues of all other languages, which are UTF-8.
func TestCorpusLanguages(t *testing.T) {
	languages := corpusLanguages(t)
	if len(languages) == 0 {
		t.Skip("no catalogues are installed")
	}
	var each, joined []string
	lines := 0
	for _, language := range slices.Sorted(maps.Keys(languages)) {
		whole := &corpusStream{}
		var wrong []string
		for _, s := range languages[language] {
			wrong = append(wrong, s.wrong(t, charset.NewConverter(charset.Auto, charset.UTF8))...)
			whole.in, whole.want = append(whole.in, s.in...), append(whole.want, s.want...)
		}
		inOne := whole.wrong(t, charset.NewConverter(charset.Auto, charset.UTF8))
		if n := len(whole.in); n > 1000 || len(wrong)+len(inOne) > 0 {
			t.Logf("%-12s %6d lines; wrong: %4d with a stream for each catalogue, %4d with one for all",
				language, n, len(wrong), len(inOne))
		}
		each, joined, lines = append(each, wrong...), append(joined, inOne...), lines+len(whole.in)
	}
	corpusReport(t, "other languages, a stream for each catalogue", each, lines, 0.002)
	corpusReport(t, "other languages, a stream for each language", joined, lines, 0.0005)
}

// corpusLanguages returns the lines that are not ASCII of each catalogue, by language.
func corpusLanguages(t *testing.T) map[string][]*corpusStream {
	const enough = 20000 // lines of a language
	names, err := filepath.Glob("/usr/share/locale/*/LC_MESSAGES/*.mo")
	if err != nil {
		t.Fatal(err)
	}
	languages, counts := map[string][]*corpusStream{}, map[string]int{}
	for _, name := range names {
		language := filepath.Base(filepath.Dir(filepath.Dir(name)))
		if language == "zh_CN" || counts[language] > enough {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := corpusCatalogue(b)
		if err != nil {
			t.Fatalf("reading %s: %v", name, err)
		}
		lines = slices.DeleteFunc(lines, func(line []byte) bool {
			return len(line) == utf8.RuneCount(line) || !corpusIsText(line)
		})
		if counts[language] += len(lines); len(lines) > 0 {
			languages[language] = append(languages[language], &corpusStream{lines, lines})
		}
	}
	return languages
}
