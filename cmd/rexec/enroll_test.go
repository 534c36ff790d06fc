package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"rexec/internal/auth"
)

func newToken(t *testing.T) string {
	t.Helper()
	secret, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	key := auth.ClientKey{Server: auth.ServerID{1}, KeyID: "laptop", Secret: secret}
	return auth.Token{Address: "db1.example:8000", Key: key}.Encode()
}

// wrapped breaks text into lines of n bytes.
func wrapped(text string, n int) string {
	var lines []string
	for ; len(text) > n; text = text[n:] {
		lines = append(lines, text[:n])
	}
	return strings.Join(append(lines, text), "\n")
}

// TestPastedToken: spaces and line breaks that a terminal or a mail put in do no harm, and everything else does,
// without a connection.
func TestPastedToken(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	token := newToken(t)
	swapped := []byte(token)
	for i := 20; ; i++ {
		if swapped[i] != swapped[i+1] {
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			break
		}
	}
	for text, good := range map[string]bool{
		token: true, "rexec enroll '" + token + "'": true, " \t" + token + "\u00a0\r": true, wrapped(token, 40): true, wrapped(token, 3): true,
		wrapped("rexec enroll '"+token+"'", 20): true, wrapped("rexec enroll '"+token+"'", 4): true,
		strings.ReplaceAll(wrapped(token, 76), "\n", "\r\n    "): true, strings.Join(strings.Split(token, ""), " "): true,
		token[:20] + "\u200b" + token[20:]: true,
		token[:len(token)-1]:               false, token[:30] + token[31:]: false, string(swapped): false, token + "A": false, token[6:]: false,
		strings.ToUpper(token): false, "rexec:": false, "": false, "-": false, token[:50] + "\n\n" + token[50:]: false,
	} {
		for _, way := range []string{"argument", "stdin"} {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			p := &program{in: r, words: io.Discard}
			var args []string
			if way == "argument" {
				args = []string{text}
			} else if _, err := io.WriteString(w, text+"\n"); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if err := p.enroll(args); (err == nil) != (good || way == "argument" && strings.Contains(text, "\n\n")) {
				t.Errorf("%s %q: %v", way, text, err)
			}
			r.Close()
		}
	}
	p := &program{words: io.Discard}
	if err := p.enroll(strings.Split(wrapped(token, 100), "\n")); err != nil && !strings.Contains(err.Error(), "quotes") {
		t.Errorf("several words: %v", err)
	}
	if err := p.enroll([]string{token[:40], "-" + token[40:]}); err == nil || !strings.Contains(err.Error(), "needs quotes") {
		t.Errorf("a part that looks like an option: %v", err)
	}
}

// TestTokenIsReadToItsEnd, and no further: what follows is for who reads stdin next.
func TestTokenIsReadToItsEnd(t *testing.T) {
	lines := strings.SplitAfter(wrapped(newToken(t), 40), "\n")
	for i := range lines {
		if cut := auth.TokenCut(pasted(strings.Join(lines[:i+1], ""))); cut != (i < len(lines)-1) {
			t.Errorf("after line %d of %d: %v", i+1, len(lines), cut)
		}
	}
}
