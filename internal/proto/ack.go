package proto

// Stream names a byte stream of an execution. The numbers are those of the file descriptors.
type Stream uint8

// The streams.
const (
	Stdin  Stream = 0
	Stdout Stream = 1
	Stderr Stream = 2
)

// String is the stream's usual name.
func (s Stream) String() string {
	return [...]string{"stdin", "stdout", "stderr"}[min(s, Stderr)]
}

// Type is the data frame that carries the stream.
func (s Stream) Type() Type {
	return [...]Type{TypeStdin, TypeStdout, TypeStderr}[min(s, Stderr)]
}

// Ack is the credit of a stream: its receiver has taken all bytes before Offset for good, and is
// ready for Window more.
type Ack struct {
	Stream Stream
	Offset uint64
	Window uint32 // bytes beyond Offset
}

// Closed as an offset says that the receiver wants no more of the stream: the command closed its
// stdin, or the client's stdout is gone and the command is to see that as it would a closed pipe.
const Closed = 1<<64 - 1

// Append appends the message.
func (m *Ack) Append(b []byte) []byte {
	return appendU32(appendU64(append(b, byte(TypeAck), byte(m.Stream)), m.Offset), m.Window)
}

// ParseAck parses a payload.
func ParseAck(b []byte) (Ack, error) {
	c := cursor{b: b}
	m := Ack{Stream: Stream(c.u8()), Offset: c.u64(), Window: c.u32()}
	if err := c.end(TypeAck); err != nil {
		return m, err
	}
	if m.Stream > Stderr {
		return m, malformed("ack of stream %d", m.Stream)
	}
	return m, nil
}
