package config

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// document is a file that is valid TOML; whether its keys mean anything is not
// yet known.
type document struct {
	data []byte
	meta toml.MetaData
	root table
}

// table is a TOML table whose values are not decoded, since only an undecoded
// value still knows its line.
type table map[string]toml.Primitive

// entry is one key of a document, with its value.
type entry struct {
	doc  *document
	path []string
	val  any
}

func parseDocument(data []byte) (*document, *Error) {
	if err := checkText(data); err != nil {
		return nil, err
	}
	doc := &document{data: data}
	var err error
	doc.meta, err = toml.Decode(string(data), &doc.root)
	if err != nil {
		return nil, doc.syntaxError(err)
	}
	return doc, nil
}

// checkText refuses what the TOML library would accept or describe poorly.
func checkText(data []byte) *Error {
	if len(data) > maxSize {
		return &Error{Msg: "larger than 1 MiB", Hint: "is this the right file?"}
	}
	if bytes.HasPrefix(data, []byte("\uFEFF")) {
		return &Error{Line: 1, Msg: "begins with a byte order mark", Hint: "save it as UTF-8 without BOM"}
	}
	if !utf8.Valid(data) {
		return &Error{Line: invalidLine(data), Msg: "not valid UTF-8", Hint: "save the file as UTF-8"}
	}
	return nil
}

// invalidLine returns the line of the first byte that is not UTF-8.
func invalidLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[size:]
	}
	return line
}

func (d *document) syntaxError(err error) *Error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return &Error{Msg: err.Error()}
	}
	e := &Error{Line: d.lineAt(pe.Position), Key: pe.LastKey, Msg: clip(strings.TrimSuffix(pe.Message, "."))}
	switch {
	case strings.Contains(pe.Message, "already been defined"):
		e.Hint = "remove one of the two"
	case strings.Contains(pe.Message, "expected value"):
		e.Hint = `text and durations are written in quotes, such as "60s"`
	}
	return e
}

// entries returns the keys of the document in its order, down to the level at
// which the schema has keys; what lies deeper belongs to the value. Sections
// that the schema does not know come back whole.
func (d *document) entries(s []key) []entry {
	inside := d.sections(s)
	seen := map[string]bool{}
	var out []entry
	for _, k := range d.meta.Keys() {
		path, values := k[:1], d.root
		if section, ok := inside[k[0]]; ok {
			if len(k) == 1 {
				continue // [section] itself
			}
			path, values = k[:2], section
		}
		if id := path.String(); !seen[id] {
			seen[id] = true
			out = append(out, entry{d, path, d.decode(values[path[len(path)-1]])})
		}
	}
	return out
}

// sections returns the tables of the document that are sections of the schema.
func (d *document) sections(s []key) map[string]table {
	out := map[string]table{}
	for name, v := range d.root {
		if t, ok := d.table(v); ok && isSection(s, name) {
			out[name] = t
		}
	}
	return out
}

func isSection(s []key, name string) bool {
	return slices.ContainsFunc(s, func(k key) bool { return strings.HasPrefix(k.name, name+".") })
}

// apply checks the entry and stores its value in the Config behind s.
func (e entry) apply(s []key) *Error {
	name := toml.Key(e.path).String()
	i := slices.IndexFunc(s, func(k key) bool { return k.name == name })
	if i < 0 {
		return e.unknown(name, s)
	}
	err := s[i].value.set(e.val)
	if err == nil {
		return nil
	}
	path := e.path
	var in *inTableError
	if errors.As(err, &in) {
		path = append(slices.Clone(path), in.name)
	}
	return &Error{Line: e.doc.line(path), Key: toml.Key(path).String(), Msg: err.Error()}
}

func (e entry) unknown(name string, s []key) *Error {
	bad := &Error{Line: e.doc.line(e.path), Key: name}
	switch _, isTable := e.val.(map[string]any); {
	case len(e.path) == 1 && isSection(s, e.path[0]):
		bad.Msg = "must be a section, not " + typeName(e.val)
		bad.Hint = "write [" + name + "] on a line of its own and its keys below"
	case len(e.path) == 1 && isTable:
		bad.Msg, bad.Hint = "unknown section", unknownHint(name, sections(s))
	default:
		bad.Msg, bad.Hint = "unknown key", unknownHint(name, names(s))
	}
	return bad
}

// table returns v as a table, if it is one.
func (d *document) table(v toml.Primitive) (table, bool) {
	var t table
	err := d.meta.PrimitiveDecode(v, &t)
	return t, err == nil && t != nil
}

// decode returns v as the library's own type for it: string, int64, float64,
// bool, time.Time, []any, map[string]any or []map[string]any.
func (d *document) decode(v toml.Primitive) any {
	var out any
	if err := d.meta.PrimitiveDecode(v, &out); err != nil {
		panic("internal error: decoding into any: " + err.Error())
	}
	return out
}

// line returns the line of the key at path, which must exist. A table that is
// only implied, as a is by a.b = 1, has the line of its first key. A key for
// which the library kept no line has that of its table.
func (d *document) line(path []string) int {
	at, line := d.root, 0
	for _, name := range path {
		if own := d.lineOf(at[name]); own > 0 {
			line = own
		}
		at, _ = d.table(at[name])
	}
	return line
}

func (d *document) lineOf(v toml.Primitive) int {
	var pe toml.ParseError
	if errors.As(d.meta.PrimitiveDecode(v, &locator{}), &pe) && pe.Position.Line > 0 {
		return d.lineAt(pe.Position)
	}
	t, _ := d.table(v)
	first := 0
	for sub := range maps.Values(t) {
		if line := d.lineOf(sub); line > 0 && (first == 0 || line < first) {
			first = line
		}
	}
	return first
}

// lineAt returns the line on which p starts. Position.Line is no help: it is the
// last line of a text of several, and one too few for some errors before CRLF.
func (d *document) lineAt(p toml.Position) int {
	start := min(max(p.Start, 0), len(d.data))
	return 1 + bytes.Count(d.data[:start], []byte("\n"))
}

// locator refuses any value. The library keeps the line of a key to itself
// except in the error that it wraps around such a refusal.
type locator struct{}

var errLocated = errors.New("located")

// UnmarshalTOML implements [toml.Unmarshaler].
func (*locator) UnmarshalTOML(any) error { return errLocated }
