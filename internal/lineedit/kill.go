package lineedit

import "unicode"

// kill takes text from a position up to another one away, and keeps it for Ctrl-Y.
func (e *Editor) kill(from, to int) bool {
	if from == to {
		return false
	}
	text, _ := e.text()
	e.killed = append([]rune(nil), text[from:to]...)
	e.replace(append(append([]rune(nil), text[:from]...), text[to:]...), from)
	return true
}

// killRight deletes up to the end of the line of the text, and at its end the line end, as Ctrl-K does.
func (e *Editor) killRight() bool {
	text, pos := e.text()
	_, end := rowBounds(text, pos)
	if end == pos && end < len(text) {
		end++
	}
	return e.kill(pos, end)
}

// killLeft deletes back to the begin of the line of the text, and at its begin the line end before it, as Ctrl-U does.
func (e *Editor) killLeft() bool {
	text, pos := e.text()
	begin, _ := rowBounds(text, pos)
	if begin == pos && begin > 0 {
		begin--
	}
	return e.kill(begin, pos)
}

// killWord deletes back to white space, as Ctrl-W does.
func (e *Editor) killWord() bool {
	text, pos := e.text()
	return e.kill(wordLeft(text, pos, unicode.IsSpace), pos)
}

// killWordLeft deletes back to the begin of a word of letters and digits, as Alt-Backspace does.
func (e *Editor) killWordLeft() bool {
	text, pos := e.text()
	return e.kill(wordLeft(text, pos, notOfWord), pos)
}

// killWordRight deletes up to the end of such a word, as Alt-D does.
func (e *Editor) killWordRight() bool {
	text, pos := e.text()
	return e.kill(pos, wordRight(text, pos))
}

// goWordLeft and goWordRight go to where such a word begins or ends.
func (e *Editor) goWordLeft() bool {
	text, pos := e.text()
	e.replace(text, wordLeft(text, pos, notOfWord))
	return true
}

func (e *Editor) goWordRight() bool {
	text, pos := e.text()
	e.replace(text, wordRight(text, pos))
	return true
}

func notOfWord(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }

// wordLeft is where the word begins that ends at or before a position.
func wordLeft(text []rune, pos int, between func(rune) bool) int {
	for pos > 0 && between(text[pos-1]) {
		pos--
	}
	for pos > 0 && !between(text[pos-1]) {
		pos--
	}
	return pos
}

// wordRight is where the word of letters and digits ends that ends behind a position.
func wordRight(text []rune, pos int) int {
	for pos < len(text) && notOfWord(text[pos]) {
		pos++
	}
	for pos < len(text) && !notOfWord(text[pos]) {
		pos++
	}
	return pos
}
