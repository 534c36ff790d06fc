package proto

import (
	"bytes"
	"strconv"
	"strings"
)

// Completion is what the subsystem "complete" says the last word of a line may become.
type Completion struct {
	Start      int // offset of the word in the line, in bytes
	Candidates []Candidate
	More       int // candidates that were left out
}

// Candidate is one way to go on.
type Candidate struct {
	Kind  string // one of the kinds below
	Text  string // replaces the line from Start on, quoted for the shell as the word was begun
	Shown string // the last part of the name, for a list
}

// The kinds of candidates.
const (
	KindCommand  = "command"
	KindBuiltin  = "builtin"
	KindFile     = "file"
	KindDir      = "dir"
	KindVariable = "variable"
)

// MaxCandidates is how many candidates an answer has at most.
const MaxCandidates = 1000

// Append appends the answer's text. No part of a candidate has a tab or a line end.
func (m *Completion) Append(b []byte) []byte {
	b = append(strconv.AppendInt(append(b, "start "...), int64(m.Start), 10), '\n')
	for _, c := range m.Candidates {
		b = append(b, c.Kind+"\t"+c.Text+"\t"+c.Shown+"\n"...)
	}
	if m.More > 0 {
		b = append(strconv.AppendInt(append(b, "more "...), int64(m.More), 10), '\n')
	}
	return b
}

// ParseCompletion parses the answer to a line of so many bytes.
func ParseCompletion(b []byte, line int) (*Completion, error) {
	head, rest, ok := bytes.Cut(b, []byte("\n"))
	start, isStart := number(head, "start ")
	if !ok || !isStart || start > line {
		return nil, malformed("completion without a start")
	}
	m := &Completion{Start: start}
	for s := range strings.Lines(string(rest)) {
		s, ended := strings.CutSuffix(s, "\n")
		if m.More > 0 || !ended {
			return nil, malformed("completion: a line behind the last one, or half of one")
		}
		if n, ok := number([]byte(s), "more "); ok && n > 0 {
			m.More = n
			continue
		}
		c, err := parseCandidate(s)
		if err != nil {
			return nil, err
		}
		if len(m.Candidates) == MaxCandidates {
			return nil, malformed("completion: more than %d candidates", MaxCandidates)
		}
		m.Candidates = append(m.Candidates, c)
	}
	return m, nil
}

func parseCandidate(s string) (Candidate, error) {
	part := strings.Split(s, "\t")
	if len(part) != 3 || part[1] == "" || part[2] == "" {
		return Candidate{}, malformed("completion: a candidate is not kind, text and name")
	}
	switch part[0] {
	case KindCommand, KindBuiltin, KindFile, KindDir, KindVariable:
	default:
		return Candidate{}, malformed("completion: candidate of kind %q", part[0])
	}
	for i := range len(s) {
		if s[i] < 0x20 && s[i] != '\t' || s[i] == 0x7f {
			return Candidate{}, malformed("completion: control character in a candidate")
		}
	}
	return Candidate{Kind: part[0], Text: part[1], Shown: part[2]}, nil
}

// number reads a decimal number behind a word, in the one way to write it.
func number(b []byte, word string) (int, bool) {
	digits, ok := strings.CutPrefix(string(b), word)
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), ok && err == nil && strconv.FormatUint(n, 10) == digits
}
