package lineedit

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// Completion is what the last word of a text may become.
type Completion struct {
	Start      int // where the word begins, in bytes
	Candidates []Candidate
	More       int // candidates that are not listed
}

// Candidate is one of them.
type Candidate struct {
	Text  string // stands in the place of the word
	Shown string // in a list
	Open  bool   // the word can go on behind it, as behind the slash of a directory: no space is put there
}

// complete asks for a completion while it watches the keyboard: the next key is dealt with at once, whatever becomes
// of the answer.
func (e *Editor) complete() bool {
	if e.o.Complete == nil {
		return false
	}
	text, pos := e.text()
	before := string(text[:pos])
	ctx, cancel := context.WithCancel(e.done)
	defer cancel()
	answered := make(chan Completion, 1)
	go func() {
		c, err := e.o.Complete(ctx, before)
		if err != nil {
			c = Completion{}
		}
		answered <- c
	}()
	pressed := make(chan struct{})
	go func() {
		if e.o.Keys.Wait(ctx) == nil {
			close(pressed)
		}
	}()
	select {
	case c := <-answered:
		return e.completed(before, string(text[pos:]), c)
	case <-pressed:
	case <-ctx.Done():
	}
	return false
}

// completed puts in what all candidates have in common. If that is nothing new they are listed.
func (e *Editor) completed(before, after string, c Completion) bool {
	if len(c.Candidates) == 0 || c.Start < 0 || c.Start > len(before) {
		return false
	}
	word := c.Candidates[0].Text
	for _, other := range c.Candidates[1:] {
		word = commonPrefix(word, other.Text)
	}
	if len(c.Candidates) == 1 && c.More == 0 {
		if !c.Candidates[0].Open && !strings.HasPrefix(after, " ") {
			word += " "
		}
	} else if c.More > 0 || len(word) <= len(before)-c.Start {
		// What is not listed may begin otherwise.
		e.list(before+after, c)
		return false
	}
	if strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		e.list(before+after, c) // in the line it would look like another name, or be one
		return false
	}
	done := []rune(before[:c.Start] + word)
	e.replace(append(done, []rune(after)...), len(done))
	return true
}

// commonPrefix is what two words begin with, in whole characters, and without a backslash that has lost what it quotes.
func commonPrefix(a, b string) string {
	n := len(a)
	for i, r := range a {
		if !strings.HasPrefix(b[min(i, len(b)):], string(r)) {
			n = i
			break
		}
	}
	if n < len(a) && (n-len(strings.TrimRight(a[:n], `\`)))%2 == 1 {
		n--
	}
	return a[:n]
}

// listGap stands between the columns of a list.
const listGap = 2

// list shows the candidates below the line, in columns, and the line again below them.
func (e *Editor) list(line string, c Completion) {
	width, rows := e.o.Size()
	cell := 0
	for _, one := range c.Candidates {
		cell = max(cell, Columns(one.Shown)+listGap)
	}
	perRow := max(1, (width-1)/max(cell, 1))
	lines := (len(c.Candidates) + perRow - 1) / perRow
	shown := lines
	if most := max(rows-3, 5); lines > most { // that the line stays in sight
		shown = most - 1
	}
	var b strings.Builder
	marked, _ := mark([]rune(line), 0)
	b.WriteString(e.prompt + string(marked) + "\n")
	listed := 0
	for row := range shown {
		for i := row; i < len(c.Candidates); i += lines {
			one := c.Candidates[i].Shown
			b.WriteString(one)
			listed++
			if i+lines < len(c.Candidates) {
				b.WriteString(strings.Repeat(" ", cell-Columns(one)))
			}
		}
		b.WriteString("\n")
	}
	if left := len(c.Candidates) - listed + c.More; left > 0 {
		fmt.Fprintf(&b, "... and %d more\n", left)
	}
	_, _ = e.library.Write([]byte(b.String())) // a terminal that is gone ends the reading, too
}
