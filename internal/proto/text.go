package proto

import "math"

// ConverterState is what a converter of output carries from one frame to the next. It is opaque to a
// client, which sends the last one back when it resumes a stream. The zero value is the state of a
// converter that begins anew.
type ConverterState [stateLen]byte

const stateLen = 16

// TextHeader stands before the bytes of a StdoutText or StderrText, which are Length bytes of the
// command's own output from Offset on, converted.
type TextHeader struct {
	Offset uint64         // in bytes as the command wrote them, as of every other frame of the stream
	Length uint32         // such bytes that the frame stands for, at least 1
	State  ConverterState // behind them
}

// textHeader is the size of a TextHeader on the wire.
const textHeader = 8 + 4 + stateLen

// TextHeaderLen is the size of what stands before the text of a converted frame.
const TextHeaderLen = 4 + 1 + textHeader

// AppendTextHeader appends the head of a frame of type t with n bytes of text, which follow from
// wherever they lie.
func AppendTextHeader(b []byte, t Type, h TextHeader, n int) []byte {
	b = appendU32(b, uint32(1+textHeader+n))
	b = appendU64(append(b, byte(t)), h.Offset)
	return append(appendU32(b, h.Length), h.State[:]...)
}

// parseTextHeader parses the front of a payload. A frame that stands for nothing would let a server
// send without end and without credit.
func parseTextHeader(b []byte) (TextHeader, error) {
	c := cursor{b: b}
	h := TextHeader{Offset: c.u64(), Length: c.u32()}
	c.fill(h.State[:])
	switch {
	case c.short:
		return h, malformed("text frame without a header")
	case h.Length == 0:
		return h, malformed("text frame for no bytes")
	case h.Offset > math.MaxUint64-uint64(h.Length):
		return h, malformed("text frame for %d bytes at offset %d", h.Length, h.Offset)
	}
	return h, nil
}
