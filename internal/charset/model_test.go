package charset_test

import (
	"bytes"
	"unicode/utf8"

	"rexec/internal/charset"
)

// The model is the rule of Auto for a stream that is at hand as a whole: line after line, byte after
// byte, with nothing kept back and no fast path. It was written from the rule and not from the code.

// told is what a line, or the memory, is in.
type told uint8

const (
	nothing told = iota // the memory is empty; or a line has ended too early to be judged
	utf8Line
	gbLine
	rawLine
)

// Limits of the rule.
const (
	modelLimit = 4092 // bytes of a line from its first one that is not ASCII, then it is judged anew
	modelBlock = 4096 // bytes without which nothing is known of binary data
)

type model struct {
	gb     *standard
	to     charset.Mode
	memory told
	out    []byte
	lines  uint64
	inLine bool // it is counted
}

// expected converts in as Auto should, and counts the lines that it alters.
func expected(to charset.Mode, expect bool, in []byte) (out []byte, lines uint64) {
	m := model{gb: own(), to: to}
	if expect {
		m.memory = gbLine
	}
	odd := func(r rune) bool { return r < 0x07 || r > 0x0F && r < 0x20 && r != 0x1B }
	if bytes.ContainsFunc(in[:min(len(in), modelBlock)], odd) {
		return in, 0
	}
	data := bytes.IndexFunc(in, func(r rune) bool { return r < 0x07 })
	if data < 0 {
		m.text(in, true)
		return m.out, m.lines
	}
	done := m.text(in[:data], false)
	return append(m.out, in[done:]...), m.lines
}

// text converts b and returns how much of it: all, or, unless its end is the stream's, what can be
// decided about without what comes next.
func (m *model) text(b []byte, last bool) int {
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			m.out = append(m.out, b[i])
			m.inLine = m.inLine && b[i] != '\n' && b[i] != '\r'
			i++
			continue
		}
		end := len(b)
		if n := bytes.IndexAny(b[i:], "\r\n"); n >= 0 {
			end = i + n
		}
		l := modelLine{model: m, b: b[i:end], ended: last || end < len(b), letter: i > 0 && asciiLetter(b[i-1])}
		done, ok := l.convert()
		if i += done; !ok {
			return i
		}
	}
	return len(b)
}

func asciiLetter(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

// modelLine is a line from its first byte that is not ASCII on.
type modelLine struct {
	*model
	b      []byte
	ended  bool // b ends where the line does
	letter bool // an ASCII letter stands before it
	i      int
	wide   bool // the run at i has held a character of three or more bytes
}

// convert converts the line up to its end or its limit and returns how much that is; ok is false if more
// had to come for a decision.
func (l *modelLine) convert() (done int, ok bool) {
	verdict, remember := l.judge()
	if remember {
		l.memory = verdict
	}
	switch verdict {
	case nothing:
		return 0, false
	case rawLine:
		l.take(min(len(l.b), modelLimit))
		return l.i, true
	}
	l.count(verdict)
	ok = true
	for ok && l.i < len(l.b) && l.i < modelLimit {
		if verdict == gbLine {
			ok = l.gbCode()
		} else {
			ok = l.character()
		}
	}
	return l.i, ok
}

// count counts the line if text of this kind is altered in it.
func (l *modelLine) count(kind told) {
	if (kind == gbLine) == (l.to == charset.UTF8) && !l.inLine {
		l.inLine = true
		l.lines++
	}
}

// take lets n bytes through.
func (l *modelLine) take(n int) {
	l.out = append(l.out, l.b[l.i:l.i+n]...)
	l.i += n
}

// sequence reads UTF-8: the size of a character; else the index of the first byte that is wrong, or
// cut if b ends before that.
func sequence(b []byte) (size, wrong int, cut bool) {
	for n := 1; n <= len(b); n++ {
		if !utf8.FullRune(b[:n]) {
			continue
		}
		if r, size := utf8.DecodeRune(b[:n]); r != utf8.RuneError || size > 1 {
			return size, 0, false
		}
		return 0, n - 1, false
	}
	return 0, 0, true
}

// judge gives the verdict on the line, and says whether the next ones are judged by it too.
func (l *modelLine) judge() (verdict told, remember bool) {
	text := l.b[:min(len(l.b), modelLimit)]
	wide := 0
	for n := 0; n < len(text); {
		size, wrong, cut := sequence(text[n:])
		switch {
		case cut && len(l.b) > modelLimit:
			text = text[:n]
		case cut:
			return l.cutTail(n, wide)
		case size == 0:
			verdict = l.contradicted(l.b, n+wrong)
			return verdict, verdict == gbLine
		case size > 2:
			wide++
		}
		if n += size; wide == 2 {
			return utf8Line, true
		}
	}
	if !l.ended && len(l.b) <= modelLimit {
		return nothing, false
	}
	return l.tie(text, wide)
}

// contradicted decides where the byte at index wrong cannot be UTF-8.
func (l *modelLine) contradicted(b []byte, wrong int) told {
	codes := 0
	for i := 0; i <= wrong; {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size, cut := l.gb.code(b[i:])
		switch {
		case cut && !l.ended:
			return nothing
		case cut && codes > 0:
			return gbLine
		case cut || r == noRune || size == 1 || privateUse(r):
			return rawLine
		}
		codes++
		i += size
	}
	return gbLine
}

// cutTail decides where the line ends inside of the character at index n.
func (l *modelLine) cutTail(n, wide int) (verdict told, remember bool) {
	if !l.ended {
		return nothing, false
	}
	codes, good, whole := 0, true, true
	for i := 0; i < len(l.b) && good; {
		r, size, cut := l.gb.code(l.b[i:])
		if l.b[i] >= utf8.RuneSelf && !cut {
			codes++
			good = r != noRune && size > 1 && !privateUse(r)
		}
		whole = whole && !cut
		i += size
	}
	whole = whole && good
	switch {
	case l.memory == utf8Line, wide > 0 && l.memory == nothing, wide > 0 && !whole:
		return utf8Line, true
	case good && (codes > 1 || codes == 1 && l.memory == gbLine):
		return gbLine, true
	}
	return rawLine, false
}

func privateUse(r rune) bool { return r >= 0xE000 && r <= 0xF8FF }

// tie decides about UTF-8 that has one character of more than two bytes at most.
func (l *modelLine) tie(text []byte, wide int) (verdict told, remember bool) {
	if wide > 0 {
		return utf8Line, l.memory == nothing
	}
	common, sideBySide, touches := true, false, false
	for n := 0; n < len(text); n++ {
		if text[n] < utf8.RuneSelf {
			continue
		}
		common = common && text[n] >= 0xB0 && text[n] <= 0xD7 && text[n+1] >= 0xA1
		if n == 0 {
			touches = touches || l.letter
		} else {
			touches = touches || asciiLetter(text[n-1])
			sideBySide = sideBySide || text[n-1] >= utf8.RuneSelf
		}
		n++
		touches = touches || n+1 < len(text) && asciiLetter(text[n+1])
	}
	if l.memory != utf8Line && common && (sideBySide && !touches || l.memory == gbLine && (sideBySide || !touches)) {
		return gbLine, true
	}
	return utf8Line, l.memory != utf8Line && !common
}

// gbCode converts a code of GB 18030.
func (l *modelLine) gbCode() (ok bool) {
	r, size, cut := l.gb.code(l.b[l.i:])
	switch {
	case cut && !l.ended:
		return false
	case r == noRune || l.to != charset.UTF8:
		l.take(size)
	default:
		l.out = utf8.AppendRune(l.out, r)
		l.i += size
	}
	return true
}

// character converts a character of UTF-8, or what stands in its place.
func (l *modelLine) character() (ok bool) {
	rest := l.b[l.i:]
	size, wrong, cut := sequence(rest)
	switch {
	case cut && !l.ended:
		return false
	case cut:
		l.take(len(rest))
	case size > 0:
		l.wide = size > 2 || l.wide && size > 1
		l.encode(rest[:size])
		l.i += size
	case l.wide:
		l.take(max(1, wrong))
	default:
		return l.otherRun(rest, wrong)
	}
	return true
}

func (l *modelLine) encode(character []byte) {
	r, _ := utf8.DecodeRune(character)
	if code := l.gb.encode(r, l.to); l.to != charset.UTF8 && code != nil {
		character = code
	}
	l.out = append(l.out, character...)
}

// otherRun converts a run that is not UTF-8 in a line of UTF-8.
func (l *modelLine) otherRun(rest []byte, wrong int) (ok bool) {
	switch l.contradicted(rest, wrong) {
	case nothing:
		return false
	case rawLine:
		l.take(max(1, wrong))
		return true
	}
	l.count(gbLine)
	for l.i < len(l.b) && l.b[l.i] >= utf8.RuneSelf && l.i < modelLimit {
		if !l.gbCode() {
			return false
		}
	}
	l.wide = false
	return true
}
