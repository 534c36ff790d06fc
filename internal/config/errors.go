package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a configuration file. [Load] and [Parse] return one
// or several of them joined; use errors.As to get at the first.
type Error struct {
	File string // as given to Load or Parse
	Line int    // from 1; 0 when the mistake is the file as a whole
	Key  string // dotted, such as server.grace; may be empty
	Msg  string // what is wrong, and for a value what is allowed
	Hint string // what to do about it; may be empty
}

// Error returns file:line: key: message (hint).
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(clip(e.Key) + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// clip shortens text from the file, so that an error stays readable whatever
// the file holds.
func clip(s string) string {
	const limit = 120
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// problems are the mistakes of one file.
type problems []*Error

// join returns the problems as one error, sorted by line.
func (p problems) join() error {
	slices.SortFunc(p, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Key, b.Key)
	})
	all := make([]error, len(p))
	for i, e := range p {
		all[i] = e
	}
	return errors.Join(all...)
}

// unknownHint says what the writer of an unknown key probably meant.
func unknownHint(key string, known []string) string {
	section, last := split(key)
	for _, k := range known {
		if s, l := split(k); l == last && s != section {
			return placeHint(l, s)
		}
	}
	if k := nearest(key, known); k != "" {
		return "did you mean " + k + "?"
	}
	return "known here: " + strings.Join(siblings(section, known), ", ")
}

func placeHint(key, section string) string {
	if section == "" {
		return key + " stands above the first [section]"
	}
	return key + " belongs under [" + section + "]"
}

// siblings returns the last parts of the known keys in section; at the top
// level also the sections.
func siblings(section string, known []string) []string {
	var out []string
	for _, k := range known {
		s, last := split(k)
		switch {
		case s == section:
			out = append(out, last)
		case section == "" && !slices.Contains(out, "["+s+"]"):
			out = append(out, "["+s+"]")
		}
	}
	return out
}

func split(key string) (section, last string) {
	i := strings.IndexByte(key, '.')
	if i < 0 {
		return "", key
	}
	return key[:i], key[i+1:]
}

// nearest returns the known key with the fewest letters to change, or "" if a
// third of the letters or more would have to change; those of a section that is
// right do not count.
func nearest(key string, known []string) string {
	best, bestDistance := "", (len(key)+2)/3
	if len(key) > 100 { // the search is quadratic and no known key is as long
		return ""
	}
	section, last := split(key)
	for _, k := range known {
		most := (len(key) + 2) / 3
		if s, _ := split(k); s == section {
			most = (len(last) + 2) / 3
		}
		if d := distance(strings.ToLower(key), k); d < min(most, bestDistance) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes: the number of bytes to
// insert, delete or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
