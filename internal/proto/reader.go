package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// FrameError says why a frame's head was refused. Nothing of the payload was read or allocated.
type FrameError struct {
	Type   Type // 0 if the length alone was wrong
	Length uint32
	Limit  int
}

func (e *FrameError) Error() string {
	if e.Length == 0 {
		return "empty frame"
	}
	if e.Type == 0 {
		return fmt.Sprintf("frame of %d bytes, limit %d", e.Length, e.Limit)
	}
	return fmt.Sprintf("frame of %d bytes (%s), limit %d", e.Length, e.Type, e.Limit)
}

// Reader reads frames. It reads no byte beyond the frame that it was asked for, so a connection can
// be handed from one Reader to the next.
type Reader struct {
	r    io.Reader
	max  int // limit for every type while the peer is unproven; 0 = by type
	left int // bytes of the current payload not yet read
	head [TextHeaderLen]byte
	buf  []byte
	err  error // the first one: behind it nobody knows where a frame begins
}

func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	return err
}

// NewUnprovenReader reads frames of at most MaxUnproven bytes.
func NewUnprovenReader(r io.Reader) *Reader { return &Reader{r: r, max: MaxUnproven} }

// NewReader reads frames whose limits are those of their types.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next reads the head of the next frame, skipping what is left of the last one, and returns its type
// and the length of its payload. It returns io.EOF between frames only; inside one the end of the
// stream is io.ErrUnexpectedEOF. A *FrameError means that the peer broke a limit.
func (r *Reader) Next() (Type, int, error) {
	if r.err != nil {
		return 0, 0, r.err
	}
	if err := r.skip(); err != nil {
		return 0, 0, r.fail(err)
	}
	head := r.head[:4]
	if _, err := io.ReadFull(r.r, head); err != nil {
		return 0, 0, r.fail(err)
	}
	n := binary.BigEndian.Uint32(head)
	// No frame of any type is larger than the largest of these.
	limit := max(maxFrame(TypeRun), maxFrame(TypeStdin), maxFrame(TypeStdoutText))
	if r.max != 0 {
		limit = r.max
	}
	if n == 0 || uint64(n) > uint64(limit) {
		return 0, 0, r.fail(&FrameError{Length: n, Limit: limit})
	}
	if _, err := io.ReadFull(r.r, head[:1]); err != nil {
		return 0, 0, r.fail(noEOF(err))
	}
	t := Type(head[0])
	if limit = maxFrame(t); r.max == 0 && int(n) > limit {
		return 0, 0, r.fail(&FrameError{Type: t, Length: n, Limit: limit})
	}
	r.left = int(n) - 1
	return t, r.left, nil
}

// Payload reads the rest of the current frame. The slice is valid until the next call. Memory grows
// with the bytes that arrive, never with what the length claims.
func (r *Reader) Payload() ([]byte, error) {
	const step = 16 << 10
	if r.err != nil {
		return nil, r.err
	}
	buf := r.buf[:0]
	for r.left > 0 {
		n := min(r.left, step)
		if cap(buf)-len(buf) < n {
			grown := make([]byte, len(buf), max(2*cap(buf), len(buf)+n))
			copy(grown, buf)
			buf = grown
		}
		got, err := io.ReadFull(r.r, buf[len(buf):len(buf)+n])
		buf = buf[:len(buf)+got]
		r.left -= got
		if err != nil {
			return nil, r.fail(noEOF(err))
		}
	}
	// A large request must not stay in the memory of a connection that is idle afterwards.
	if cap(buf) <= MaxUnproven {
		r.buf = buf
	} else {
		r.buf = nil
	}
	return buf, nil
}

// Offset reads the offset at the front of a data frame.
func (r *Reader) Offset() (uint64, error) {
	if r.left < 8 {
		return 0, malformed("data frame without an offset")
	}
	b := r.head[5:DataHeaderLen]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return 0, r.fail(noEOF(err))
	}
	r.left -= 8
	return binary.BigEndian.Uint64(b), nil
}

// TextHeader reads what stands before the text of a converted frame.
func (r *Reader) TextHeader() (TextHeader, error) {
	b := r.head[5:TextHeaderLen]
	if r.left < len(b) {
		return parseTextHeader(nil)
	}
	if _, err := io.ReadFull(r.r, b); err != nil {
		return TextHeader{}, r.fail(noEOF(err))
	}
	r.left -= len(b)
	return parseTextHeader(b)
}

// Left is the number of bytes of the current payload that are still to be read.
func (r *Reader) Left() int { return r.left }

// Fill reads from the current payload until p is full or the payload ends, and returns io.EOF only
// with the payload's last byte or after it.
func (r *Reader) Fill(p []byte) (int, error) {
	n, err := io.ReadFull(r.r, p[:min(len(p), r.left)])
	r.left -= n
	if err != nil {
		return n, r.fail(noEOF(err))
	}
	if r.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Read reads from the current payload into p and returns io.EOF at its end, so that data goes
// straight to where it is wanted.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	switch {
	case err == nil:
		return n, nil
	case r.left == 0 && errors.Is(err, io.EOF):
		return n, nil // the next call says it
	}
	return n, r.fail(noEOF(err))
}

// skip discards what is left of the current payload.
func (r *Reader) skip() error {
	for r.left > 0 {
		n, err := io.CopyN(io.Discard, r.r, int64(r.left))
		r.left -= int(n)
		if err != nil {
			return noEOF(err)
		}
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
