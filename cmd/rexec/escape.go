package main

import (
	"errors"
	"io"
	"strings"
)

// escapeOption is the value of -e: a character, ^ and a letter, or none.
type escapeOption struct {
	char byte
	set  bool
	none bool
}

const (
	usualEscape = '~' // that of ssh
	ctrlZ       = 'Z' & 0x1f
)

func (e *escapeOption) String() string {
	c := e.key()
	switch {
	case c == 0:
		return "none"
	case c < ' ':
		return "^" + string(rune(c|0x40))
	}
	return string(rune(c))
}

// Type implements [pflag.Value].
func (*escapeOption) Type() string { return "character" }

// Set implements [pflag.Value]. The first one counts, as in ssh.
func (e *escapeOption) Set(text string) error {
	var c byte
	switch {
	case text == "none":
	case len(text) == 1:
		c = text[0]
	case len(text) == 2 && text[0] == '^' && text[1] >= '@' && text[1] < 0x80:
		c = text[1] & 0x1f
	default:
		return errors.New("want a character, ^ and a letter, or none")
	}
	if !e.set {
		e.char, e.set, e.none = c, true, text == "none"
	}
	return nil
}

// key is the character; 0 if there is none.
func (e *escapeOption) key() byte {
	switch {
	case e.none:
		return 0
	case e.set:
		return e.char
	}
	return usualEscape
}

// escapeReader finds what is typed for rexec itself: the escape character at the begin of a line and then a dot
// ends the session, ^Z stops rexec, and a second escape character is one for the command. All else goes through.
type escapeReader struct {
	r       io.Reader
	char    byte
	hangUp  func()
	suspend func()
	help    func()
	inside  bool // of a line
	pending bool // the escape character was typed at the begin of a line
	rest    []byte
	buf     [1 << 10]byte
	err     error
}

// Read implements [io.Reader].
func (e *escapeReader) Read(b []byte) (int, error) {
	for len(e.rest) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		var n int
		n, e.err = e.r.Read(e.buf[:])
		e.rest = e.pass(e.buf[:n])
		if e.err != nil && e.pending {
			e.rest, e.pending = append(e.rest, e.char), false
		}
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// pass returns what goes to the command.
func (e *escapeReader) pass(typed []byte) []byte {
	out := make([]byte, 0, len(typed)+1)
	for _, c := range typed {
		if e.pending {
			e.pending = false
			switch c {
			case '.':
				e.hangUp()
				continue
			case ctrlZ:
				e.suspend()
				continue
			case '?':
				e.help()
				continue
			case e.char:
				out, e.inside = append(out, c), true
				continue
			}
			out, e.inside = append(out, e.char), true
		} else if c == e.char && !e.inside {
			e.pending = true
			continue
		}
		out = append(out, c)
		e.inside = !strings.ContainsRune("\r\n", rune(c))
	}
	return out
}
