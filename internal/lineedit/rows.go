package lineedit

import "slices"

// A text of several lines stands in the library's buffer with two characters behind each line end, which are shown as
// the prompt of a further line: so the library's own arithmetic of rows and columns stays right. They belong to no
// text. They are the last ones of the last private plane, which nobody types; the library takes each for one column
// wide, as what is shown in their places is.
const (
	markFirst  = '\U0010FFFC'
	markSecond = '\U0010FFFD'
	shownFirst = '>'
	shownLast  = ' '
)

// mark puts the marks into a text, and moves a position of it along.
func mark(text []rune, pos int) (marked []rune, at int) {
	for i, r := range text {
		if i == pos {
			at = len(marked)
		}
		marked = append(marked, r)
		if r == '\n' {
			marked = append(marked, markFirst, markSecond)
		}
	}
	if pos >= len(text) {
		at = len(marked)
	}
	return marked, at
}

// unmark is the way back. A position inside of a mark becomes the one behind it.
func unmark(marked []rune, pos int) (text []rune, at int) {
	for i, r := range marked {
		if i == pos {
			at = len(text)
		}
		if r != markFirst && r != markSecond {
			text = append(text, r)
		}
	}
	if pos >= len(marked) {
		at = len(text)
	}
	return text, at
}

// tidy makes whole what a key did to the marks: if it deleted one of them, or the line end in front of them, the two
// lines have become one. A cursor that came to stand inside of a mark goes on in its direction, away from last.
func tidy(line []rune, pos, last int) (out []rune, at int) {
	at = -1
	for i := 0; i < len(line); {
		kept, taken := group(line[i:])
		if at < 0 && pos < i+taken {
			at = len(out)
			if pos > i && last <= i {
				at += len(kept)
			}
		}
		out = append(out, kept...)
		i += taken
	}
	if at < 0 {
		at = len(out)
	}
	return out, at
}

// group returns what the first characters of a line are to be, and how many they are.
func group(line []rune) (kept []rune, taken int) {
	switch {
	case line[0] == markFirst, line[0] == markSecond:
		return nil, 1
	case line[0] != '\n':
		return line[:1], 1
	case len(line) > 2 && line[1] == markFirst && line[2] == markSecond:
		return line[:3], 3
	case len(line) > 1 && (line[1] == markFirst || line[1] == markSecond):
		return nil, 2
	}
	return []rune{'\n', markFirst, markSecond}, 1
}

// rowBounds are where the line of a text begins and ends in which a position is.
func rowBounds(text []rune, pos int) (begin, end int) {
	begin = pos
	for begin > 0 && text[begin-1] != '\n' {
		begin--
	}
	end = len(text)
	if i := slices.Index(text[pos:], '\n'); i >= 0 {
		end = pos + i
	}
	return begin, end
}

// vertical is the position a line up (-1) or down (1), as far from its begin; ok is false if there is no such line.
func vertical(text []rune, pos, by int) (to int, ok bool) {
	begin, end := rowBounds(text, pos)
	other := begin - 1
	if by > 0 {
		other = end + 1
	}
	if other < 0 || other > len(text) {
		return pos, false
	}
	first, last := rowBounds(text, other)
	to = first
	for want := columns(text[begin:pos]); to < last && columns(text[first:to+1]) <= want; {
		to++
	}
	return to, true
}
