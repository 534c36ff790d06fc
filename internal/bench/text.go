//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"unicode/utf8"

	"rexec/internal/charset"
)

// kind is a kind of text that commands print.
type kind int

const (
	logs    kind = iota // ASCII only
	chinese             // prose
	mix                 // the console's, of which a third is Chinese
)

func (k kind) String() string { return [...]string{"ascii", "chinese", "mix"}[k] }

func kinds() []kind { return []kind{logs, chinese, mix} }

// text is the same text in two charsets.
type text struct{ utf8, gbk []byte }

// text returns 64 MiB of GBK and their UTF-8; it is made once.
func (l *lab) text(k kind) *text {
	if l.texts[k] == nil {
		if l.texts == nil {
			l.texts = map[kind]*text{}
		}
		l.texts[k] = newText(k, l.times(64<<20, 16<<20))
	}
	return l.texts[k]
}

// newText makes a text whose GBK form is about as long as size says, always the same one.
func newText(k kind, size int) *text {
	r := rand.New(rand.NewPCG(20261125, uint64(k)))
	var more func([]byte) []byte // appends some whole lines
	switch k {
	case logs:
		more = logLines(r)
	case chinese:
		more = proseLines(newProse(r))
	case mix:
		c := console{r: r}
		more = c.block
	}
	t := &text{utf8: make([]byte, 0, size*3/2+1<<16)}
	for n := 0; n < size; {
		old := len(t.utf8)
		t.utf8 = more(t.utf8)
		n += gbkSize(t.utf8[old:])
	}
	t.gbk = charset.NewConverter(charset.UTF8, charset.GBK).Append(make([]byte, 0, 3*len(t.utf8)), t.utf8)
	return t
}

// gbkSize is the length in GBK of UTF-8.
func gbkSize(b []byte) int {
	n := 0
	for _, c := range b {
		switch {
		case c < utf8.RuneSelf:
			n++
		case utf8.RuneStart(c):
			n += 2
		}
	}
	return n
}

func logLines(r *rand.Rand) func([]byte) []byte {
	events := []string{"accepted", "closed", "timed out", "retried", "served from cache"}
	second := 0
	return func(b []byte) []byte {
		if r.IntN(4) == 0 {
			second++
		}
		return fmt.Appendf(b, "2026-11-25T%02d:%02d:%02d.%03dZ host%d daemon[%d]: request %08x from 10.%d.%d.%d:%d %s in %d us\n",
			second/3600%24, second/60%60, second%60, r.IntN(1000), r.IntN(8), 1000+r.IntN(30000), r.Uint32(),
			r.IntN(256), r.IntN(256), r.IntN(256), 1024+r.IntN(60000), events[r.IntN(len(events))], r.IntN(200000))
	}
}

func proseLines(p *prose) func([]byte) []byte {
	return func(b []byte) []byte {
		for range 50 + p.r.IntN(20) {
			b = utf8.AppendRune(b, p.next())
		}
		return append(b, '\n')
	}
}
