package lineedit

import (
	"slices"
	"testing"
)

func TestMarks(t *testing.T) {
	for _, text := range []string{"", "a", "\n", "a\nb", "\n\n", "中\n文\n"} {
		runes := []rune(text)
		for pos := range len(runes) + 1 {
			marked, at := mark(runes, pos)
			back, pos2 := unmark(marked, at)
			if string(back) != text || pos2 != pos {
				t.Errorf("%q at %d: %q at %d comes back as %q at %d", text, pos, string(marked), at, string(back), pos2)
			}
			if same, at2 := tidy(marked, at, at); !slices.Equal(same, marked) || at2 != at {
				t.Errorf("%q at %d is not tidy", string(marked), at)
			}
		}
	}
}

// TestTidy does to a text of two lines what keys do in the library.
func TestTidy(t *testing.T) {
	marked, _ := mark([]rune("ab\ncd"), 0) // 5 is where c is
	deleted := func(i int) []rune { return slices.Delete(slices.Clone(marked), i, i+1) }
	for _, tt := range []struct {
		name      string
		line      []rune
		pos, last int
		want      string
		at        int
	}{
		{"left from c", marked, 4, 5, "ab\ncd", 2},
		{"right from b", marked, 3, 2, "ab\ncd", 3},
		{"back from far", marked, 4, 7, "ab\ncd", 2},
		{"backspace at c", deleted(4), 4, 5, "abcd", 2},
		{"delete behind b", deleted(2), 2, 2, "abcd", 2},
		{"a line end of the library's", []rune("a\nb"), 3, 3, "a\nb", 3},
		{"a mark alone", []rune{markSecond, 'x', markFirst}, 3, 3, "x", 1},
		{"cut behind the first mark", marked[:4], 4, 4, "ab", 2},
	} {
		out, at := tidy(tt.line, tt.pos, tt.last)
		text, pos := unmark(out, at)
		if string(text) != tt.want || pos != tt.at {
			t.Errorf("%s: %q at %d, want %q at %d", tt.name, string(text), pos, tt.want, tt.at)
		}
	}
}

func FuzzTidy(f *testing.F) {
	f.Add("a\nb", 1, 2)
	f.Add("\n"+string(markFirst)+"x"+string(markSecond), 0, 3)
	f.Fuzz(func(t *testing.T, s string, pos, last int) {
		line := []rune(s)
		pos = max(0, min(pos, len(line)))
		out, at := tidy(line, pos, last)
		if again, at2 := tidy(out, at, at); !slices.Equal(again, out) || at2 != at {
			t.Errorf("%q at %d becomes %q at %d, and that %q at %d", s, pos, string(out), at, string(again), at2)
		}
		text, plain := unmark(out, at)
		if marked, at2 := mark(text, plain); !slices.Equal(marked, out) || at2 != at {
			t.Errorf("%q at %d is not what marks make of a text: %q at %d", string(out), at, string(marked), at2)
		}
	})
}

func TestVertical(t *testing.T) {
	text := []rune("echo a\n中文x\n\nlast one")
	for _, tt := range []struct {
		pos, by, to int
		ok          bool
	}{
		{2, -1, 2, false}, {2, 1, 8, true}, {3, 1, 8, true}, {6, 1, 10, true}, {8, -1, 2, true}, {9, 1, 11, true},
		{11, 1, 12, true}, {11, -1, 7, true}, {20, 1, 20, false}, {20, -1, 11, true}, {13, -1, 11, true},
	} {
		if to, ok := vertical(text, tt.pos, tt.by); ok != tt.ok || to != tt.to {
			t.Errorf("from %d by %d: %d, %v, want %d, %v", tt.pos, tt.by, to, ok, tt.to, tt.ok)
		}
	}
}
