package proto

import (
	"encoding/binary"
	"slices"
)

// Field is one tagged value of an extensible message: u16 tag, u32 length, value. Fields stand in
// ascending order of their tags, each at most once; a value that equals the default (zero, empty)
// is left out. So every message has exactly one encoding, and new fields can be added at any time.
type Field struct {
	Tag   uint16
	Value []byte
}

// Critical marks tags that the receiver must understand: an unknown one with this bit refuses the
// message, an unknown one without it is ignored.
const Critical uint16 = 0x8000

// Aside marks tags of a request that say nothing of what is to be run, so that a receiver that does not know one can
// still tell whether two requests ask for the same.
const Aside uint16 = 0x4000

// fieldWriter appends fields, weaving the unknown ones (kept from a parse) in at their places.
type fieldWriter struct {
	b     []byte
	extra []Field
}

func (w *fieldWriter) raw(f Field) {
	w.b = appendU16(w.b, f.Tag)
	w.b = appendU32(w.b, uint32(len(f.Value)))
	w.b = append(w.b, f.Value...)
}

func (w *fieldWriter) bytes(tag uint16, v []byte) {
	w.weave(tag)
	if len(v) > 0 {
		w.raw(Field{tag, v})
	}
}

func (w *fieldWriter) text(tag uint16, v string) { w.bytes(tag, []byte(v)) }

func (w *fieldWriter) u64(tag uint16, v uint64) {
	w.weave(tag)
	if v != 0 {
		w.b = appendU16(w.b, tag)
		w.b = appendU32(w.b, 8)
		w.b = appendU64(w.b, v)
	}
}

func (w *fieldWriter) flag(tag uint16, v bool) {
	if v {
		w.bytes(tag, []byte{1})
	}
}

func (w *fieldWriter) state(tag uint16, v ConverterState) {
	if v != (ConverterState{}) {
		w.bytes(tag, v[:])
	}
}

// list writes strings as u32 length and bytes each.
func (w *fieldWriter) list(tag uint16, items [][]byte) {
	if len(items) == 0 {
		return
	}
	w.weave(tag)
	w.b = appendU16(w.b, tag)
	at := len(w.b)
	w.b = appendU32(w.b, 0)
	for _, s := range items {
		w.b = appendU32(w.b, uint32(len(s)))
		w.b = append(w.b, s...)
	}
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
}

// weave writes the kept unknown fields whose tags come before tag.
func (w *fieldWriter) weave(tag uint16) {
	for len(w.extra) > 0 && w.extra[0].Tag < tag {
		w.raw(w.extra[0])
		w.extra = w.extra[1:]
	}
}

func (w *fieldWriter) end() []byte {
	for _, f := range w.extra {
		w.raw(f)
	}
	return w.b
}

// parseFields calls set for every field in order. set returns false for a tag that it does not
// know; parseFields keeps those in the returned slice.
func parseFields(t Type, b []byte, set func(f Field) (known bool, err error)) ([]Field, error) {
	c := cursor{b: b}
	var extra []Field
	last := -1
	for len(c.b) > 0 {
		f := Field{Tag: c.u16()}
		f.Value = c.take(int(c.u32()))
		if c.short {
			return nil, malformed("%s is too short", t)
		}
		if int(f.Tag) <= last {
			return nil, malformed("%s: field 0x%04x out of order", t, f.Tag)
		}
		last = int(f.Tag)
		known, err := set(f)
		if err != nil {
			return nil, err
		}
		if !known && len(extra) == maxUnknown {
			return nil, malformed("%s has more than %d unknown fields", t, maxUnknown)
		}
		if !known {
			extra = append(extra, Field{f.Tag, slices.Clone(f.Value)})
		}
	}
	return extra, nil
}

// maxUnknown bounds the fields that are kept without being understood, each of which costs more memory
// than its bytes.
const maxUnknown = 64

// parseOwnFields is parseFields for messages that an unknown critical field makes meaningless. A
// request is refused for one in words instead, see Run.Validate.
func parseOwnFields(t Type, b []byte, set func(f Field) (known bool, err error)) ([]Field, error) {
	extra, err := parseFields(t, b, set)
	if tag, ok := unknownCritical(extra); ok && err == nil {
		err = malformed("%s: unknown critical field 0x%04x", t, tag)
	}
	return extra, err
}

// The scalar readers below refuse defaults, which the encoding leaves out.

func (f Field) u64() (uint64, error) {
	if len(f.Value) != 8 {
		return 0, malformed("field 0x%04x has %d bytes, want 8", f.Tag, len(f.Value))
	}
	v := binary.BigEndian.Uint64(f.Value)
	if v == 0 {
		return 0, malformed("field 0x%04x is zero", f.Tag)
	}
	return v, nil
}

func (f Field) flag() (bool, error) {
	if len(f.Value) != 1 || f.Value[0] != 1 {
		return false, malformed("field 0x%04x is not a flag", f.Tag)
	}
	return true, nil
}

func (f Field) bytes(limit int) ([]byte, error) {
	if len(f.Value) == 0 {
		return nil, malformed("field 0x%04x is empty", f.Tag)
	}
	if len(f.Value) > limit {
		return nil, malformed("field 0x%04x has %d bytes, limit %d", f.Tag, len(f.Value), limit)
	}
	return slices.Clone(f.Value), nil
}

func (f Field) text(limit int) (string, error) {
	v, err := f.bytes(limit)
	return string(v), err
}

func (f Field) fixed(dst []byte) error {
	if len(f.Value) != len(dst) {
		return malformed("field 0x%04x has %d bytes, want %d", f.Tag, len(f.Value), len(dst))
	}
	copy(dst, f.Value)
	return nil
}

func (f Field) state() (v ConverterState, err error) {
	if err = f.fixed(v[:]); err == nil && v == (ConverterState{}) {
		err = malformed("field 0x%04x is zero", f.Tag)
	}
	return v, err
}

// list reads strings of u32 length each; a count needs no bound of its own, since each takes four bytes.
func (f Field) list() ([][]byte, error) {
	if len(f.Value) == 0 {
		return nil, malformed("field 0x%04x is empty", f.Tag)
	}
	c := cursor{b: slices.Clone(f.Value)}
	var items [][]byte
	for len(c.b) > 0 {
		s := c.take(int(c.u32()))
		if c.short {
			return nil, malformed("field 0x%04x: item %d is cut", f.Tag, len(items))
		}
		items = append(items, s)
	}
	return items, nil
}

// unknownCritical names the first field that must be understood and is not.
func unknownCritical(extra []Field) (uint16, bool) {
	for _, f := range extra {
		if f.Tag&Critical != 0 {
			return f.Tag, true
		}
	}
	return 0, false
}
