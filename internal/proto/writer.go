package proto

import "io"

// smallData is the size up to which a data frame is copied behind its head and written at once; above
// it a second write is cheaper than the copy.
const smallData = 4 << 10

// Writer writes frames to one connection. It is not safe for concurrent use: one goroutine owns all
// writes to a connection at any time.
type Writer struct {
	w   io.Writer
	buf []byte
	err error // the first one: a part of a frame may have been written
}

// NewWriter returns a Writer over w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes one frame for each of the messages, in one write to the connection.
func (w *Writer) Write(messages ...Message) error {
	b := w.buf[:0]
	for _, m := range messages {
		b = AppendFrame(b, m)
	}
	return w.flush(b)
}

// Data writes a data frame of type t whose bytes start at offset of their stream. It does not keep p.
func (w *Writer) Data(t Type, offset uint64, p []byte) error {
	return w.body(AppendDataHeader(w.buf[:0], t, offset, len(p)), p)
}

// Text writes a converted frame of type t whose text is p. It does not keep p.
func (w *Writer) Text(t Type, h TextHeader, p []byte) error {
	return w.body(AppendTextHeader(w.buf[:0], t, h, len(p)), p)
}

// body writes the head b, which lies in the Writer's own buffer, and p behind it.
func (w *Writer) body(b, p []byte) error {
	if len(p) <= smallData {
		return w.flush(append(b, p...))
	}
	if v, ok := w.w.(vectorWriter); ok && w.err == nil {
		w.buf = b[:0]
		_, w.err = v.WriteVec(b, p)
		return w.err
	}
	if err := w.flush(b); err != nil {
		return err
	}
	_, w.err = w.w.Write(p)
	return w.err
}

// vectorWriter is a connection that writes two slices for the price of one.
type vectorWriter interface {
	WriteVec(head, body []byte) (int, error)
}

func (w *Writer) flush(b []byte) error {
	if cap(b) <= 2*smallData {
		w.buf = b[:0] // idle connections keep no more than this
	}
	if w.err == nil {
		_, w.err = w.w.Write(b)
	}
	return w.err
}
