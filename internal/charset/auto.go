package charset

import "unicode/utf8"

// verdict is what a line is in.
type verdict uint8

const (
	open verdict = iota // nothing tells yet
	asUTF8
	asGB
	asRaw // neither
)

const (
	// unitLimit is where a line without an end is cut and judged anew, in bytes from its first one that
	// is not ASCII. A character that straddles the limit still belongs to it.
	unitLimit = MaxHold - 4
	// firstBlock is how much of a stream must look like text before anything is converted.
	firstBlock = 4 << 10
)

// passable reports whether ASCII may go through as it comes.
func (c *Converter) passable() bool { return c.unit == open && len(c.hold) == 0 && !c.binary }

// plainText is the length of src's longest prefix that may go through: ASCII, which at the beginning of the
// stream has to look like text as well.
func (c *Converter) plainText(src []byte) int {
	n := plain(src)
	if !c.tested() {
		block := src[:min(n, firstBlock-int(c.seen))]
		if k := textual(block); k < len(block) {
			return k
		}
	}
	return n
}

// passed notes that the first n bytes of b, which are whole characters, went out unchanged, and returns
// the rest.
func (c *Converter) passed(b []byte, n int) []byte {
	if n > 0 {
		c.saw(n)
		c.behind(b[:n])
	}
	return b[n:]
}

// behind notes what the next line must know of the text before it, which is not empty.
func (c *Converter) behind(b []byte) {
	c.letter = isLetter(b[len(b)-1])
	if c.inLine && lastLineEnd(b) > 0 {
		c.inLine = false
	}
}

// saw counts bytes that were looked at for binary data.
func (c *Converter) saw(n int) { c.seen = uint16(min(firstBlock, int(c.seen)+n)) }

// tested reports whether the stream has been found to be text.
func (c *Converter) tested() bool { return c.seen >= firstBlock }

// validLines is the length of the whole lines of UTF-8 text that b begins with.
func validLines(b []byte) int {
	end := lastLineEnd(b)
	if n := valid(b[:end]); n < end {
		end = lastLineEnd(b[:n])
	}
	if n := noData(b[:end]); n < end {
		end = lastLineEnd(b[:n])
	}
	return end
}

// scan is one call of auto: a walk over its input.
type scan struct {
	*Converter
	dst   []byte
	b     []byte
	i     int // everything before is converted
	end   ending
	halt  int // the next end of a line, or data, at or behind some earlier i
	lines int // behind the last line end of b
	mixed int // before it, whole lines need not be looked for again
}

func (c *Converter) auto(dst, b []byte, end ending) ([]byte, int) {
	s := scan{Converter: c, dst: dst, b: b, end: end, halt: -1, lines: lastLineEnd(b)}
	for s.i < len(b) && s.step() {
	}
	if s.i > 0 {
		c.letter = isLetter(b[s.i-1])
	}
	return s.dst, s.i
}

// step converts a part of the input, and reports whether it could.
func (s *scan) step() bool {
	switch {
	case s.binary:
		s.emit(len(s.b))
		return true
	case s.unit == asUTF8:
		return s.utf8Unit()
	case s.unit == asGB:
		return s.gbUnit()
	case s.unit == asRaw:
		s.emit(min(s.lineEnd(), s.i+s.room()))
		s.finish()
		return true
	}
	if n := plain(s.b[s.i:]); n > 0 {
		s.behind(s.b[s.i : s.i+n])
		if s.emit(s.i + n); s.i == len(s.b) {
			return true
		}
	}
	if s.b[s.i] < utf8.RuneSelf {
		s.startData()
		return true
	}
	if s.memory == asUTF8 && s.to == UTF8 && s.i < s.lines && s.i >= s.mixed {
		if n := validLines(s.b[s.i:s.lines]); n > 0 {
			s.emit(s.i + n)
			s.inLine = false
			return true
		}
		s.mixed = s.lineEnd()
	}
	v, tells := s.judge()
	if v == open || !s.mayBegin(v) {
		return false
	}
	if tells {
		s.memory = v
	}
	s.unit, s.size, s.wide, s.inRun = v, 0, false, false
	s.other = s.other || v == asRaw
	return true
}

// emit passes the input up to index end through.
func (s *scan) emit(end int) {
	s.dst = append(s.dst, s.b[s.i:end]...)
	s.advance(end)
}

// advance notes that the input up to index end is converted.
func (s *scan) advance(end int) {
	if s.unit != open {
		s.size += uint16(end - s.i)
	}
	s.i = end
}

// room is how much of the line may still come before it is cut.
func (s *scan) room() int { return max(0, unitLimit-int(s.size)) }

// finish ends the line if it has come to its end or its limit, which it takes along.
func (s *scan) finish() {
	over := s.room() == 0
	if s.i < len(s.b) && s.i == s.lineEnd() {
		if isData(s.b[s.i]) {
			s.startData()
			return
		}
		s.dst = append(s.dst, s.b[s.i])
		s.i++
		s.inLine, over = false, true
	}
	if over {
		s.unit, s.size, s.wide, s.inRun = open, 0, false, false
	}
}

// startData notes that from here on the stream is no text.
func (s *scan) startData() {
	s.binary, s.unit = true, open
}

// lineEnd is the index of the next LF or CR, or of data; len(b) if there is none.
func (s *scan) lineEnd() int {
	if s.halt < s.i {
		s.halt = s.i + lineStop(s.b[s.i:])
	}
	return s.halt
}

// mayBegin reports whether a verdict may be acted on. The first one that alters bytes has to wait until
// enough of the stream was seen to know that it is text.
func (s *scan) mayBegin(v verdict) bool {
	if v != asGB && v != asUTF8 || (v == asGB) != (s.to == UTF8) {
		return true // nothing is altered
	}
	if !s.tested() && s.end == more {
		return false
	}
	s.seen = firstBlock
	if !s.inLine {
		s.inLine = true
		s.state.lines++
	}
	return true
}

// gbUnit converts a line of GB 18030, as far as it is at hand.
func (s *scan) gbUnit() bool {
	limit := min(len(s.b), s.i+s.room())
	closed := s.end == eof
	n := s.gb(limit-s.i, closed && limit == len(s.b))
	s.advance(s.i + n)
	switch {
	case s.i == limit:
	case s.b[s.i] < ' ':
		s.halt = s.i
		if c := s.b[s.i]; c != '\n' && c != '\r' && !isData(c) {
			s.emit(s.i + 1)
			s.halt = -1
		}
	case limit == len(s.b):
		return false
	default: // a code straddles the limit
		k, size, _ := s.t.next(s.b[s.i:])
		if k == cut && !closed {
			return false
		}
		s.advance(s.i + s.gb(size, true))
	}
	s.finish()
	return true
}

// gb converts the next n bytes, codes of GB 18030, up to a control character, and returns how many of
// them it took: all but a code that is cut at the end, unless closed says that nothing belongs to it.
func (s *scan) gb(n int, closed bool) int {
	how := keep | stop
	if closed {
		how |= last
	}
	if s.to == UTF8 {
		s.dst, n = s.t.decodeGB(s.dst, s.b[s.i:], n, how)
		return n
	}
	text := s.b[s.i : s.i+n]
	for n = 0; n < len(text) && text[n] >= ' '; {
		k, size, _ := s.t.next(text[n:])
		if k == cut && !closed {
			break
		}
		n += size
	}
	s.dst = append(s.dst, text[:n]...)
	return n
}

// utf8Unit converts a line of UTF-8, as far as it is at hand.
func (s *scan) utf8Unit() bool {
	if s.inRun {
		return s.gbRun()
	}
	end := s.lineEnd()
	closed := end < len(s.b) || s.end == eof
	stop := min(end, s.i+s.room())
	text := s.b[s.i:stop]
	n := valid(text)
	s.utf8(text[:n])
	s.wide = wideRun(text[:n], s.wide)
	if s.advance(s.i + n); s.i == stop {
		s.finish()
		return true
	}
	rest := s.b[s.i:end]
	size, bad := sequence(rest)
	switch {
	case size > 0: // it straddles the limit
		s.utf8(rest[:size])
		s.advance(s.i + size)
	case bad == len(rest) && !closed:
		return false
	case bad == len(rest), s.wide: // cut, or broken
		s.emit(s.i + max(1, bad))
	default:
		return s.otherRun(rest, bad, closed)
	}
	s.finish()
	return true
}

// utf8 converts valid UTF-8.
func (s *scan) utf8(b []byte) {
	if s.to == UTF8 {
		s.dst = append(s.dst, b...)
	} else {
		s.dst, _ = s.t.encodeGB(s.dst, b, s.to, last|keep)
	}
}

// wideRun reports whether the run of non-ASCII bytes at b's end has a lead byte of three or more; what
// stands before b says before.
func wideRun(b []byte, before bool) bool {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < utf8.RuneSelf {
			return false
		}
		if b[i] >= 0xE0 {
			return true
		}
	}
	return before
}

// otherRun decides about a run in a line of UTF-8 that is not UTF-8 from its beginning on: an ls -l line can
// hold the month in UTF-8 and a name in GBK.
func (s *scan) otherRun(rest []byte, bad int, closed bool) bool {
	switch v, _ := s.contradicted(rest, bad, closed); v {
	case open:
		return false
	case asGB:
		if !s.mayBegin(asGB) {
			return false
		}
		s.inRun = true
		return true
	}
	s.emit(s.i + max(1, bad))
	s.finish()
	return true
}

// gbRun converts a run of GB 18030 in a line of UTF-8, up to the next ASCII character.
func (s *scan) gbRun() bool {
	end := s.lineEnd()
	closed := end < len(s.b) || s.end == eof
	for s.i < end && s.room() > 0 && s.inRun {
		rest := s.b[s.i:end]
		k, size, _ := s.t.next(rest)
		switch {
		case k == cut && !closed:
			return false
		case rest[0] < utf8.RuneSelf:
			s.inRun, s.wide = false, false
		default:
			s.advance(s.i + s.gb(size, true))
		}
	}
	s.finish()
	return true
}
