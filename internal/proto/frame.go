package proto

import "encoding/binary"

// Message is anything that can stand in a frame: Append writes its type byte and payload.
type Message interface {
	Append(b []byte) []byte
}

// AppendFrame appends the frame that carries m: u32 length, then m.
func AppendFrame(b []byte, m Message) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = m.Append(b)
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// DataHeaderLen is the size of what stands before the bytes of a data frame.
const DataHeaderLen = 4 + 1 + 8

// AppendDataHeader appends the head of a data frame of type t whose n bytes start at offset of
// their stream. The bytes follow from wherever they lie, so that they are never copied to be framed.
func AppendDataHeader(b []byte, t Type, offset uint64, n int) []byte {
	b = appendU32(b, uint32(1+8+n))
	b = append(b, byte(t))
	return appendU64(b, offset)
}
