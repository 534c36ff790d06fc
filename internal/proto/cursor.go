package proto

import "encoding/binary"

// cursor reads a payload from front to back. The first read past the end sets short, and every later
// one yields zeros, so that a parser checks once, at its end.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || n < 0 || n > len(c.b) {
		c.short = true
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() uint8 {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// fill copies the next bytes into an array's slice.
func (c *cursor) fill(dst []byte) { copy(dst, c.take(len(dst))) }

// end is the verdict on the whole payload: all of it read, none missing.
func (c *cursor) end(t Type) error {
	switch {
	case c.short:
		return malformed("%s is too short", t)
	case len(c.b) != 0:
		return malformed("%d bytes after %s", len(c.b), t)
	}
	return nil
}

func appendU16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func appendU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }
