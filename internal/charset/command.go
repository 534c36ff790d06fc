package charset

import (
	"fmt"
	"unicode/utf8"
)

// TextError says that a text cannot be converted: a character that the charset lacks, or bytes that are
// none of its own.
type TextError struct {
	Charset  Mode   // the one that cannot express it, or in which it makes no sense
	Char     rune   // what cannot be expressed; utf8.RuneError for bytes that are no text
	Bytes    []byte // those bytes
	Position int    // of the character in the text, from 1
}

func (e *TextError) Error() string {
	if len(e.Bytes) > 0 {
		return fmt.Sprintf("bytes % x at character %d are not %s", e.Bytes, e.Position, e.Charset)
	}
	return fmt.Sprintf("%s has no %q (%U), character %d", e.Charset, e.Char, e.Char, e.Position)
}

// EncodeCommand converts text in UTF-8 into the charset to, strictly: a command with something else in
// the place of a character would be another command. It returns a *TextError for what cannot be
// converted. To UTF8 it only checks.
func EncodeCommand(to Mode, text string) ([]byte, error) {
	var t *tables
	if to.gb() {
		t = loaded()
	}
	var out []byte
	position := 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		position++
		if r == utf8.RuneError && n == 1 {
			bad := []byte(text[i:])
			return nil, &TextError{Charset: UTF8, Char: r, Bytes: bad[:subpart(bad)], Position: position}
		}
		if t == nil {
			out = append(out, text[i:i+n]...)
		} else {
			var ok bool
			if out, ok = t.appendGB(out, r, to); !ok {
				return nil, &TextError{Charset: to, Char: r, Position: position}
			}
		}
		i += n
	}
	return out, nil
}

// DecodeText converts text in the charset from into UTF-8, strictly. It returns a *TextError for bytes
// that are no text.
func DecodeText(from Mode, text []byte) (string, error) {
	if !from.gb() {
		out, err := EncodeCommand(UTF8, string(text))
		return string(out), err
	}
	t := loaded()
	var out []byte
	position := 0
	for i := 0; i < len(text); {
		k, n, r := t.next(text[i:])
		position++
		if k == cut || k == malformed {
			return "", &TextError{Charset: from, Char: utf8.RuneError, Bytes: text[i : i+n], Position: position}
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return string(out), nil
}

// ShellHazard looks for a character of a GB text whose second byte means something to shells: one of
// \ ` | { } [ ] ^ ~. A shell that goes by bytes, as dash does in any locale and bash does in C and in
// UTF-8, acts on that byte: the GBK of "echo 亅id" runs id. It returns the first such character, and where
// it stands, from 1; 0 if there is none.
func ShellHazard(text []byte) (char rune, position int) {
	t := loaded()
	for i := 0; i < len(text); {
		k, n, r := t.next(text[i:])
		position++
		if k == double {
			switch text[i+1] {
			case '\\', '`', '|', '{', '}', '[', ']', '^', '~':
				return r, position
			}
		}
		i += n
	}
	return 0, 0
}
