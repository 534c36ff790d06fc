package lineedit

import (
	"io"
	"strings"
	"sync/atomic"
)

// What the library is told, in the bytes that it reads.
const (
	tellNothing  = "\x1b[Z" // a key with which it does nothing but call back
	tellLeft     = "\x1b[D"
	tellRight    = "\x1b[C"
	tellDelete   = "\x1b[3~"
	tellHome     = "\x01"
	tellEnd      = "\x05"
	tellPrevious = "\x10"
	tellNext     = "\x0e"
	tellEnter    = "\r"
	tellHere     = "\x1b[1;1R" // the cursor is at the begin of a line
)

// feeder is what the library reads: one key at a time, so that it takes none that is for somebody else, and of what
// it does not know only that something was pressed.
type feeder struct {
	e      *Editor
	answer atomic.Bool // it has asked where the cursor is; begin has made sure of that
	rest   string
	err    error // why there are no more keys
}

// Read implements [io.Reader]. The library asks for the next key only when it has dealt with the last one.
func (f *feeder) Read(b []byte) (int, error) {
	for f.rest == "" {
		if f.answer.Swap(false) {
			f.rest = tellHere
			break
		}
		k, err := f.e.o.Keys.key(f.e.done, f.e.o.Decode)
		if err != nil {
			f.err = err
			return 0, io.EOF
		}
		f.rest = f.e.tell(k)
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// tell is what the library gets for a key; empty for nothing.
func (e *Editor) tell(k key) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.search {
		if told, ok := e.tellSearch(k); ok {
			return told
		}
		e.search = false
	}
	switch k.name {
	case keyText:
		if len(k.text) > manyBytes {
			return e.does(func() bool { e.insert(clean(k.text)); return true })
		}
		return string(clean(k.text))
	case keyPaste:
		// The last line end would only be an empty line, for Enter comes from who looks at it.
		return e.does(func() bool { e.insert(clean(strings.TrimRight(k.text, "\r\n"))); return true })
	case keyControl:
		return e.tellControl(k.text[0])
	case keyUp, keyDown:
		return e.tellVertical(k.name)
	case keyLeft:
		return tellLeft
	case keyRight:
		return tellRight
	case keyWordLeft:
		return e.does(e.goWordLeft)
	case keyWordRight:
		return e.does(e.goWordRight)
	case keyHome, keyEnd:
		return e.tellEdge(k.name)
	case keyDelete:
		return tellDelete
	case keyAltBackspace:
		return e.does(e.killWordLeft)
	case keyAltD:
		return e.does(e.killWordRight)
	case keyAltEnter:
		return e.does(func() bool { e.insert([]rune{'\n'}); return true })
	}
	return ""
}

// does has the library call back for something that it cannot do itself. It is called with the lock held.
func (e *Editor) does(act func() bool) string {
	e.act = act
	return tellNothing
}

// Control characters.
const (
	ctrlA     = 0x01
	ctrlB     = 0x02
	ctrlC     = 0x03
	ctrlD     = 0x04
	ctrlE     = 0x05
	ctrlF     = 0x06
	ctrlG     = 0x07
	ctrlH     = 0x08
	tab       = 0x09
	lineFeed  = 0x0a
	ctrlK     = 0x0b
	ctrlL     = 0x0c
	enter     = 0x0d
	ctrlN     = 0x0e
	ctrlP     = 0x10
	ctrlR     = 0x12
	ctrlS     = 0x13
	ctrlT     = 0x14
	ctrlU     = 0x15
	ctrlW     = 0x17
	ctrlY     = 0x19
	ctrlZ     = 0x1a
	backspace = 0x7f
)

func (e *Editor) tellControl(c byte) string {
	switch c {
	case enter, lineFeed:
		return e.tellEnter()
	case tab:
		return e.does(e.complete)
	case ctrlA:
		return e.tellEdge(keyHome)
	case ctrlE:
		return e.tellEdge(keyEnd)
	case ctrlP:
		return e.tellVertical(keyUp)
	case ctrlN:
		return e.tellVertical(keyDown)
	case ctrlK:
		return e.does(e.killRight)
	case ctrlU:
		return e.does(e.killLeft)
	case ctrlW:
		return e.does(e.killWord)
	case ctrlY:
		return e.does(func() bool { e.insert(e.killed); return true })
	case ctrlR, ctrlS:
		e.search = true
		return string(rune(c))
	case backspace, ctrlH:
		if len(e.line) == 0 {
			return "" // at which the library would ring the bell
		}
		return string(rune(c))
	case ctrlZ:
		return e.does(e.suspend)
	case ctrlB, ctrlC, ctrlD, ctrlF, ctrlL, ctrlT:
		return string(rune(c))
	}
	return "" // the library would put it into the line
}

// tellSearch is what the library gets during its search; ok is false for a key that ends it and means what it means.
func (e *Editor) tellSearch(k key) (told string, ok bool) {
	switch {
	case k.name == keyText:
		return string(clean(k.text)), true
	case k.name == keyPaste:
		line, _, _ := strings.Cut(string(clean(k.text)), "\n")
		return line, true
	case k.name == keyEsc:
		e.search = false
		return tellNothing, true
	case k.name == keyControl && strings.IndexByte("\x07\x03", k.text[0]) >= 0:
		e.search = false
		return string(rune(ctrlG)), true
	case k.name == keyControl && strings.IndexByte("\x12\x13\x7f\x08", k.text[0]) >= 0:
		return k.text, true
	case k.name == keyUnknown:
		return "", true
	}
	return "", false
}

// tellEnter ends the line, or continues it.
func (e *Editor) tellEnter() string {
	text, _ := unmark(e.line, 0)
	if e.o.Unfinished == nil || !e.o.Unfinished(string(text)) {
		return tellEnter
	}
	return e.does(func() bool { e.insert([]rune{'\n'}); return true })
}

// tellVertical goes to another line of the text, or beyond the first and the last one in the history.
func (e *Editor) tellVertical(name keyName) string {
	by, beyond := -1, tellPrevious
	if name == keyDown {
		by, beyond = 1, tellNext
	}
	text, pos := unmark(e.line, e.pos)
	if _, ok := vertical(text, pos, by); !ok {
		return beyond
	}
	return e.does(func() bool {
		text, pos := e.text()
		to, _ := vertical(text, pos, by)
		e.replace(text, to)
		return true
	})
}

// tellEdge goes to the begin or the end of the line of the text.
func (e *Editor) tellEdge(name keyName) string {
	return e.does(func() bool {
		text, pos := e.text()
		begin, end := rowBounds(text, pos)
		if name == keyHome {
			end = begin
		}
		e.replace(text, end)
		return true
	})
}
