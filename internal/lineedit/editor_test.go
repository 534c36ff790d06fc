package lineedit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// terminal is a screen of 40 columns on which nobody looks for more than a text.
type terminal struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *terminal) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *terminal) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// newEditor makes an editor at which typed is typed.
func newEditor(t *testing.T, typed io.Reader, o Options) (*Editor, *terminal) {
	t.Helper()
	screen := &terminal{}
	o.Keys, o.Out, o.Unfinished = NewKeyboard(typed), screen, Unfinished
	o.Size = func() (int, int) { return 40, 10 }
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e, screen
}

const (
	up, down, left, right = "\x1b[A", "\x1b[B", "\x1b[D", "\x1b[C"
	home, end, del        = "\x1b[H", "\x1b[F", "\x1b[3~"
)

func TestEditing(t *testing.T) {
	for _, tt := range []struct{ typed, want string }{
		{"ls -l\r", "ls -l"},
		{"\r", ""},
		{"xy" + left + strings.Repeat("a", 200) + "z" + del + "\r", "x" + strings.Repeat("a", 200) + "z"},
		{"ehco\x1b[D\x1b[D" + "\x7f\x1b[3~ch\r", "echo"},
		{"echo 中文😀x" + left + left + "\x7f" + "字\r", "echo 中字😀x"},
		{"bc" + home + "a" + end + "d\r", "abcd"},
		{"b\x01a\x05c\r", "abc"},
		{"cp a/b c/d\x17\x17x\r", "cp x"},
		{"cp a/b c/d\x1b\x7f\x1b\x7fx\r", "cp a/b x"},
		{"one two\x01\x1bdx\r", "x two"},
		{"one two\x1bb\x0b\x19\x19\r", "one twotwo"},
		{"one two" + left + "\x15x\r", "xo"},
		{"one two\x1bb\x1bbx\x1bfy\r", "xoney two"},
		{"a/b 中文\x01\x1bf\x1bfx\x1b[1;5Cy\x1b[1;5D\x1b[1;5Dz\r", "a/zbx 中文y"},
		{"abc\x01\x04\r", "bc"},
		{"a\tb\r", "ab"},
		{"a\x16\x00\x1db\r", "ab"},
		{"echo 'a\rb'\r", "echo 'a\nb'"},
		{"echo 'a\rb'" + home + "\x7f\r", "echo 'ab'"},
		{"echo 'a\rb'" + up + end + del + "\r", "echo 'ab'"},
		{"echo 'a\rb'" + left + left + left + "x\r", "echo 'ax\nb'"},
		{"echo 'a\rb'" + up + "x" + down + "y\r", "ecxho 'a\nb'y"},
		{"echo 'a\rb'" + up + "\x01x" + "\x05y\r", "xecho 'ay\nb'"},
		{"echo 'a\rb'\x15c'\r", "echo 'a\nc'"},
		{"echo 'a\rb'\x15\x15'\r", "echo 'a'"},
		{"echo 'a'\x01\x0b\x0bx\r", "x"},
		{"a\x1b\rb\r", "a\nb"},
		{"cat <<E\r1\r2\rE\r", "cat <<E\n1\n2\nE"},
		{"\x1b[200~for i in 1\rdo echo\rdone\r\x1b[201~\r", "for i in 1\ndo echo\ndone"},
		{"\x1b[200~a\r\nb\tc\x1b[31m\x07\x1b[201~\r", "a\nb\tc[31m"},
		{"ac" + left + "\x1b[200~b\x1b[201~\r", "abc"},
		{strings.Repeat("中", 50) + home + strings.Repeat(right, 19) + "x" + strings.Repeat(left, 5) + "\x7f\r",
			strings.Repeat("中", 14) + strings.Repeat("中", 4) + "x" + strings.Repeat("中", 31)},
	} {
		e, _ := newEditor(t, strings.NewReader(tt.typed), Options{})
		if line, err := e.ReadLine("$ "); err != nil || line != tt.want {
			t.Errorf("%q: %q, %v, want %q", tt.typed, line, err, tt.want)
		}
		if line, err := e.ReadLine("$ "); !errors.Is(err, io.EOF) || line != "" {
			t.Errorf("%q: then %q, %v", tt.typed, line, err)
		}
	}
}

func TestEnds(t *testing.T) {
	e, screen := newEditor(t, strings.NewReader("abc\x03\x04"), Options{})
	if line, err := e.ReadLine("$ "); !errors.Is(err, ErrInterrupted) || line != "" {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := e.ReadLine("$ "); !errors.Is(err, io.EOF) || line != "" {
		t.Errorf("%q, %v", line, err)
	}
	if text := screen.String(); !strings.Contains(text, "abc^C\r\n") || strings.Contains(text, whereIsCursor) {
		t.Errorf("%q", text)
	}

	r, w := io.Pipe() // a terminal at which nobody presses Enter
	e, _ = newEditor(t, r, Options{})
	go func() {
		_, _ = w.Write([]byte("rm -rf /"))
		e.Close()
	}()
	if line, err := e.ReadLine("$ "); !errors.Is(err, io.EOF) || line != "" {
		t.Errorf("after Close: %q, %v", line, err)
	}
}

func TestWalkingTheHistory(t *testing.T) {
	keys := up + up + "\r" + // two
		"new\r" + up + up + up + down + "\r" + // two: new, three, two, and down again
		" secret\r" + up + "\r" +
		"draft" + up + down + "er\r" +
		"\x12t\x12\r" + // the one before the last with a t
		"\x12TW" + end + "!\r" + // in any case, and edited
		"\x12nothing like it\x07x\r" +
		"'a\rb'\r" + up + up + "\x05x\r" // of several lines
	e, _ := newEditor(t, strings.NewReader(keys), Options{History: []string{"one", "two", "three"}})
	for i, want := range []string{
		"two", "new", "two", " secret", "two", "drafter", "drafter", "two!", "x", "'a\nb'", "'ax\nb'",
	} {
		line, err := e.ReadLine("$ ")
		if err != nil || line != want && i != 6 {
			t.Fatalf("line %d: %q, %v, want %q", i, line, err, want)
		}
		if line[0] != ' ' {
			e.Add(line)
		}
	}
}

func TestCompletion(t *testing.T) {
	files := []string{"alpha", "alphabet", "beta/", "中文", "with\\ space", "with\\$dollar", "rm\u202etxt", "c1\u009b31m", "ge\u3000f"}
	complete := func(_ context.Context, text string) (Completion, error) {
		start := strings.LastIndex(text, " ") + 1
		c := Completion{Start: start}
		for _, f := range files {
			if strings.HasPrefix(f, text[start:]) {
				c.Candidates = append(c.Candidates, Candidate{f, f, strings.HasSuffix(f, "/")})
			}
		}
		if text[start:] == "many" {
			for i := range 100 {
				c.Candidates = append(c.Candidates, Candidate{fmt.Sprintf("many%d", i), fmt.Sprintf("many%d", i), false})
			}
			c.More = 7
		}
		if text[start:] == "fail" {
			return c, errors.New("no answer")
		}
		return c, nil
	}
	for _, tt := range []struct{ typed, want, shown string }{
		{"ls a\t\r", "ls alpha", ""},
		{"ls a\t\t\r", "ls alpha", "alpha     alphabet\r\n"},
		{"ls b\tx\r", "ls beta/x", ""},
		{"ls 中\tx\r", "ls 中文 x", ""},
		{"ls alphab\tx\r", "ls alphabet x", ""},
		{"ls b x" + left + left + "\t\r", "ls beta/ x", ""},
		{"ls 中 x" + left + left + "\ty\r", "ls 中文y x", ""},
		{"ls w\t\r", "ls with", ""},
		{"ls z\t\r", "ls z", ""},
		{"ls rm\t\r", "ls rm", "rm\u202etxt"},
		{"ls c\t\r", "ls c", ""},
		{"ls g\t\r", "ls ge\u3000f ", ""},
		{"fail\t\r", "fail", ""},
		{"many\t\r", "many", "and 83 more\r\n"},
		{"echo 'x\rls b\t'\r", "echo 'x\nls beta/'", ""},
	} {
		// Another key is typed only when the answer is there.
		keys, w := io.Pipe()
		answered := make(chan struct{}, 10)
		e, screen := newEditor(t, keys, Options{Complete: func(ctx context.Context, text string) (Completion, error) {
			defer func() { answered <- struct{}{} }()
			return complete(ctx, text)
		}})
		go func() {
			for _, c := range []byte(tt.typed) {
				_, _ = w.Write([]byte{c})
				if c == '\t' {
					<-answered
					eventually(t, func() bool { return e.settled() })
				}
			}
		}()
		line, err := e.ReadLine("$ ")
		if err != nil || line != tt.want || !strings.Contains(screen.String(), tt.shown) {
			t.Errorf("%q: %q, %v, want %q, and %q in %q", tt.typed, line, err, tt.want, tt.shown, screen.String())
		}
	}
}

// settled reports whether the last key was dealt with.
func (e *Editor) settled() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.act == nil && !e.acting
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Error("it does not come about")
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestTypingGoesOn: a key that is pressed while a completion is awaited is dealt with, and ends the waiting.
func TestTypingGoesOn(t *testing.T) {
	keys, w := io.Pipe()
	asked, ended := make(chan struct{}), make(chan struct{})
	e, screen := newEditor(t, keys, Options{Complete: func(ctx context.Context, _ string) (Completion, error) {
		close(asked)
		<-ctx.Done()
		close(ended)
		return Completion{Candidates: []Candidate{{Text: "wrong"}}}, nil
	}})
	go func() {
		_, _ = w.Write([]byte("ab\t"))
		<-asked
		_, _ = w.Write([]byte("c"))
		<-ended
		eventually(t, func() bool { return strings.HasSuffix(screen.String(), "c") })
		_, _ = w.Write([]byte("\r"))
	}()
	if line, err := e.ReadLine("$ "); err != nil || line != "abc" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestOtherCharsets(t *testing.T) {
	decode := func(b []byte) (rune, int) { // two bytes of which the first is high
		switch {
		case b[0] < 0x80:
			return rune(b[0]), 1
		case len(b) < 2:
			return 0, 0
		}
		return rune(b[0])<<8 | rune(b[1]), 2
	}
	e, _ := newEditor(t, strings.NewReader("a\x4e[\x96[\x1b[200~\x97Ox\x1b[201~\r"), Options{Decode: decode})
	if line, err := e.ReadLine("$ "); err != nil || !slices.Equal([]rune(line), []rune{'a', 'N', '[', 0x965b, 0x974f, 'x'}) {
		t.Errorf("%q, %v", line, err)
	}
}
