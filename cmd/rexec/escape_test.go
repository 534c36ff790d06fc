package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestEscapes(t *testing.T) {
	tests := []struct {
		name, typed, want string
		hungUp, helped    bool
	}{
		{"nothing special", "ls ~/x\r~user\r", "ls ~/x\r~user\r", false, false},
		{"end", "ls\r~.", "ls\r", true, false},
		{"at the very begin", "~.", "", true, false},
		{"inside of a line", "a~.\r", "a~.\r", false, false},
		{"twice", "~~.\r", "~.\r", false, false},
		{"behind a line feed", "\n~.", "\n", true, false},
		{"help", "~?x", "x", false, true},
		{"at the end of input", "x\r~", "x\r~", false, false},
		{"before Enter", "~\r~.", "~\r", true, false},
		{"not behind an escaped one", "~x~.", "~x~.", false, false},
		{"goes on behind the end", "~.x", "x", true, false},
	}
	for _, tt := range tests {
		for _, slow := range []bool{false, true} {
			var in io.Reader = strings.NewReader(tt.typed)
			if slow {
				in = iotest.OneByteReader(in)
			}
			var hungUp, helped bool
			r := &escapeReader{r: in, char: '~', hangUp: func() { hungUp = true }, help: func() { helped = true }}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != tt.want || hungUp != tt.hungUp || helped != tt.helped {
				t.Errorf("%s, byte by byte %v: %q, hung up %v, help %v, %v", tt.name, slow, got, hungUp, helped, err)
			}
		}
	}
	broken := errors.New("broken")
	got, err := io.ReadAll(&escapeReader{r: io.MultiReader(strings.NewReader("x~"), iotest.ErrReader(broken)), char: '~'})
	if string(got) != "x~" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEscapeOption(t *testing.T) {
	for text, want := range map[string]byte{"~": '~', "%": '%', "none": 0, "^]": 0x1d, "^a": 1, "^@": 0} {
		var e escapeOption
		if err := e.Set(text); err != nil || e.key() != want {
			t.Errorf("%s: %q, %v", text, e.key(), err)
		}
		_ = e.Set("x")
		if e.key() != want {
			t.Errorf("%s: the first one does not count", text)
		}
	}
	for _, text := range []string{"", "ab", "^", "nonE", "^1", "é"} {
		var e escapeOption
		if err := e.Set(text); text != "^" && err == nil {
			t.Errorf("%q is taken for %q", text, e.key())
		}
	}
	var e escapeOption
	if e.key() != '~' || e.String() != "~" {
		t.Errorf("by default %q", e.key())
	}
	if e = (escapeOption{char: 0x1d, set: true}); e.String() != "^]" {
		t.Errorf("%s", &e)
	}
}

func TestTerminalType(t *testing.T) {
	for name, want := range map[string]string{
		"xterm-256color": "xterm-256color", "": unknownTerminal, "a/b": unknownTerminal, "a b": unknownTerminal,
		strings.Repeat("x", 200): unknownTerminal,
	} {
		if got := terminalType(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
