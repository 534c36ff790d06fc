//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"

	"rexec/internal/charset"
)

// chunk is what one read(2) of a command's output yields at best.
const chunk = 64 << 10

// pass reads a text to its end, a chunk at a time, and returns how many bytes it made of it.
type pass func(r io.Reader) (int, error)

// rate is a contender whose value is MB/s of input. A pass that does not make want bytes of it has not
// done the work.
func rate(input []byte, want int, p pass) *contender {
	return &contender{measure: func(context.Context) (float64, error) {
		begin := time.Now()
		n, err := p(bytes.NewReader(input))
		took := time.Since(begin)
		if err == nil && n != want {
			err = fmt.Errorf("%d bytes came out, want %d", n, want)
		}
		return float64(len(input)) / 1e6 / took.Seconds(), err
	}}
}

// eachChunk reads r into buf, again and again.
func eachChunk(r io.Reader, buf []byte, f func([]byte)) error {
	for {
		n, err := r.Read(buf)
		f(buf[:n])
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// converting is our converter, used as the server uses it: what passes is not copied.
func converting(from, to charset.Mode) pass {
	buf, dst := make([]byte, chunk), make([]byte, 0, 3*(chunk+charset.MaxHold))
	return func(r io.Reader) (int, error) {
		c := charset.NewConverter(from, to)
		made := 0
		err := eachChunk(r, buf, func(b []byte) {
			n := c.PassThrough(b)
			made += n
			if n < len(b) {
				made += len(c.Append(dst[:0], b[n:]))
			}
		})
		return made + len(c.Close(dst[:0])), err
	}
}

// convertingInPlace is our converter over text that lies in memory, which is not read.
func convertingInPlace(text []byte, from, to charset.Mode) pass {
	dst := make([]byte, 0, 3*(chunk+charset.MaxHold))
	return func(io.Reader) (int, error) {
		c := charset.NewConverter(from, to)
		made := 0
		for b := range slices.Chunk(text, chunk) {
			n := c.PassThrough(b)
			made += n
			if n < len(b) {
				made += len(c.Append(dst[:0], b[n:]))
			}
		}
		return made + len(c.Close(dst[:0])), nil
	}
}

// transforming is x/text, read as its users read it.
func transforming(e encoding.Encoding, decode bool) pass {
	buf := make([]byte, chunk)
	return func(r io.Reader) (int, error) {
		var t transform.Transformer = e.NewEncoder()
		if decode {
			t = e.NewDecoder()
		}
		made := 0
		err := eachChunk(transform.NewReader(r, t), buf, func(b []byte) { made += len(b) })
		return made, err
	}
}

// copying only reads, which is the copy.
func copying(r io.Reader) (int, error) {
	made := 0
	err := eachChunk(r, make([]byte, chunk), func(b []byte) { made += len(b) })
	return made, err
}

// validating is the standard library's check. A chunk that ended or began inside a character would end
// it at once, so what is cut goes in front of the next chunk.
func validating(r io.Reader) (int, error) {
	buf := make([]byte, chunk)
	made, kept := 0, 0
	for {
		n, err := r.Read(buf[kept:])
		b := buf[:kept+n]
		whole := wholeRunes(b)
		if !utf8.Valid(b[:whole]) {
			return made, errors.New("the text is not UTF-8")
		}
		made += whole
		kept = copy(buf, b[whole:])
		switch {
		case errors.Is(err, io.EOF):
			return made, nil
		case err != nil:
			return made, err
		}
	}
}

// wholeRunes is the length of b without a character that is cut at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// rounds is how often each side converts a whole text.
func (l *lab) rounds() int { return l.times(11, 3) }

// decodingGBK is row 9. Without iconv the other lines are measured all the same.
func decodingGBK(ctx context.Context, l *lab) ([]result, error) {
	iconv, closeIconv, noIconv := openIconv("UTF-8", "GBK")
	if noIconv == nil {
		defer closeIconv()
	}
	var all []result
	for _, g := range []struct {
		kind         kind
		xtext, iconv float64
	}{{logs, 8, 4}, {chinese, 3.5, 2}, {mix, 3.5, 2.5}} {
		t := l.text(g.kind)
		xtext := rate(t.gbk, len(t.utf8), transforming(simplifiedchinese.GBK, true))
		gbk := rate(t.gbk, len(t.utf8), converting(charset.GBK, charset.UTF8))
		gb18030 := rate(t.gbk, len(t.utf8), converting(charset.GB18030, charset.UTF8))
		sides := []*contender{xtext, gbk, gb18030}
		glibc := rate(t.gbk, len(t.utf8), iconv)
		if noIconv == nil {
			sides = append(sides, glibc)
		}
		if err := alternate(ctx, l.rounds(), sides...); err != nil {
			return all, err
		}
		line := func(what, beside string, theirs, ours *contender, bound float64) {
			all = append(all, result{
				What: fmt.Sprintf("%s, %s", what, g.kind), Beside: beside, Unit: mbPerSecond,
				Theirs: theirs.median(), Ours: ours.median(), Runs: len(ours.values), Goal: goal{ratioAtLeast, bound},
			})
		}
		line("decode gbk", "x/text", xtext, gbk, g.xtext)
		if noIconv == nil {
			line("decode gbk", "iconv(3)", glibc, gbk, g.iconv)
		}
		line("decode gb18030", "our gbk", gbk, gb18030, 0.95)
	}
	return all, noIconv
}

// encodingToGBK is row 10.
func encodingToGBK(ctx context.Context, l *lab) ([]result, error) {
	var all []result
	for _, g := range []struct {
		kind  kind
		bound float64
	}{{logs, 4}, {chinese, 2.3}, {mix, 2}} {
		t := l.text(g.kind)
		xtext := rate(t.utf8, len(t.gbk), transforming(simplifiedchinese.GBK, false))
		gbk := rate(t.utf8, len(t.gbk), converting(charset.UTF8, charset.GBK))
		if err := alternate(ctx, l.rounds(), xtext, gbk); err != nil {
			return all, err
		}
		all = append(all, result{
			What: fmt.Sprintf("encode gbk, %s", g.kind), Beside: "x/text", Unit: mbPerSecond,
			Theirs: xtext.median(), Ours: gbk.median(), Runs: len(gbk.values), Goal: goal{ratioAtLeast, g.bound},
		})
	}
	return all, nil
}

// unknownCharset is row 11.
func unknownCharset(ctx context.Context, l *lab) ([]result, error) {
	all, err := autoASCII(ctx, l)
	if err != nil {
		return nil, err
	}
	for _, g := range []struct {
		kind   kind
		gbk    bool
		beside string
		theirs pass
		bound  float64
	}{
		{chinese, false, "utf8.Valid", validating, 0.8},
		{mix, false, "utf8.Valid", validating, 0.8},
		{chinese, true, "our gbk", converting(charset.GBK, charset.UTF8), 0.65},
		{mix, true, "our gbk", converting(charset.GBK, charset.UTF8), 0.45},
	} {
		t := l.text(g.kind)
		what, input := fmt.Sprintf("auto, utf-8, %s", g.kind), t.utf8
		if g.gbk {
			what, input = fmt.Sprintf("auto, gbk, %s", g.kind), t.gbk
		}
		theirs := rate(input, len(t.utf8), g.theirs)
		auto := rate(input, len(t.utf8), converting(charset.Auto, charset.UTF8))
		if err := alternate(ctx, l.rounds(), theirs, auto); err != nil {
			return all, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, result{
			What: what, Beside: g.beside, Unit: mbPerSecond,
			Theirs: theirs.median(), Ours: auto.median(), Runs: len(auto.values), Goal: goal{ratioAtLeast, g.bound},
		})
	}
	costs, err := conversionCosts(ctx, l)
	return append(all, costs...), err
}

// autoASCII is what looking for another charset costs where there is none, and the same without the
// copy that stands for read(2): what the look itself costs.
func autoASCII(ctx context.Context, l *lab) ([]result, error) {
	input := l.text(logs).gbk
	read := rate(input, len(input), copying)
	auto := rate(input, len(input), converting(charset.Auto, charset.UTF8))
	inPlace := rate(input, len(input), convertingInPlace(input, charset.Auto, charset.UTF8))
	if err := alternate(ctx, l.rounds(), read, auto, inPlace); err != nil {
		return nil, err
	}
	return []result{{
		What: "auto, ascii", Beside: "copy", Unit: mbPerSecond,
		Theirs: read.median(), Ours: auto.median(), Runs: len(auto.values), Goal: goal{ratioAtLeast, 0.6},
	}, {
		What: "auto, ascii, itself", Beside: "copy", Unit: mbPerSecond,
		Theirs: read.median(), Ours: inPlace.median(), Runs: len(auto.values),
	}}, nil
}
