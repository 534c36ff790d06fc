package charset

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// kind classifies what stands at the beginning of GB 18030 text.
type kind uint8

const (
	single    kind = iota // one byte: ASCII, or 0x80 for the euro sign
	double                // a code of two bytes
	quadruple             // a code of four bytes
	cut                   // the beginning of a code, and then the text ends
	malformed             // no code
)

// euro is what the standard's decoder, like code page 936, makes of 0x80.
const euro = '\u20AC'

// next looks at the first code of b, which is not empty: its length in bytes and its character. What is
// malformed has the length that the standard replaces by one U+FFFD (gb18030 decoder).
func (t *tables) next(b []byte) (k kind, n int, r rune) {
	lead := b[0]
	switch {
	case lead < 0x80:
		return single, 1, rune(lead)
	case lead == 0x80:
		return single, 1, euro
	case lead == 0xFF:
		return malformed, 1, 0
	case len(b) == 1:
		return cut, 1, 0
	}
	second := b[1]
	if v := t.pair(b); v != 0 {
		return double, 2, character(v)
	}
	switch {
	case isDigit(second):
		return t.nextFour(b)
	case second < 0x80:
		return malformed, 1, 0 // the second byte is read again, so that no control character is eaten
	}
	return malformed, 2, 0
}

// pair is the decode entry of b's first two bytes.
func (t *tables) pair(b []byte) uint32 { return t.decode[uint16(b[0])|uint16(b[1])<<8] }

// nextFour is next for a lead byte and a digit.
func (t *tables) nextFour(b []byte) (k kind, n int, r rune) {
	switch {
	case len(b) > 2 && (b[2] < 0x81 || b[2] == 0xFF), len(b) > 3 && !isDigit(b[3]):
		return malformed, 1, 0
	case len(b) < 4:
		return cut, len(b), 0
	}
	pointer := ((uint32(b[0]-0x81)*10+uint32(b[1]-'0'))*126+uint32(b[2]-0x81))*10 + uint32(b[3]-'0')
	if r = t.point(pointer); r == noPoint {
		return malformed, 4, 0
	}
	return quadruple, 4, r
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// character is the character of a decode entry.
func character(v uint32) rune {
	b := [4]byte{byte(v), byte(v >> 8), byte(v >> 16)}
	r, _ := utf8.DecodeRune(b[:])
	return r
}

// manner says how the way goes on where text cannot be converted.
type manner uint8

const (
	last manner = 1 << iota // nothing follows: a code that is cut at the end is malformed
	keep                    // what cannot be converted stays as it is, instead of becoming a replacement
	stop                    // read up to a control character only
)

// decodeGB appends the UTF-8 of the first n bytes of b, GB 18030 text, to dst and returns how many of
// them it read: all, but for a code that is cut at the end, or up to where it was told to stop. The bytes behind them are of no meaning, but
// their being there lets it read eight at a time up to the end.
func (t *tables) decodeGB(dst, b []byte, n int, how manner) ([]byte, int) {
	read := 0
	for read < n {
		dst = reserve(dst, n-read)
		w, r := t.decodeFast(dst[len(dst):cap(dst)], b[read:], n-read, how)
		dst, read = dst[:len(dst)+w], read+r
		// Here the fast path has met something that it leaves to this one, the end of b or that of dst.
		for range 4 {
			if read == n {
				break
			}
			if how&stop != 0 && b[read] < ' ' {
				return dst, read
			}
			size := 0
			if dst, size = t.decodeOne(dst, b[read:n], how); size == 0 {
				return dst, read
			}
			read += size
		}
	}
	return dst, read
}

// decodeOne decodes one code and returns its length; 0 for one that is cut.
func (t *tables) decodeOne(dst, b []byte, how manner) ([]byte, int) {
	k, n, r := t.next(b)
	switch {
	case k == cut && how&last == 0:
		return dst, 0
	case k != cut && k != malformed:
		return utf8.AppendRune(dst, r), n
	case how&keep != 0:
		return append(dst, b[:n]...), n
	}
	return utf8.AppendRune(dst, utf8.RuneError), n
}

// reserve makes room for the conversion of n bytes, or of a good part of them.
func reserve(dst []byte, n int) []byte {
	const part, slack = 4 << 10, 64
	if cap(dst)-len(dst) < MaxGrowth*min(n, part)+slack {
		dst = slices.Grow(dst, n+n/2+MaxGrowth*part+slack)
	}
	return dst
}

const highBits = 0x8080808080808080

// decodeFast decodes ASCII and codes of two bytes in the first n bytes of b, eight bytes at a time, until
// it meets something else or comes near the end of either slice. A processor cannot guess where text
// changes between the two, so the steps that do it take the same way for any number of bytes.
func (t *tables) decodeFast(dst, b []byte, n int, how manner) (w, r int) {
	for r < n && r+24 <= len(b) && w+32 <= len(dst) {
		in, out := b[r:r+16:r+16], dst[w:w+16:w+16]
		x, y := binary.LittleEndian.Uint64(in), binary.LittleEndian.Uint64(in[8:])
		binary.LittleEndian.PutUint64(out, x)
		binary.LittleEndian.PutUint64(out[8:], y)
		if how&stop != 0 {
			x, y = x|controls(x), y|controls(y)
		}
		k := asciiBytes(x)
		if more := 8 + asciiBytes(y); k == 8 {
			k = more
		}
		k = min(k, n-r)
		r, w = r+k, w+k
		if k == 16 {
			continue
		}
		if k == 0 && b[r] < ' ' {
			break
		}
		codes := 4
		for codes == 4 && r+8 <= len(b) && w+16 <= len(dst) {
			x = upTo(binary.LittleEndian.Uint64(b[r:]), n-r)
			v0, v1 := t.decode[uint16(x)], t.decode[uint16(x>>16)]
			v2, v3 := t.decode[uint16(x>>32)], t.decode[uint16(x>>48)]
			out := dst[w : w+16 : w+16]
			binary.LittleEndian.PutUint64(out, uint64(v0&0xFFFFFF)|uint64(v1&0xFFFFFF)<<24|uint64(v2)<<48)
			binary.LittleEndian.PutUint32(out[8:], v2>>16&0xFF|v3<<8)
			if v0&v1&v2&v3&isThree != 0 {
				r, w = r+8, w+12
				continue
			}
			codes = bits.TrailingZeros32(^(v0>>30&1 | v1>>29&2 | v2>>28&4))
			r, w = r+2*codes, w+3*codes
			if codes == 0 && x&0x80 != 0 {
				if v0 == 0 {
					return w, r
				}
				r, w = r+2, w+2
			}
		}
	}
	return w, r
}

// upTo is x with nothing but zeros behind its first n bytes.
func upTo(x uint64, n int) uint64 {
	if n < 8 {
		x &= 1<<(8*n) - 1
	}
	return x
}

// encodeGB appends UTF-8 text in GB 18030, or in GBK, to dst and returns how much of b it read: all but
// a character that is cut at the end. What the charset lacks becomes a question mark, or stays as it is;
// what is not UTF-8 is taken for U+FFFD, which GBK lacks.
func (t *tables) encodeGB(dst, b []byte, to Mode, how manner) ([]byte, int) {
	read := 0
	for read < len(b) {
		dst = reserve(dst, len(b)-read)
		w, r := t.encodeFast(dst[len(dst):cap(dst)], b[read:])
		dst, read = dst[:len(dst)+w], read+r
		for i := 0; i < 4 && read < len(b); i++ {
			rest := b[read:]
			if how&last == 0 && !utf8.FullRune(rest) {
				return dst, read
			}
			c, n := utf8.DecodeRune(rest)
			if c == utf8.RuneError && n == 1 {
				n = subpart(rest)
			}
			out, ok := t.appendGB(dst, c, to)
			switch {
			case ok:
				dst = out
			case how&keep != 0:
				dst = append(dst, rest[:n]...)
			default:
				dst = append(dst, '?')
			}
			read += n
		}
	}
	return dst, read
}

// appendGB appends one character; ok is false if the charset lacks it (gb18030 encoder).
func (t *tables) appendGB(dst []byte, r rune, to Mode) (out []byte, ok bool) {
	switch {
	case r < utf8.RuneSelf:
		return append(dst, byte(r)), true
	case r == unencodable:
		return dst, false
	case r == euro && to == GBK:
		return append(dst, 0x80), true
	case r == euro:
		return append(dst, 0xA2, 0xE3), true
	}
	if c := t.code(r); c != 0 {
		return append(dst, byte(c), byte(c>>8)), true
	}
	if to == GBK {
		return dst, false
	}
	p := t.pointer(r)
	return append(dst, byte(p/12600)+0x81, byte(p/1260%10)+'0', byte(p/10%126)+0x81, byte(p%10)+'0'), true
}

// encodeFast encodes ASCII and characters of three bytes that have a code of two, until it meets something
// else or comes near the end of either slice.
func (t *tables) encodeFast(dst, b []byte) (w, r int) {
	for r+24 <= len(b) && w+24 <= len(dst) {
		in, out := b[r:r+16:r+16], dst[w:w+16:w+16]
		x, y := binary.LittleEndian.Uint64(in), binary.LittleEndian.Uint64(in[8:])
		binary.LittleEndian.PutUint64(out, x)
		binary.LittleEndian.PutUint64(out[8:], y)
		k := asciiBytes(x)
		if more := 8 + asciiBytes(y); k == 8 {
			k = more
		}
		r, w = r+k, w+k
		if k == 16 {
			continue
		}
		start := r
		for r+8 <= len(b) && w+4 <= len(dst) {
			x = binary.LittleEndian.Uint64(b[r:])
			e0, e1 := t.encode[three(x)], t.encode[three(x>>24)]
			binary.LittleEndian.PutUint32(dst[w:], uint32(e0)|uint32(e1)<<16)
			if x&pairMask == pairBits && e0 != 0 && e1 != 0 {
				r, w = r+6, w+4
				continue
			}
			if x&threeMask == threeBits && e0 != 0 {
				r, w = r+3, w+2
			}
			break
		}
		if r == start && b[r] >= utf8.RuneSelf {
			break
		}
	}
	return w, r
}

// three is the character of a three-byte sequence at the low end of x.
func three(x uint64) uint16 {
	return uint16(x&0xF)<<12 | uint16(x>>8&0x3F)<<6 | uint16(x>>16&0x3F)
}
