package lineedit

import "unicode"

// wide are the characters that take two columns: East Asian ones and pictures (Unicode Standard Annex 11). It is for
// lists and the like; what is edited is measured by the library.
func wide(r rune) bool {
	switch {
	case r < 0x1100:
		return false
	case r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0xa4cf, r >= 0xa960 && r <= 0xa97c, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, r >= 0x1f680 && r <= 0x1f6ff, r >= 0x1f900 && r <= 0x1f9ff, r >= 0x20000 && r <= 0x3fffd:
		return true
	}
	return false
}

// columns is how many columns characters take.
func columns(text []rune) int {
	n := 0
	for _, r := range text {
		switch {
		case wide(r):
			n += 2
		case !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc):
			n++
		}
	}
	return n
}

// Columns is how many columns of a terminal a text takes that has no control characters.
func Columns(text string) int { return columns([]rune(text)) }
