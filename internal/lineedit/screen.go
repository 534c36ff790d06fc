package lineedit

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// screen is what the library draws on.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	shown *strings.Replacer
	asked func() // the library wants to know where the cursor is
	// dropping: a search underlines what it has found by going there character by character, which does not work
	// over several rows, so that is left out.
	dropping bool
}

// newScreen draws on w. It shows the marks of further lines as their prompts, and leaves out what joins or alters the
// characters beside it: terminals disagree on how wide the result is, and the cursor would be elsewhere.
func newScreen(w io.Writer, asked func()) *screen {
	shown := strings.NewReplacer("\n", "\r\n", string(markFirst), string(shownFirst), string(markSecond), string(shownLast),
		"\u200d", "", "\ufe0f", "")
	return &screen{w: w, shown: shown, asked: asked}
}

const (
	whereIsCursor = "\x1b[6n" // and the terminal would answer on its input, between the keys
	underline     = "\x1b[4m"
	plain         = "\x1b[0m"
)

// Write implements [io.Writer].
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := string(b)
	switch {
	case text == whereIsCursor:
		s.asked()
		return len(b), nil
	case s.dropping:
		s.dropping = text != plain
		return len(b), nil
	case text == underline:
		s.dropping = true
		return len(b), nil
	case len(bytes.Trim(b, "\b")) == 0: // on the way to what is underlined
		return len(b), nil
	}
	if _, err := s.shown.WriteString(s.w, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// pastes has the terminal put brackets around what is pasted, or not any more. Its user has made it raw.
func (s *screen) pastes(on bool) func() error {
	text := "\x1b[?2004l"
	if on {
		text = "\x1b[?2004h"
	}
	return func() error {
		_, err := io.WriteString(s.w, text)
		return err
	}
}
