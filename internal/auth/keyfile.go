package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// storeComment is the head of a new key file.
const storeComment = `# Keys that rexecd accepts: one JSON object a line. Lines that begin with # are comments.
# Make, change and remove them with: rexecd key add, rotate, expire, revoke
`

// parseKeys reads a whole key file. Every error is a *FileError.
func parseKeys(path string, text []byte) ([]Key, error) {
	if !utf8.Valid(text) {
		return nil, &FileError{Path: path, Msg: "is not UTF-8", Fix: "restore it from a copy"}
	}
	var keys []Key
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if isComment(line) {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, lineError(path, n, err)
		}
		k.Line = n
		if err := clash(path, keys, &k); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func isComment(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) == 0 || line[0] == '#'
}

// clash refuses a second key with the ID or the secret of an earlier one: the ID in a proof would not
// say any more who sent it.
func clash(path string, keys []Key, k *Key) error {
	for i := range keys {
		switch o := &keys[i]; {
		case o.ID == k.ID:
			return &FileError{path, k.Line, fmt.Sprintf("key ID %s is that of line %d", k.ID, o.Line),
				"remove one of the two lines"}
		case o.shares(k):
			return &FileError{path, k.Line, fmt.Sprintf("key %s has the secret of key %s in line %d", k.ID, o.ID, o.Line),
				"make a key for each with: rexecd key add"}
		}
	}
	return nil
}

// shares reports whether two keys have a secret in common, be it an old one.
func (k *Key) shares(o *Key) bool {
	return k.has(o.Secret) || o.Old != nil && k.has(o.Old.Secret)
}

func (k *Key) has(s Secret) bool {
	return k.Secret.Equal(s) || k.Old != nil && k.Old.Secret.Equal(s)
}

// lineProblem is what parseKey finds wrong with a line.
type lineProblem struct{ msg, fix string }

func (p *lineProblem) Error() string { return p.msg }

func problem(fix, format string, args ...any) error {
	return &lineProblem{fmt.Sprintf(format, args...), fix}
}

func lineError(path string, line int, err error) error {
	e := &FileError{Path: path, Line: line, Msg: err.Error()}
	var p *lineProblem
	if errors.As(err, &p) {
		e.Fix = p.fix
	}
	return e
}

// AddKey appends a key to a key file, which is made if it is missing. Comments and other lines stay as
// they are. An ID or a secret that is there already is refused, and so is a file with a bad line.
func AddKey(path string, k Key) error {
	line, err := formatKey(k)
	if err == nil {
		_, err = parseKey(line) // what would not load is not written
	}
	if err != nil {
		return fmt.Errorf("adding key: %w", err)
	}
	err = editStore(path, func(text []byte) ([]byte, error) {
		if len(text) == 0 {
			text = []byte(storeComment)
		}
		if text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		text = append(append(text, line...), '\n')
		return text, checkStore(path, text)
	})
	if err != nil {
		return fmt.Errorf("adding key %s: %w", k.ID, err)
	}
	return nil
}

// checkStore makes sure that a text would load.
func checkStore(path string, text []byte) error {
	if len(text) > storeLimit {
		return tooLarge(path, storeLimit)
	}
	_, err := parseKeys(path, text)
	return err
}

// ErrUnknownKey is returned by RevokeKey, ChangeKey and RotateKey for an ID that no line has.
var ErrUnknownKey = errors.New("no such key")

// RevokeKey removes the key with this ID from a key file. Comments and other lines stay as they are.
// It does so even if other lines are bad, but says so then: a daemon that runs goes on with the keys
// that it has, the revoked one included, until the file is good.
func RevokeKey(path, id string) error {
	var left []byte
	err := editStore(path, func(text []byte) ([]byte, error) {
		var found bool
		if left, found = withoutKey(text, id); !found {
			return nil, ErrUnknownKey
		}
		return left, nil
	})
	if err != nil {
		return fmt.Errorf("revoking key %s: %w", id, err)
	}
	if _, err := parseKeys(path, left); err != nil {
		return fmt.Errorf("key %s is removed, but a running daemon accepts it until this is mended: %w", id, err)
	}
	return nil
}

// withoutKey drops the lines whose ID is id, also bad ones as far as their ID can be read.
func withoutKey(text []byte, id string) (left []byte, found bool) {
	var b strings.Builder
	for line := range bytes.Lines(text) {
		if !isComment(line) {
			if k, _ := parseKey(line); k.ID != "" && k.ID == id {
				found = true
				continue
			}
		}
		b.Write(line)
	}
	return []byte(b.String()), found
}

// editStore changes a key file under its lock. edit gets the text, nil for a missing file.
func editStore(path string, edit func(text []byte) ([]byte, error)) error {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	text, err := readStore(path)
	if err != nil {
		return err
	}
	if text, err = edit(text); err != nil {
		return err
	}
	return replaceFile(path, text)
}

func readStore(path string) ([]byte, error) {
	text, _, err := readSecret(path, storeLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}
