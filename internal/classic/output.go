package classic

import (
	"bytes"
	"fmt"
	"slices"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// done is the answer of a command that printed nothing, "done" in GBK. Clients compare with it.
const done = "\xd6\xb4\xd0\xd0\xb3\xc9\xb9\xa6"

// convertPiece is converted at once, so that the buffers stay small.
const convertPiece = 16 << 10

// output collects what a command prints as one text of bounded size.
type output struct {
	limit   int
	both    bool
	failed  bool // stderr is not empty
	streams [2]stream
}

// stream is stdout or stderr on its way into GBK.
type stream struct {
	first, second *charset.Converter // into UTF-8, and from there; nil: the bytes stay as they are
	middle, last  []byte             // what they made of a piece
	kept          []byte
	missing       uint64 // bytes that came behind kept
}

func newOutput(from charset.Mode, gbLocale, both bool, limit int) *output {
	o := &output{limit: limit, both: both}
	for i := range o.streams {
		if !charset.Converts(from, charset.GBK) {
			continue
		}
		// Two steps: the way from Auto to GBK leaves characters that GBK lacks as they are, and one
		// check mark in UTF-8 makes the decoder of a client refuse the whole answer.
		s := &o.streams[i]
		s.first, s.second = charset.NewConverter(from, charset.UTF8), charset.NewConverter(charset.UTF8, charset.GBK)
		if gbLocale {
			s.first.Expect()
		}
	}
	return o
}

// add takes a piece of a stream, which is not empty.
func (o *output) add(of proto.Stream, data []byte) {
	s, other := &o.streams[of-proto.Stdout], &o.streams[1-(of-proto.Stdout)]
	if of == proto.Stderr && !o.failed {
		o.failed = true
		if !o.both {
			other.kept, other.missing = nil, 0
		}
	}
	if o.failed && !o.both && of == proto.Stdout {
		return
	}
	for piece := range slices.Chunk(data, convertPiece) {
		if s.first == nil {
			o.keep(s, piece)
			continue
		}
		s.middle = s.first.Append(s.middle[:0], piece)
		o.convert(s)
	}
	if s.first != nil && s.first.Expects() {
		other.first.Expect()
	}
}

// convert takes what the first converter has made through the second one.
func (o *output) convert(s *stream) {
	// GBK as Windows has it holds a euro sign; what the clients decode with does not.
	s.last = s.second.Append(s.last[:0], bytes.ReplaceAll(s.middle, []byte("€"), []byte("?")))
	o.keep(s, s.last)
}

// keep appends what fits; of a character nothing or all. What comes behind the first byte that did not
// fit is only counted.
func (o *output) keep(s *stream, b []byte) {
	n := 0
	if s.missing == 0 {
		n = boundary(b, max(0, o.limit-len(o.streams[0].kept)-len(o.streams[1].kept)))
	}
	s.kept = append(s.kept, b[:n]...)
	s.missing += uint64(len(b) - n)
}

// answer is the whole text once the command has ended.
func (o *output) answer(x *proto.Exit) []byte {
	for i := range o.streams {
		s := &o.streams[i]
		if s.first == nil || o.failed && !o.both && i == 0 {
			continue
		}
		s.middle = s.first.Close(s.middle[:0])
		o.convert(s)
		o.keep(s, s.second.Close(nil))
	}
	text := append(o.streams[0].kept, o.streams[1].kept...)
	if n := len(o.streams[0].kept); o.streams[0].missing > 0 && n < len(text) {
		text = joined(text[:n], string(text[n:])) // a line that was cut must not go on as another one
	}
	missing := o.streams[0].missing + o.streams[1].missing
	last := ""
	switch x.State {
	case proto.StateExited, proto.StateSignaled:
		if len(text) == 0 && missing == 0 {
			text = []byte(done)
		}
	default:
		// A command that did not come to its own end must not look as if it had.
		last = string(ended(x.Reason))
	}
	return fit(text, missing, last, o.limit)
}

// notRun and ended are what there is to say about a command, in GBK.
func notRun(reason string) []byte { return inGBK("[not run: " + reason + "]") }
func ended(reason string) []byte  { return inGBK("[ended: " + reason + "]") }

func inGBK(text string) []byte {
	c := charset.NewConverter(charset.UTF8, charset.GBK)
	return c.Close(c.Append(nil, []byte(text)))
}

// fit makes an answer of at most limit bytes: the output, cut if it must be, and then in lines of their
// own how much is missing and the last word. If there is not even room for these, they are cut: a piece
// of output that looks whole would be worse.
func fit(text []byte, missing uint64, last string, limit int) []byte {
	if whole := joined(text, notes(missing, last)); len(whole) <= limit {
		return whole
	}
	keep := boundary(text, max(0, limit-1-len(notes(missing+uint64(len(text)), last))))
	missing += uint64(len(text) - keep)
	answer := joined(text[:keep], notes(missing, last))
	return answer[:boundary(answer, limit)]
}

func notes(missing uint64, last string) string {
	if missing == 0 {
		return last
	}
	text := fmt.Sprintf("[%d bytes missing]", missing)
	if last != "" {
		text += "\n" + last
	}
	return text
}

// joined puts notes behind a text, on a line of their own.
func joined(text []byte, notes string) []byte {
	if notes == "" {
		return text
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		notes = "\n" + notes
	}
	return append(slices.Clip(text), notes...)
}

// boundary is the largest number of bytes, at most n, that leaves no character of a GBK text in two.
func boundary(b []byte, n int) int {
	if n >= len(b) {
		return len(b)
	}
	i := 0
	for i < n {
		k := width(b[i:])
		if i+k > n {
			break
		}
		i += k
	}
	return i
}

// width is the size of the first character, also of one with four bytes, which only GB 18030 has.
func width(b []byte) int {
	if !lead(b[0]) || len(b) < 2 {
		return 1
	}
	switch c := b[1]; {
	case c >= 0x40 && c != 0x7f && c != 0xff:
		return 2
	case digit(c) && len(b) >= 4 && lead(b[2]) && digit(b[3]):
		return 4
	}
	return 1
}

func lead(c byte) bool  { return c >= 0x81 && c != 0xff }
func digit(c byte) bool { return c >= '0' && c <= '9' }
