package charset

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// asciiBytes is the number of ASCII bytes at the low end of x, 8 if all are.
func asciiBytes(x uint64) int { return bits.TrailingZeros64(x&highBits) / 8 }

// ascii is the length of b's longest prefix in ASCII.
func ascii(b []byte) int {
	n := 0
	for n+32 <= len(b) {
		s := b[n : n+32 : n+32]
		x := binary.LittleEndian.Uint64(s) | binary.LittleEndian.Uint64(s[8:]) |
			binary.LittleEndian.Uint64(s[16:]) | binary.LittleEndian.Uint64(s[24:])
		if x&highBits != 0 {
			break
		}
		n += 32
	}
	for n+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[n:])
		if x&highBits != 0 {
			return n + asciiBytes(x)
		}
		n += 8
	}
	for n < len(b) && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// The trick below: subtracting a number from each byte of an ASCII word sets the high bit of the first
// byte that is smaller, and of others only behind it.
const (
	eachByte = 0x0101010101010101
	space    = ' ' * eachByte
	bs       = '\b' * eachByte
)

// controls marks, by its high bit, the first byte of x that is a control character below 0x20, and may
// mark others behind it.
func controls(x uint64) uint64 { return (x - space) &^ x & highBits }

// isData reports whether c is a control character that neither text nor a terminal's sequences have.
func isData(c byte) bool { return c < '\a' }

// textual is the length of b's longest prefix without anything that the beginning of text does not have:
// C0 control characters but BEL, BS, HT, LF, VT, FF, CR, SO, SI and ESC.
func textual(b []byte) int {
	for i, c := range b {
		if c < ' ' && (c < '\a' || c > 0x0F) && c != 0x1B {
			return i
		}
	}
	return len(b)
}

// noData is the length of b's longest prefix without data.
func noData(b []byte) int {
	n := 0
	for n < len(b) {
		for n+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[n:])
			if (x-bs)&^x&highBits != 0 {
				break
			}
			n += 8
		}
		for end := min(n+8, len(b)); n < end; n++ {
			if isData(b[n]) {
				return n
			}
		}
	}
	return n
}

// notPlain has a high bit set if one of b's first 32 bytes is not ASCII from BS on.
func notPlain(b []byte) uint64 {
	s := b[:32:32]
	w, x := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
	y, z := binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:])
	return w | (w - bs) | x | (x - bs) | y | (y - bs) | z | (z - bs)
}

// plain is the length of b's longest prefix in ASCII without data.
func plain(b []byte) int {
	n := 0
	for {
		for n+64 <= len(b) {
			s := b[n : n+64 : n+64]
			if (notPlain(s)|notPlain(s[32:]))&highBits != 0 {
				break
			}
			n += 64
		}
		for n+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[n:])
			m := (x | (x - bs)) & highBits
			n += bits.TrailingZeros64(m) / 8
			if m != 0 {
				break
			}
		}
		for n+8 > len(b) && n < len(b) && b[n] < utf8.RuneSelf && !isData(b[n]) {
			n++
		}
		if n == len(b) || b[n] != '\a' {
			return n
		}
		n++
	}
}

// lineStop is the index of b's first LF, CR or data; len(b) if there is none.
func lineStop(b []byte) int {
	n := 0
	for n < len(b) {
		for n+8 <= len(b) {
			m := controls(binary.LittleEndian.Uint64(b[n:]))
			if m != 0 {
				n += bits.TrailingZeros64(m) / 8
				break
			}
			n += 8
		}
		for end := min(n+8, len(b)); n < end; n++ {
			if b[n] == '\n' || b[n] == '\r' || isData(b[n]) {
				return n
			}
		}
	}
	return n
}

// What distinguishes one and two characters of three bytes in a little-endian load.
const (
	threeMask = 0xC0C0F0
	threeBits = 0x8080E0
	pairMask  = threeMask<<24 | threeMask
	pairBits  = threeBits<<24 | threeBits
)

// valid is the length of b's longest prefix that is UTF-8.
func valid(b []byte) int {
	n := 0
	for n+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[n:])
		switch {
		case x&0x80 == 0:
			n += asciiBytes(x)
		case x&pairMask == pairBits && plainLead(x) && plainLead(x>>24):
			n += 6
		case x&threeMask == threeBits && plainLead(x):
			n += 3
		default:
			size, _ := sequence(b[n:])
			if size == 0 {
				return n
			}
			n += size
		}
	}
	for n < len(b) {
		if b[n] < utf8.RuneSelf {
			n++
			continue
		}
		size, _ := sequence(b[n:])
		if size == 0 {
			return n
		}
		n += size
	}
	return n
}

// plainLead reports whether the three-byte sequence at the low end of x is neither one that could be
// overlong nor one that could be a surrogate (Unicode, table 3-7).
func plainLead(x uint64) bool { return x&0xF != 0 && x&0xF != 0xD }

// sequence looks at a character of UTF-8 at the beginning of b, which is not ASCII: its length, or 0 and
// the index of the byte that contradicts it, len(b) if it is only cut (Unicode, table 3-7).
func sequence(b []byte) (size, bad int) {
	lead := b[0]
	low, high := byte(0x80), byte(0xBF)
	switch {
	case lead < 0xC2 || lead > 0xF4:
		return 0, 0
	case lead < 0xE0:
		size = 2
	case lead < 0xF0:
		size = 3
		switch lead {
		case 0xE0:
			low = 0xA0
		case 0xED:
			high = 0x9F
		}
	default:
		size = 4
		switch lead {
		case 0xF0:
			low = 0x90
		case 0xF4:
			high = 0x8F
		}
	}
	for i := 1; i < size; i++ {
		if i == len(b) || b[i] < low || b[i] > high {
			return 0, i
		}
		low, high = 0x80, 0xBF
	}
	return size, 0
}

// subpart is the length of what the standard replaces by one U+FFFD at the beginning of b, which is not
// UTF-8 (maximal subpart, Unicode 3.9).
func subpart(b []byte) int {
	n := 1
	for n < len(b) && n < utf8.UTFMax && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}

// mendUTF8 appends b to dst with U+FFFD for what is not UTF-8 and returns how much it read: all but a
// character that is cut at the end, unless atEnd says that nothing follows it.
func mendUTF8(dst, b []byte, atEnd bool) ([]byte, int) {
	read := 0
	for read < len(b) {
		n := valid(b[read:])
		dst = append(dst, b[read:read+n]...)
		if read += n; read == len(b) || !atEnd && !utf8.FullRune(b[read:]) {
			break
		}
		dst = utf8.AppendRune(dst, utf8.RuneError)
		read += subpart(b[read:])
	}
	return dst, read
}

// lastLineEnd is the index behind b's last LF or CR; 0 if it has none.
func lastLineEnd(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' || b[i] == '\r' {
			return i + 1
		}
	}
	return 0
}
