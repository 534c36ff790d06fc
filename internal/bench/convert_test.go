//go:build linux

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"rexec/internal/charset"
)

// TestTextsAreWhatTheRowsSay counts the bytes of GBK that belong to characters of two.
func TestTextsAreWhatTheRowsSay(t *testing.T) {
	const size = 4 << 20
	for _, tt := range []struct {
		kind        kind
		least, most float64 // share in percent
		lineAtMost  float64 // bytes, on average
	}{{logs, 0, 0, 120}, {chinese, 98.5, 99.5, 125}, {mix, 30, 36, 80}} {
		text := newText(tt.kind, size)
		wide := 0
		for _, r := range string(text.utf8) {
			if r >= utf8.RuneSelf {
				wide += 2
			}
		}
		share := 100 * float64(wide) / float64(len(text.gbk))
		if share < tt.least || share > tt.most {
			t.Errorf("%s: %.1f %% of the bytes are of double-byte codes, want %v to %v", tt.kind, share, tt.least, tt.most)
		}
		line := float64(len(text.gbk)) / float64(bytes.Count(text.gbk, []byte("\n")))
		if line < 20 || line > tt.lineAtMost {
			t.Errorf("%s: %.0f bytes in a line", tt.kind, line)
		}
		if n := len(text.gbk); n < size || n > size+1<<16 || gbkSize(text.utf8) != n {
			t.Errorf("%s: %d bytes, counted as %d, want %d", tt.kind, n, gbkSize(text.utf8), size)
		}
		again := newText(tt.kind, size)
		if !bytes.Equal(again.utf8, text.utf8) {
			t.Errorf("%s: not the same text each time", tt.kind)
		}
	}
}

// TestTextsInGBK compares the GBK forms with what x/text makes of these characters, which its tables
// have right.
func TestTextsInGBK(t *testing.T) {
	for _, k := range kinds() {
		text := newText(k, 1<<20)
		theirs, err := simplifiedchinese.GBK.NewEncoder().Bytes(text.utf8)
		if err != nil || !bytes.Equal(theirs, text.gbk) {
			t.Errorf("%s: x/text makes other bytes of it: %v", k, err)
		}
	}
}

// TestProseIsLikeProse wants the commonest hanzi to be common, and the rare ones there.
func TestProseIsLikeProse(t *testing.T) {
	count := map[rune]int{}
	total := 0
	for _, r := range string(newText(chinese, 1<<20).utf8) {
		if r != '\n' {
			count[r]++
			total++
		}
	}
	share := func(r rune) float64 { return 100 * float64(count[r]) / float64(total) }
	if share('的') < 1.5 || share('的') > 5 || share('，') < 3 || share('，') > 7 {
		t.Errorf("的 is %.1f %%, ， %.1f %%", share('的'), share('，'))
	}
	if len(levelOne()) != 3755 || len(count) < 3600 || len(count) > 3758 {
		t.Errorf("%d different characters, %d hanzi in level 1", len(count), len(levelOne()))
	}
}

// TestPasses has every side convert a text whose characters are cut by the chunks.
func TestPasses(t *testing.T) {
	text := newText(chinese, 1<<20)
	passes := map[string]struct {
		pass pass
		in   []byte
		want int
	}{
		"decode":        {converting(charset.GBK, charset.UTF8), text.gbk, len(text.utf8)},
		"decode x/text": {transforming(simplifiedchinese.GBK, true), text.gbk, len(text.utf8)},
		"encode":        {converting(charset.UTF8, charset.GBK), text.utf8, len(text.gbk)},
		"encode x/text": {transforming(simplifiedchinese.GBK, false), text.utf8, len(text.gbk)},
		"auto gbk":      {converting(charset.Auto, charset.UTF8), text.gbk, len(text.utf8)},
		"auto utf-8":    {converting(charset.Auto, charset.UTF8), text.utf8, len(text.utf8)},
		"utf8.Valid":    {validating, text.utf8, len(text.utf8)},
		"read":          {copying, text.utf8, len(text.utf8)},
	}
	p := passes["decode"]
	iconv, closeIconv, err := openIconv("UTF-8", "GBK")
	if err == nil {
		defer closeIconv()
		p.pass = iconv
		passes["decode iconv"] = p
	} else {
		t.Log(err)
	}
	for name, p := range passes {
		for round := range 2 { // a pass leaves nothing behind for the next one
			if n, err := p.pass(bytes.NewReader(p.in)); n != p.want || err != nil {
				t.Errorf("%s, round %d: %d bytes, want %d: %v", name, round, n, p.want, err)
			}
		}
		if v, err := rate(p.in, p.want, p.pass).measure(t.Context()); v <= 0 || err != nil {
			t.Errorf("%s: %v MB/s, %v", name, v, err)
		}
		if _, err := rate(p.in, p.want+1, p.pass).measure(t.Context()); err == nil {
			t.Errorf("%s: a wrong number of bytes was taken", name)
		}
	}
	if _, err := validating(io.MultiReader(bytes.NewReader(text.utf8), strings.NewReader("\xD6\xD0\n"))); err == nil {
		t.Error("utf8.Valid was not asked about the end of a text")
	}
}

func TestWholeRunes(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "a": 1, "a中": 4, "a\xE4\xB8": 1, "a\xE4": 1, "\xE4\xB8": 0, "中\xE4": 3, "😀": 4, "a\xF0\x9F\x98": 1,
		"\x80\x80\x80\x80\x80": 5,
	} {
		if got := wholeRunes([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func TestFirstConversion(t *testing.T) {
	var out strings.Builder
	if err := firstConversion(&out); err != nil || len(strings.Fields(out.String())) != 2 {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestLinesWithoutAnotherSide(t *testing.T) {
	r := result{Row: 11, What: "tables", Unit: kb, Ours: 400, Runs: 3, Goal: goal{atMost, 300}}
	if got := strings.Join(r.cells(), "|"); got != "11|tables|-|-|400 kB|-|<= 300 kB|no|3" {
		t.Error(got)
	}
	if got := r.name(); got != "row 11, tables" {
		t.Error(got)
	}
}
