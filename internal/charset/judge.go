package charset

import "unicode/utf8"

// The rule of Auto. A stream remembers which charset its last telling line was in. A line is judged at
// its first byte that is not ASCII, and what follows is kept back until one of these:
//
//  1. It is no UTF-8. Then it is GB 18030 if it is made of that charset's assigned codes as far as the
//     byte that contradicts UTF-8; else it stays as it is. A character of UTF-8 that the end of the line
//     cuts is no contradiction where the line or the memory speaks for UTF-8.
//  2. It has two characters of three or four bytes in UTF-8. Then it is UTF-8: GBK hardly ever looks so.
//  3. It ends, or nothing comes for a while. Then the tie is decided: UTF-8, unless it looks like the
//     commonest hanzi only, and two stand side by side and no ASCII letter beside any; where the memory
//     says GB 18030 one of the two is enough.
//
// The memory is the last verdict, but for lines that stayed as they are, for ties that could as well have
// been hanzi, and, once something is known, for ties with one long character. The rest of the line streams
// as the verdict says. Where UTF-8 is contradicted later, the run of non-ASCII bytes that begins there is
// judged alone. Chinese UTF-8 has characters of three bytes, and the commonest hanzi of GBK, if they happen
// to be UTF-8 at all, have two: that is why so little is enough.

// judge decides about the line whose first byte that is not ASCII is at i, and says whether the verdict
// tells something about the lines to come. The verdict is open if more input is needed.
func (s *scan) judge() (v verdict, tells bool) {
	// Most lines of GB 18030 show at once what they are, and then their ends need not be looked for.
	rest := s.b[s.i:]
	if size, bad := sequence(rest); size == 0 && bad < 2 && len(rest) >= 2 && s.t.pair(rest)&(isCode|isPrivate) == isCode {
		return asGB, true
	}
	end := s.lineEnd()
	data := end < len(s.b) && isData(s.b[end])
	v, tells = s.judgeLine(s.b[s.i:end], end < len(s.b) && !data || s.end == eof)
	if v == open && data {
		v = asRaw // a line that ends in data was none
	}
	return v, tells
}

// judgeLine is judge for what is at hand of a line; closed says that nothing more belongs to it.
func (s *scan) judgeLine(line []byte, closed bool) (v verdict, tells bool) {
	text := line[:min(len(line), unitLimit)]
	wide, n := 0, 0
	for n < len(text) {
		if text[n] < utf8.RuneSelf {
			n++
			continue
		}
		size, bad := sequence(text[n:])
		switch {
		case size == 0 && n+bad == len(text) && len(text) < len(line):
			text = text[:n] // a character straddles the limit
		case size == 0 && n+bad < len(text):
			return s.contradicted(line, n+bad, closed)
		case size == 0:
			return s.cutTail(line, wide, n, closed)
		case size > 2:
			if wide++; wide == 2 {
				return asUTF8, true
			}
		}
		n += size
	}
	if !closed && len(text) == len(line) && s.end == more {
		return open, false
	}
	return s.tie(text, wide)
}

// contradicted decides about a line whose byte at index bad is not UTF-8.
func (s *scan) contradicted(line []byte, bad int, closed bool) (v verdict, tells bool) {
	whole, ok, cut := s.t.codes(line, bad)
	switch {
	case !ok:
		return asRaw, false
	case !cut, whole > 0 && (closed || s.end == idle):
		return asGB, true
	case closed:
		return asRaw, false
	}
	return open, false
}

// cutTail decides about a line that ends, for now or for good, inside of a character of UTF-8, which
// begins at index n.
func (s *scan) cutTail(line []byte, wide, n int, closed bool) (v verdict, tells bool) {
	if !closed {
		if s.end == idle && n > 0 {
			return s.tie(line[:n], wide)
		}
		return open, false
	}
	whole, ok, cut := s.t.codes(line, len(line))
	allCodes := ok && !cut
	if s.memory == asUTF8 || wide > 0 && (s.memory != asGB || !allCodes) {
		return asUTF8, true
	}
	if ok && (whole > 1 || whole == 1 && s.memory == asGB) {
		return asGB, true
	}
	return asRaw, false
}

// tie decides about text that is UTF-8 with at most one character of more than two bytes.
func (s *scan) tie(text []byte, wide int) (v verdict, tells bool) {
	if wide > 0 {
		return asUTF8, s.memory == open
	}
	if s.memory == asUTF8 {
		return asUTF8, false
	}
	side, touches, ok := s.hanzi(text)
	if ok && (side && !touches || s.memory == asGB && (side || !touches)) {
		return asGB, true
	}
	return asUTF8, !ok // what no hanzi are, is as telling as two long characters
}

// hanzi reads text, whose non-ASCII bytes are two-byte characters of UTF-8, as GB 18030. ok says that
// they are all of the commonest hanzi (GB 2312, level 1: rows B0 to D7); side that two stand side by side,
// touches that an ASCII letter stands beside one.
func (s *scan) hanzi(text []byte) (side, touches, ok bool) {
	letter := s.letter
	if s.i > 0 {
		letter = isLetter(s.b[s.i-1])
	}
	inRun := false
	for n := 0; n < len(text); {
		if text[n] < utf8.RuneSelf {
			letter = isLetter(text[n])
			touches = touches || letter && inRun
			inRun = false
			n++
			continue
		}
		if text[n] < 0xB0 || text[n] > 0xD7 || text[n+1] < 0xA1 {
			return side, touches, false
		}
		touches, side = touches || letter, side || inRun
		letter, inRun = false, true
		n += 2
	}
	return side, touches, true
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// codes reads b as GB 18030 as far as the byte at index upto, the code that holds it included, and
// counts the codes. ok says that all are assigned and none is for private use; cut that b ends inside of
// the last one.
func (t *tables) codes(b []byte, upto int) (whole int, ok, cutOff bool) {
	for i := 0; i <= upto && i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		if i+1 < len(b) {
			if v := t.pair(b[i:]); v&(isCode|isPrivate) == isCode {
				whole++
				i += 2
				continue
			}
		}
		k, n, r := t.next(b[i:])
		switch {
		case k == cut:
			return whole, true, true
		case k != double && k != quadruple || private(r):
			return whole, false, false
		}
		whole++
		i += n
	}
	return whole, true, false
}
