package lineedit

import (
	"bytes"
	"strings"
	"time"
	"unicode/utf8"
)

// Decode returns the character that b begins with and its size in bytes; size 0 says that more bytes are needed, and
// [utf8.RuneError] that it is none. The default is UTF-8.
type Decode func(b []byte) (r rune, size int)

func decodeUTF8(b []byte) (rune, int) {
	if !utf8.FullRune(b) {
		return 0, 0
	}
	return utf8.DecodeRune(b)
}

// key is one key that was pressed: a name for what moves and deletes, else a text, which can be long if it was pasted.
type key struct {
	name keyName
	text string
}

type keyName uint8

const (
	keyText keyName = iota
	keyPaste
	keyControl // text is the character
	keyUnknown
	keyEsc
	keyUp
	keyDown
	keyLeft
	keyRight
	keyHome
	keyEnd
	keyDelete
	keyWordLeft
	keyWordRight
	keyAltBackspace
	keyAltD
	keyAltEnter
)

const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// cut finds the key that typed bytes begin with, and how many of them it takes. If more of it may come, more is how
// long to wait for that; if it does not come, what was found counts.
func cut(b []byte, decode Decode) (k key, n int, more time.Duration) {
	switch {
	case len(b) == 0:
		return key{}, 0, 0
	case b[0] == esc:
		return cutSequence(b, decode)
	case b[0] < ' ' || b[0] == 0x7f:
		return key{keyControl, string(rune(b[0]))}, 1, 0
	}
	r, size := decode(b)
	switch {
	case size == 0:
		return key{name: keyUnknown}, 1, escapeTime
	case r == utf8.RuneError:
		return key{name: keyUnknown}, size, 0
	}
	if text, n := cutRun(b, decode); n > manyBytes {
		return key{keyText, text}, n, 0
	}
	return key{keyText, string(r)}, size, 0
}

// manyBytes that wait at once are not typed one by one, but pasted at a terminal that puts no brackets around it. Put in
// together they are drawn once, not once for each.
const manyBytes = 64

// cutRun finds the characters that stand for themselves at the begin of typed bytes.
func cutRun(b []byte, decode Decode) (text string, n int) {
	var run strings.Builder
	for n < len(b) && b[n] >= ' ' && b[n] != 0x7f {
		r, size := decode(b[n:])
		if size == 0 || r == utf8.RuneError {
			break
		}
		run.WriteRune(r)
		n += size
	}
	return run.String(), n
}

const esc = 0x1b

// cutSequence finds a key that sends more than one byte (ECMA-48 5.4, and what xterm and the Linux console send).
func cutSequence(b []byte, decode Decode) (k key, n int, more time.Duration) {
	if len(b) == 1 {
		return key{name: keyEsc}, 1, escapeTime
	}
	if bytes.HasPrefix(b, []byte(pasteBegin)) {
		return cutPaste(b, decode)
	}
	switch b[1] {
	case '[':
		return cutControl(b)
	case 'O':
		if len(b) == 2 {
			return key{name: keyUnknown}, 2, escapeTime
		}
		return key{name: named(string(b[2]))}, 3, 0
	case esc:
		return key{name: keyEsc}, 1, 0
	case 'b', 'B':
		return key{name: keyWordLeft}, 2, 0
	case 'f', 'F':
		return key{name: keyWordRight}, 2, 0
	case 'd', 'D':
		return key{name: keyAltD}, 2, 0
	case '\r', '\n':
		return key{name: keyAltEnter}, 2, 0
	case 0x7f, 0x08:
		return key{name: keyAltBackspace}, 2, 0
	}
	_, size := decode(b[1:])
	return key{name: keyUnknown}, 1 + max(size, 1), 0
}

// cutControl finds a control sequence: parameters, and then a final byte.
func cutControl(b []byte) (k key, n int, more time.Duration) {
	if len(b) > 2 && b[2] == '[' { // function keys of the Linux console
		if len(b) == 3 {
			return key{name: keyUnknown}, 3, escapeTime
		}
		return key{name: keyUnknown}, 4, 0
	}
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c >= '@' && c <= '~':
			return key{name: named(string(b[2 : i+1]))}, i + 1, 0
		case c < ' ' || c > '~' || i > 32:
			return key{name: keyUnknown}, i, 0 // not a sequence after all
		}
	}
	return key{name: keyUnknown}, len(b), escapeTime
}

// named is the key of a sequence without its introducer.
func named(sequence string) keyName {
	switch sequence {
	case "A":
		return keyUp
	case "B":
		return keyDown
	case "C":
		return keyRight
	case "D":
		return keyLeft
	case "H", "1~", "7~":
		return keyHome
	case "F", "4~", "8~":
		return keyEnd
	case "3~":
		return keyDelete
	case "1;5D", "1;3D", "5D":
		return keyWordLeft
	case "1;5C", "1;3C", "5C":
		return keyWordRight
	}
	return keyUnknown
}

// cutPaste finds what stands in the brackets in which a terminal puts what is pasted.
func cutPaste(b []byte, decode Decode) (k key, n int, more time.Duration) {
	inside := b[len(pasteBegin):]
	end := bytes.Index(inside, []byte(pasteEnd))
	if end < 0 && bytes.HasSuffix(inside, []byte{ctrlC}) {
		return key{keyControl, string(rune(ctrlC))}, len(b), 0
	}
	if end < 0 {
		return key{keyPaste, decodeText(inside, decode)}, len(b), pasteTime
	}
	return key{keyPaste, decodeText(inside[:end], decode)}, len(pasteBegin) + end + len(pasteEnd), 0
}

func decodeText(b []byte, decode Decode) string {
	var text strings.Builder
	for len(b) > 0 {
		r, size := decode(b)
		if size == 0 { // cut off
			break
		}
		text.WriteRune(r)
		b = b[size:]
	}
	return text.String()
}
