package charset

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// MaxHold is the most bytes that a Converter keeps back.
const MaxHold = 4 << 10

// MaxGrowth is the most bytes that one byte of input becomes: what is not UTF-8 is U+FFFD, which takes four
// bytes in GB 18030.
const MaxGrowth = 4

// Converter turns a stream of bytes from one charset into another, however the stream is cut into
// pieces. It is not safe for concurrent use; stdout and stderr have one each.
//
// From UTF8, GBK and GB18030, malformed input becomes U+FFFD as the Encoding Standard says, and what GBK
// lacks becomes a question mark. From Auto nothing is dropped or replaced: what is neither UTF-8 nor
// GB 18030, and what GBK lacks, stays as it is.
type Converter struct {
	t        *tables
	from, to Mode
	state
	hold []byte
}

// Converts reports whether there is anything to do between two charsets. Between the GB encodings there
// is not: what reads one of them reads the other as well as could be.
func Converts(from, to Mode) bool {
	return from != Raw && to != Raw && to != Auto && (!from.gb() || !to.gb())
}

// NewConverter returns a converter from one charset into another, of which Converts must be true.
func NewConverter(from, to Mode) *Converter {
	if !Converts(from, to) {
		panic("internal error: no conversion from " + from.String() + " to " + to.String())
	}
	return &Converter{t: loaded(), from: from, to: to}
}

// ending says what comes behind the input that is at hand.
type ending uint8

const (
	more ending = iota // more input, which is at hand or on its way
	idle               // nothing for a while
	eof                // nothing any more
)

// Append appends the conversion of src to dst, which must not overlap, and may keep back up to MaxHold
// bytes, whose meaning later ones decide. It allocates nothing if dst has room for MaxGrowth bytes for each
// of src and of Held, and 64 more. What lies in dst behind the result may be overwritten.
func (c *Converter) Append(dst, src []byte) []byte {
	if c.from != Auto {
		c.countLines(src)
		return c.feed(dst, src, more)
	}
	if c.binary {
		return append(dst, src...)
	}
	if c.passable() {
		n := c.plainText(src)
		dst, src = append(dst, src[:n]...), c.passed(src, n)
	}
	if !c.tested() {
		block := src[:min(len(src), firstBlock-int(c.seen))]
		n := textual(block)
		if c.saw(n); n < len(block) { // no text, and so nothing before it was any
			c.binary = true
			dst = append(dst, c.hold...)
			c.hold = c.hold[:0]
			return append(dst, src...)
		}
	}
	return c.feed(dst, src, more)
}

// Idle decides about what is kept back, since nothing has come for a while, and keeps at most a
// character that is not complete.
func (c *Converter) Idle(dst []byte) []byte {
	if c.from != Auto || len(c.hold) == 0 {
		return dst
	}
	return c.feed(dst, nil, idle)
}

// Close ends the stream: everything goes out.
func (c *Converter) Close(dst []byte) []byte {
	if len(c.hold) == 0 {
		return dst
	}
	return c.feed(dst, nil, eof)
}

// Held is the number of bytes that are kept back. If it is not zero, Idle should be called once nothing
// has come for a while.
func (c *Converter) Held() int { return len(c.hold) }

// PassThrough takes the leading bytes of src whose conversion is themselves and returns their number, so
// that they need not be copied. The rest is for Append.
func (c *Converter) PassThrough(src []byte) int {
	n := 0
	switch {
	case len(c.hold) > 0:
	case c.from == Auto && c.binary:
		n = len(src)
	case c.from == Auto:
		for c.passable() {
			k := c.plainText(src[n:])
			c.passed(src[n:], k)
			n += k
			k = c.passLines(src[n:])
			if n += k; k == 0 {
				break
			}
		}
	case c.from == UTF8 && c.to == UTF8:
		n = valid(src)
		c.countLines(src[:n])
	default:
		n = ascii(src)
		c.countLines(src[:n])
	}
	return n
}

// passLines takes whole lines of UTF-8 where lines before were UTF-8.
func (c *Converter) passLines(src []byte) int {
	if c.memory != asUTF8 || c.to != UTF8 {
		return 0
	}
	n := validLines(src)
	block := src[:min(n, firstBlock-int(c.seen))]
	if k := textual(block); k < len(block) {
		n = lastLineEnd(src[:k])
	}
	c.passed(src, n)
	return n
}

// feed converts what is kept back and then src, and keeps back what cannot be decided yet.
func (c *Converter) feed(dst, src []byte, end ending) []byte {
	for len(c.hold) > 0 {
		// A few bytes mostly tell; they are joined to what is kept back, and the rest is not copied.
		old := len(c.hold)
		n := min(len(src), max(old, 64))
		c.hold = append(c.hold, src[:n]...)
		then := more
		if n == len(src) {
			then = end
		}
		var used int
		dst, used = c.convert(dst, c.hold, then)
		if used >= old && n > 0 {
			c.hold, src = c.hold[:0], src[used-old:]
			break
		}
		c.hold, src = c.hold[:copy(c.hold, c.hold[used:])], src[n:]
		if len(src) == 0 {
			return dst
		}
	}
	if len(src) == 0 {
		return dst
	}
	dst, used := c.convert(dst, src, end)
	c.hold = append(c.hold, src[used:]...)
	return dst
}

// convert appends the conversion of b to dst and returns how much of b it took.
func (c *Converter) convert(dst, b []byte, end ending) ([]byte, int) {
	var how manner
	if end == eof {
		how = last
	}
	switch {
	case c.from == Auto:
		return c.auto(dst, b, end)
	case c.from == UTF8 && c.to == UTF8:
		return mendUTF8(dst, b, end == eof)
	case c.from == UTF8:
		return c.t.encodeGB(dst, b, c.to, how)
	}
	return c.t.decodeGB(dst, b, len(b), how)
}

// Expect tells a converter from Auto that GB 18030 is likely: the host's locale says so, or the other
// stream of the same command has shown it. It matters as long as the stream itself has shown nothing.
func (c *Converter) Expect() {
	if c.memory == open {
		c.memory = asGB
	}
}

// Expects reports whether GB 18030 was the last charset that the stream has shown.
func (c *Converter) Expects() bool { return c.memory == asGB }

// Lines is the number of lines that were converted: from Auto those in which at least one character
// was, else all.
func (c *Converter) Lines() uint64 { return c.lines }

// Found is what the stream was taken for. For Auto that is the charset of the lines that were converted;
// if there are none, UTF8, or Raw for a stream that was not text in either charset.
func (c *Converter) Found() Mode {
	switch {
	case c.from != Auto:
		return c.from
	case c.lines > 0 && c.to == UTF8:
		return GB18030
	case c.lines == 0 && (c.binary || c.other):
		return Raw
	case c.lines == 0 && c.to != UTF8 && c.memory == asGB:
		return GB18030
	}
	return UTF8
}

// state is what a converter knows behind the last byte that it has converted.
type state struct {
	memory verdict // of the last line that told: open, asUTF8 or asGB
	unit   verdict // of the line that the stream is in
	size   uint16  // bytes of that line since its first one that is not ASCII
	wide   bool    // the run of non-ASCII bytes that the stream is in has a byte that leads three or more
	inRun  bool    // in a line of UTF-8 the stream is in a run of GB 18030
	letter bool    // the last byte was an ASCII letter
	seen   uint16  // bytes of the stream that were looked at for binary data, up to firstBlock
	binary bool    // some data was found: nothing is converted any more
	inLine bool    // the line is counted
	other  bool    // a line was neither UTF-8 nor GB 18030
	lines  uint64
}

// State is a converter's state as bytes, to go on with elsewhere. It is never all zero.
type State [16]byte

const stateVersion = 1

// State returns the state behind the last byte that was converted; what is held comes behind it.
func (c *Converter) State() State {
	var s State
	s[0] = stateVersion
	s[1] = byte(c.memory) | byte(c.unit)<<2
	for i, flag := range []bool{c.wide, c.inRun, c.letter, c.binary, c.inLine, c.other} {
		if flag {
			s[2] |= 1 << i
		}
	}
	binary.BigEndian.PutUint16(s[4:], c.size)
	binary.BigEndian.PutUint16(s[6:], c.seenConverted())
	binary.BigEndian.PutUint64(s[8:], c.lines)
	return s
}

// errState is returned for a state that no converter has.
var errState = errors.New("not the state of a charset converter")

// Restore goes on behind the byte at which another converter between the same charsets had state s.
func (c *Converter) Restore(s State) error {
	n := state{
		memory: verdict(s[1] & 3), unit: verdict(s[1] >> 2 & 3),
		wide: s[2]&1 != 0, inRun: s[2]&2 != 0, letter: s[2]&4 != 0, binary: s[2]&8 != 0, inLine: s[2]&16 != 0,
		other: s[2]&32 != 0,
		size:  binary.BigEndian.Uint16(s[4:]), seen: binary.BigEndian.Uint16(s[6:]),
		lines: binary.BigEndian.Uint64(s[8:]),
	}
	if s[0] != stateVersion || n.memory == asRaw || n.size > unitLimit+3 || n.seen > firstBlock {
		return errState
	}
	c.state, c.hold = n, c.hold[:0]
	return nil
}

// seenConverted is seen without what is held, which will be seen again.
func (c *Converter) seenConverted() uint16 {
	if c.from != Auto || c.tested() {
		return c.seen
	}
	return c.seen - uint16(len(c.hold))
}

// countLines counts the lines of src, for charsets in which every line is converted.
func (c *Converter) countLines(src []byte) {
	if len(src) == 0 {
		return
	}
	if !c.inLine {
		c.lines++
	}
	c.lines += uint64(bytes.Count(src, []byte("\n")))
	if c.inLine = src[len(src)-1] != '\n'; !c.inLine {
		c.lines--
	}
}
