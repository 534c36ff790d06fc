package charset_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"rexec/internal/charset"
)

// The reference: the gb18030 decoder and encoder of the Encoding Standard, step by step as they stand
// there and with no thought of speed. It shares nothing with the package under test.

// standard are the two indexes of the standard.
type standard struct {
	index  []rune        // of index gb18030, by pointer
	first  map[rune]int  // the first pointer of each of its characters
	ranges []standardRow // of index gb18030 ranges
}

type standardRow struct {
	pointer int
	point   rune
}

const (
	pairs      = 126 * 190
	rangeRows  = 207
	fourCodes  = 126 * 10 * 126 * 10
	noRune     = rune(-1)
	endOfQueue = -1
)

func newStandard(index []rune, ranges []standardRow) *standard {
	s := &standard{index, map[rune]int{}, ranges}
	for pointer, r := range index {
		if _, ok := s.first[r]; !ok {
			s.first[r] = pointer
		}
	}
	return s
}

// published reads the files of the standard, which stand beside the project. It is the authority; a test
// that can do with what the package itself says uses own.
func published(t *testing.T) *standard {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "whatwg")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the standard's index files are not at hand: ", err)
	}
	var index []rune
	for _, r := range readIndex(t, filepath.Join(dir, "index-gb18030.txt")) {
		if r.pointer != len(index) {
			t.Fatalf("pointer %d follows %d", r.pointer, len(index)-1)
		}
		index = append(index, r.point)
	}
	ranges := readIndex(t, filepath.Join(dir, "index-gb18030-ranges.txt"))
	if len(index) != pairs || len(ranges) != rangeRows {
		t.Fatalf("%d and %d rows, want %d and %d", len(index), len(ranges), pairs, rangeRows)
	}
	return newStandard(index, ranges)
}

func readIndex(t *testing.T, name string) []standardRow {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var rows []standardRow
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		var r standardRow
		if _, err := fmt.Sscan(fields[0]+" "+fields[1], &r.pointer, &r.point); err != nil {
			t.Fatalf("%s: %q: %v", name, line, err)
		}
		rows = append(rows, r)
	}
	return rows
}

// own are the indexes as the package itself decodes them code by code, for tests of how it finds its way
// in a stream. That they are right is for TestTables to say.
var own = sync.OnceValue(func() *standard {
	one := func(code ...byte) rune {
		c := charset.NewConverter(charset.GB18030, charset.UTF8)
		r := []rune(string(c.Close(c.Append(nil, code))))
		if len(r) != 1 {
			panic(fmt.Sprintf("internal error: %x is %q", code, r))
		}
		return r[0]
	}
	index := make([]rune, pairs)
	for pointer := range index {
		index[pointer] = one(pairCode(pointer)...)
	}
	var ranges []standardRow
	for pointer := range 39420 { // a range begins where characters do not follow one another
		r := one(fourCode(pointer)...)
		if n := len(ranges); pointer != 7457 && (n == 0 || rune(pointer-ranges[n-1].pointer)+ranges[n-1].point != r) {
			ranges = append(ranges, standardRow{pointer, r})
		}
	}
	return newStandard(index, append(ranges, standardRow{189000, one(fourCode(189000)...)}))
})

func pairCode(pointer int) []byte {
	trail := pointer%190 + 0x40
	if pointer%190 >= 0x3F {
		trail++
	}
	return []byte{byte(pointer/190 + 0x81), byte(trail)}
}

func fourCode(pointer int) []byte {
	return []byte{
		byte(pointer/(10*126*10)) + 0x81, byte(pointer/(10*126)%10) + 0x30, byte(pointer/10%126) + 0x81, byte(pointer%10) + 0x30,
	}
}

// rangesPoint is "index gb18030 ranges code point".
func (s *standard) rangesPoint(pointer int) rune {
	if pointer > 39419 && pointer < 189000 || pointer > 1237575 {
		return noRune
	}
	if pointer == 7457 {
		return 0xE7C7
	}
	last := s.ranges[sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].pointer > pointer })-1]
	return last.point + rune(pointer-last.pointer)
}

// rangesPointer is "index gb18030 ranges pointer".
func (s *standard) rangesPointer(point rune) int {
	if point == 0xE7C7 {
		return 7457
	}
	last := s.ranges[sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].point > point })-1]
	return last.pointer + int(point-last.point)
}

// standardDecoder is the gb18030 decoder, which is the GBK decoder too.
type standardDecoder struct {
	*standard
	first, second, third int
}

// outcome is what a handler returns.
type outcome uint8

const (
	finished outcome = iota
	goOn
	failed
	aPoint
)

// handle runs the decoder's handler for one byte. Of the bytes that it was given, restored go back to
// the queue.
func (d *standardDecoder) handle(b int) (o outcome, point rune, restored int) {
	switch {
	case b == endOfQueue && d.first == 0 && d.second == 0 && d.third == 0:
		return finished, 0, 0
	case b == endOfQueue:
		d.first, d.second, d.third = 0, 0, 0
		return failed, 0, 0
	case d.third != 0:
		return d.fourth(b)
	case d.second != 0:
		if b >= 0x81 && b <= 0xFE {
			d.third = b
			return goOn, 0, 0
		}
		d.first, d.second = 0, 0
		return failed, 0, 2
	case d.first != 0:
		return d.afterFirst(b)
	case b < 0x80:
		return aPoint, rune(b), 0
	case b == 0x80:
		return aPoint, 0x20AC, 0
	case b <= 0xFE:
		d.first = b
		return goOn, 0, 0
	}
	return failed, 0, 0
}

func (d *standardDecoder) fourth(b int) (o outcome, point rune, restored int) {
	first, second, third := d.first, d.second, d.third
	d.first, d.second, d.third = 0, 0, 0
	if b < 0x30 || b > 0x39 {
		return failed, 0, 3
	}
	point = d.rangesPoint((first-0x81)*(10*126*10) + (second-0x30)*(10*126) + (third-0x81)*10 + b - 0x30)
	if point == noRune {
		return failed, 0, 0
	}
	return aPoint, point, 0
}

func (d *standardDecoder) afterFirst(b int) (o outcome, point rune, restored int) {
	if b >= 0x30 && b <= 0x39 {
		d.second = b
		return goOn, 0, 0
	}
	lead := d.first
	d.first = 0
	offset := 0x41
	if b < 0x7F {
		offset = 0x40
	}
	if b >= 0x40 && b <= 0x7E || b >= 0x80 && b <= 0xFE {
		return aPoint, d.index[(lead-0x81)*190+b-offset], 0
	}
	if b < 0x80 {
		return failed, 0, 1
	}
	return failed, 0, 0
}

// decode decodes all of in.
func (s *standard) decode(in []byte) []byte {
	var out []byte
	d := standardDecoder{standard: s}
	for at := 0; ; {
		b := endOfQueue
		if at < len(in) {
			b = int(in[at])
			at++
		}
		o, point, restored := d.handle(b)
		at -= restored
		switch o {
		case finished:
			return out
		case failed:
			out = append(out, "\uFFFD"...)
		case aPoint:
			out = append(out, string(point)...)
		}
	}
}

// code looks at the first code of in: its character and its length, or that of what is malformed (noRune);
// cut means that in ends inside of it.
func (s *standard) code(in []byte) (point rune, size int, cut bool) {
	d := standardDecoder{standard: s}
	for at, b := range in {
		switch o, point, restored := d.handle(int(b)); o {
		case failed:
			return noRune, at + 1 - restored, false
		case aPoint:
			return point, at + 1, false
		}
	}
	return noRune, len(in), true
}

// legacyCodes is the table of the encoder's step 5.
func legacyCodes() map[rune]string {
	return map[rune]string{
		0xE78D: "\xA6\xD9", 0xE78E: "\xA6\xDA", 0xE78F: "\xA6\xDB", 0xE790: "\xA6\xDC", 0xE791: "\xA6\xDD", 0xE792: "\xA6\xDE",
		0xE793: "\xA6\xDF", 0xE794: "\xA6\xEC", 0xE795: "\xA6\xED", 0xE796: "\xA6\xF3", 0xE81E: "\xFE\x59", 0xE826: "\xFE\x61",
		0xE82B: "\xFE\x66", 0xE82C: "\xFE\x67", 0xE832: "\xFE\x6D", 0xE843: "\xFE\x7E", 0xE854: "\xFE\x90", 0xE864: "\xFE\xA0",
	}
}

// encode is the encoder's handler for one character; nil is an error.
func (s *standard) encode(point rune, to charset.Mode) []byte {
	isGBK := to == charset.GBK
	if point < 0x80 {
		return []byte{byte(point)}
	}
	if point == 0xE5E5 {
		return nil
	}
	if isGBK && point == 0x20AC {
		return []byte{0x80}
	}
	if point >= 0xE78D && point <= 0xE864 {
		if code, ok := legacyCodes()[point]; ok {
			return []byte(code)
		}
	}
	if pointer, ok := s.first[point]; ok {
		return pairCode(pointer)
	}
	if isGBK {
		return nil
	}
	return fourCode(s.rangesPointer(point))
}

// replaced is all of in through the standard's UTF-8 decoder, which gives U+FFFD for an error. errors marks
// those characters.
func replaced(in []byte) (text []rune, errors []bool) {
	needed, seen, lower, upper, point := 0, 0, 0x80, 0xBF, 0
	emit := func(r rune, isError bool) { text, errors = append(text, r), append(errors, isError) }
	for at := 0; at < len(in); at++ {
		b := int(in[at])
		if needed == 0 {
			switch {
			case b < 0x80:
				emit(rune(b), false)
			case b >= 0xC2 && b <= 0xDF:
				needed, point = 1, b&0x1F
			case b >= 0xE0 && b <= 0xEF:
				needed, point = 2, b&0xF
				lower, upper = map[int]int{0xE0: 0xA0}[b], map[int]int{0xED: 0x9F}[b]
			case b >= 0xF0 && b <= 0xF4:
				needed, point = 3, b&0x7
				lower, upper = map[int]int{0xF0: 0x90}[b], map[int]int{0xF4: 0x8F}[b]
			default:
				emit(utf8.RuneError, true)
			}
			lower, upper = cmp.Or(lower, 0x80), cmp.Or(upper, 0xBF)
			continue
		}
		if b < lower || b > upper {
			needed, seen, lower, upper, point = 0, 0, 0x80, 0xBF, 0
			emit(utf8.RuneError, true)
			at-- // b is restored
			continue
		}
		lower, upper, point, seen = 0x80, 0xBF, point<<6|b&0x3F, seen+1
		if seen == needed {
			emit(rune(point), false)
			needed, seen, point = 0, 0, 0
		}
	}
	if needed > 0 {
		emit(utf8.RuneError, true)
	}
	return text, errors
}

// forced is what a converter from a charset that is known makes of in.
func (s *standard) forced(from, to charset.Mode, in []byte) []byte {
	if from != charset.UTF8 {
		return s.decode(in)
	}
	text, errors := replaced(in)
	if to == charset.UTF8 {
		return []byte(string(text))
	}
	var out []byte
	for i, r := range text {
		code := s.encode(r, to)
		if code == nil || errors[i] && to == charset.GBK {
			code = []byte("?")
		}
		out = append(out, code...)
	}
	return out
}
