package charset

import (
	_ "embed"
	"encoding/binary"
	"sort"
	"sync"
	"unicode/utf8"
)

// packed is made by gen.go from the indexes of the Encoding Standard.
//
//go:generate go run gen.go ../../../shared/whatwg
//go:embed tables.bin
var packed string //nolint:gochecknoglobals // go:embed can set nothing else

// Sizes of the standard's indexes.
const (
	leads      = 0xFE - 0x81 + 1
	trails     = 0x7E - 0x40 + 1 + 0xFE - 0x80 + 1
	rangeCount = 207
)

// tables are the standard's indexes in the form in which they are looked up.
type tables struct {
	// decode has an entry for every pair of bytes, the first one in the low half of its index as a
	// little-endian load gives it. The low 24 bits are the character in UTF-8, its first byte lowest.
	// Zero is no code of two bytes.
	decode [1 << 16]uint32
	// encode has the code of two bytes of every character of the BMP from U+1000 on, its first byte in
	// the low half; zero if there is none. Below lie the overlong readings of three bytes, which must
	// find nothing here; what they would be is in low.
	encode [1 << 16]uint16
	low    [lowEnd]uint16
	ranges [rangeCount]span
}

// lowEnd is the first character of which all three-byte sequences with its lead byte are its own.
const lowEnd = 0x1000

// Bits of a decode entry.
const (
	isCode    = 1 << 31 // a code of two bytes
	isThree   = 1 << 30 // its character has three bytes in UTF-8; else it has two
	isPrivate = 1 << 29 // its character is for private use
)

// span is the beginning of a range of four-byte codes whose characters follow one another.
type span struct{ pointer, point uint32 }

// loaded builds the tables once, when they are first needed.
var loaded = sync.OnceValue(load) //nolint:gochecknoglobals // built once and never changed

func load() *tables {
	t := new(tables)
	p := unpacker(packed)
	t.loadIndex(&p)
	var last span
	for i := range t.ranges {
		last.pointer += uint32(p.uvarint())
		last.point += uint32(p.uvarint())
		t.ranges[i] = last
	}
	for _, l := range legacy() {
		*t.slot(l.point) = l.code
	}
	*t.slot(euro) = 0 // its code depends on the charset
	return t
}

func (t *tables) loadIndex(p *unpacker) {
	expected, run := int64(0), uint64(0)
	for pointer := range leads * trails {
		if run > 0 {
			run--
		} else if d := p.varint(); d != 0 {
			expected += d
		} else {
			run = p.uvarint()
		}
		t.add(pointer, rune(expected))
		expected++
	}
}

// add enters one row of the index.
func (t *tables) add(pointer int, r rune) {
	lead, trail := pointer/trails+0x81, pointer%trails+0x40
	if trail >= 0x7F {
		trail++
	}
	code := uint16(trail<<8 | lead)
	var b [4]byte
	v := uint32(isCode)
	if utf8.EncodeRune(b[:], r) == 3 {
		v |= isThree
	}
	if private(r) {
		v |= isPrivate
	}
	t.decode[code] = v | binary.LittleEndian.Uint32(b[:])
	if slot := t.slot(r); *slot == 0 { // of two pointers the first one counts ("index pointer")
		*slot = code
	}
}

// slot is where the two-byte code of a character of the BMP is kept.
func (t *tables) slot(r rune) *uint16 {
	if r < lowEnd {
		return &t.low[r]
	}
	return &t.encode[r]
}

// code is the two-byte code of a character, as slot has it; zero if there is none.
func (t *tables) code(r rune) uint16 {
	if r > 0xFFFF {
		return 0
	}
	return *t.slot(r)
}

// private reports whether r is one of the BMP's characters for private use.
func private(r rune) bool { return r >= 0xE000 && r <= 0xF8FF }

// unpacker reads the varints of packed. Its input is part of the program and so needs no checks.
type unpacker string

func (p *unpacker) uvarint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		c := (*p)[0]
		*p = (*p)[1:]
		if v |= uint64(c&0x7F) << shift; c < 0x80 {
			return v
		}
	}
}

// varint undoes the zigzag of binary.AppendVarint.
func (p *unpacker) varint() int64 {
	v := p.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// legacy are the characters for private use that stood for 18 codes before the edition of 2022. They
// still encode to them, although these decode to assigned characters now (gb18030 encoder, step 5).
func legacy() []struct {
	point rune
	code  uint16
} {
	return []struct {
		point rune
		code  uint16
	}{
		{0xE81E, 0x59FE}, {0xE826, 0x61FE}, {0xE82B, 0x66FE}, {0xE82C, 0x67FE}, {0xE832, 0x6DFE}, {0xE843, 0x7EFE},
		{0xE854, 0x90FE}, {0xE864, 0xA0FE}, {0xE78D, 0xD9A6}, {0xE78E, 0xDAA6}, {0xE78F, 0xDBA6}, {0xE790, 0xDCA6},
		{0xE791, 0xDDA6}, {0xE792, 0xDEA6}, {0xE793, 0xDFA6}, {0xE794, 0xECA6}, {0xE795, 0xEDA6}, {0xE796, 0xF3A6},
	}
}

// Four-byte codes that the ranges do not tell (index gb18030 ranges code point, and pointer).
const (
	gapStart, gapEnd = 39420, 189000 // pointers between the BMP and the other planes that are no codes
	lastPointer      = 1237575       // U+10FFFF
	oddPointer       = 7457          // of U+E7C7
	oddPoint         = 0xE7C7
	unencodable      = 0xE5E5 // it has no code at all
	noPoint          = rune(-1)
)

// point is the character of a four-byte code's pointer; noPoint if there is none.
func (t *tables) point(pointer uint32) rune {
	switch {
	case pointer >= gapStart && pointer < gapEnd || pointer > lastPointer:
		return noPoint
	case pointer == oddPointer:
		return oddPoint
	}
	s := t.ranges[searchRanges(t, func(s span) bool { return s.pointer > pointer })]
	return rune(s.point + pointer - s.pointer)
}

// pointer is the inverse of point for a character without a two-byte code.
func (t *tables) pointer(r rune) uint32 {
	if r == oddPoint {
		return oddPointer
	}
	s := t.ranges[searchRanges(t, func(s span) bool { return s.point > uint32(r) })]
	return s.pointer + uint32(r) - s.point
}

// searchRanges returns the last range that is not beyond what is looked for.
func searchRanges(t *tables, beyond func(span) bool) int {
	return sort.Search(len(t.ranges), func(i int) bool { return beyond(t.ranges[i]) }) - 1
}
