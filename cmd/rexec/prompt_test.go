package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"rexec/internal/charset"
	"rexec/internal/client"
	"rexec/internal/proto"
)

func TestPromptText(t *testing.T) {
	exited := func(code uint8) *client.Result {
		return &client.Result{Exit: proto.Exit{State: proto.StateExited, Code: code}}
	}
	for _, tt := range []struct {
		place   place
		ending  ending
		columns int
		want    string
	}{
		{place{host: "db1"}, ending{}, 80, "db1$ "},
		{place{host: "db1", user: "alice"}, ending{}, 80, "alice@db1$ "},
		{place{host: "db1", user: "alice", dir: "/home/alice", home: "/home/alice"}, ending{}, 80, "alice@db1:~$ "},
		{place{host: "db1", user: "alice", dir: "/home/alice/x", home: "/home/alice/"}, ending{}, 80, "alice@db1:~/x$ "},
		{place{host: "db1", user: "alice", dir: "/home/alicex", home: "/home/alice"}, ending{}, 80, "alice@db1:/home/alicex$ "},
		{place{host: "db1", user: "root", dir: "/", home: "/"}, ending{}, 80, "root@db1:/# "},
		{place{host: "db1", user: "a", dir: "/b\x1b[31m\n中"}, ending{}, 80, "a@db1:/b^[[31m 中$ "},
		{place{host: "h", user: "a", dir: "/one/two/three/four/five"}, ending{}, 40, "a@h:/.../four/five$ "},
		{place{host: "h", user: "a", dir: "/home/a/one/two/three/four", home: "/home/a"}, ending{}, 36, "a@h:~/.../four$ "},
		{place{host: "h", user: "a", dir: "/x/" + strings.Repeat("长", 20)}, ending{}, 60, "a@h:.../..." + strings.Repeat("长", 12) + "$ "},
		{place{host: "h"}, endingOf(exited(0), nil, time.Second), 80, "h$ "},
		{place{host: "h"}, endingOf(exited(7), nil, time.Second), 80, "h [7]$ "},
		{place{host: "h"}, endingOf(exited(0), nil, 5*time.Second), 80, "h [5s]$ "},
		{place{host: "h"}, endingOf(exited(2), nil, 64*time.Second), 80, "h [2, 1m04s]$ "},
		{place{host: "h"}, endingOf(exited(0), nil, 2*time.Hour+3*time.Minute), 80, "h [2h03m]$ "},
		{place{host: "h"}, endingOf(nil, errors.New("x"), 0), 80, "h [255]$ "},
		{place{host: "h"}, endingOf(&client.Result{Exit: proto.Exit{State: proto.StateSignaled, Signal: "KI\x1bLL", Code: 137}}, nil, 0), 80,
			"h [KI^[LL]$ "},
		{place{host: "h"}, endingOf(&client.Result{Exit: proto.Exit{State: proto.StateTimeout, Code: 124}}, nil, 0), 80, "h [timeout]$ "},
	} {
		if got := tt.ending.text(&tt.place, tt.columns, false); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	e := endingOf(exited(7), nil, 0)
	if got := e.text(&place{host: "h"}, 80, true); got != "h [\x1b[31m7\x1b[0m]$ " {
		t.Errorf("%q", got)
	}
}

func TestExitLine(t *testing.T) {
	for line, want := range map[string]int{
		"exit": 0, "quit": 0, ":quit": 0, " exit 7 ": 7, "quit 255": 255, "exit 256": -1, "exit x": -1, "exit 1 2": -1, "exit;": -1, "": -1, "exiting": -1,
	} {
		code, ok := exitLine(line)
		if !ok {
			code = -1
		}
		if code != want {
			t.Errorf("%q: %d, want %d", line, code, want)
		}
	}
}

func TestOwnLines(t *testing.T) {
	for line, want := range map[string]string{
		"help": "exit [N]", "?": "exit [N]", ":help": "exit [N]", ":charset": "output is taken for", ":charset raw": "shown as it comes",
		":charset x": "want auto, raw", ":jobs": ":help shows", ":charset a b": ":help shows", ":\x1bx": "", ":": "", ": x": "", ":>file": "",
		"help me": "", "? x": "", "ls": "", ":x\x1b": `:x^[: not a command`,
	} {
		var words bytes.Buffer
		s := &prompt{p: &program{words: &words, options: &options{}, charsets: charsets{local: charset.UTF8, output: [2]bool{true, true}}}}
		s.request.Charset = "utf-8"
		if own := s.own(line); own != (want != "") || !strings.Contains(words.String(), want) || !own && words.Len() > 0 {
			t.Errorf("%q: %v, %q, want %q", line, own, words.String(), want)
		}
	}
}

func TestHistoryPath(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it is beside the keys there")
	}
	for _, tt := range []struct{ state, home, want string }{
		{"/s", "/h", "/s/rexec/history/id"},
		{"", "/h", "/h/.local/state/rexec/history/id"},
		{"relative", "/h", "/h/.local/state/rexec/history/id"},
		{"", "", ""},
		{"", "h", ""},
	} {
		got, err := historyPath(func(name string) string {
			return map[string]string{"XDG_STATE_HOME": tt.state, "HOME": tt.home}[name]
		}, "id")
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q, %q: %q, %v, want %q", tt.state, tt.home, got, err, tt.want)
		}
	}
}

// TestTypedAhead: what a command has not taken is found again, as its terminal has edited it.
func TestTypedAhead(t *testing.T) {
	for _, tt := range []struct {
		typed  string
		given  int    // bytes that the terminal was given
		unread string // that the terminal had at the end
		want   string
	}{
		{"abc", 3, "", ""}, {"abc", 1, "", "bc"}, {"abc", 0, "", "abc"}, {"abc", 9, "", ""}, {"abc", 2, "b", "bc"},
		{"one\rtwo\r", 8, "two\n", "two\n"}, {"one\rx\x7ftwo\rthree", 10, "two\n", "two\nthree"},
		{"echo rm x\x17y\r", 12, "echo rm y\n", "echo rm y\n"}, {"a\x13\x11b\r\x04", 6, "ab\n\x04", "ab\n\x04"},
		{"ab\r", 3, "rm\n", ""}, {"ab\rc", 3, "abb\n", "c"},
	} {
		typed := &typedAhead{r: strings.NewReader(tt.typed)}
		// Some of it was read before the end, some is still on its way.
		if _, err := io.ReadFull(typed, make([]byte, len(tt.typed)/2)); err != nil {
			t.Fatal(err)
		}
		x := &proto.Exit{StdinBytes: uint64(tt.given - len(tt.unread)), Unread: []byte(tt.unread)}
		if got := string(typed.after(x)); got != tt.want {
			t.Errorf("%q with %d given and %q unread: %q, want %q", tt.typed, tt.given, tt.unread, got, tt.want)
		}
	}
	long := &typedAhead{r: io.LimitReader(neverending('a'), 3*maxRemembered)}
	if got := long.after(&proto.Exit{StdinBytes: maxRemembered / 2}); got != nil {
		t.Errorf("%d bytes without their begin", len(got))
	}
}

// TestCutAhead: a line that the terminal has cut must not run.
func TestCutAhead(t *testing.T) {
	for n, want := range map[int]bool{0: false, 4094: false, 4095: true, 4096: false} {
		if got := isCut([]byte("ls\n" + strings.Repeat("x", n) + "\npwd\n")); got != want {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

// neverending is one byte again and again.
type neverending byte

func (c neverending) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

func TestTypedHere(t *testing.T) {
	for _, tt := range []struct {
		local, cmd  charset.Mode
		typed, want string
	}{
		{charset.GBK, charset.UTF8, "ls 中\n", "ls \xd6\xd0\n"}, {charset.UTF8, charset.GBK, "\xd6\xd0\x1b[A", "中\x1b[A"},
		{charset.UTF8, charset.UTF8, "\xd6\xff", "\xd6\xff"}, {charset.GBK, charset.Raw, "\xd6", "\xd6"},
	} {
		c := &charsets{local: tt.local, cmd: tt.cmd}
		if got := string(c.typedHere([]byte(tt.typed))); got != tt.want {
			t.Errorf("%s, %s: %q, want %q", tt.local, tt.cmd, got, tt.want)
		}
	}
}

func TestDecodedKeys(t *testing.T) {
	c := charsets{local: charset.GB18030}
	decode := c.decoder()
	for bytes, want := range map[string]struct {
		r rune
		n int
	}{
		"a": {'a', 1}, "\xd6\xd0x": {'中', 2}, "\xd6": {0, 0}, "\x94\x39\xfc\x36": {'😀', 4}, "\x94\x39": {0, 0}, "\xff\xff": {'\uFFFD', 1},
	} {
		if r, n := decode([]byte(bytes)); r != want.r || n != want.n {
			t.Errorf("%q: %q, %d, want %q, %d", bytes, r, n, want.r, want.n)
		}
	}
	if text := c.localBytes("中a"); text != "\xd6\xd0a" {
		t.Errorf("%q", text)
	}
	if (&charsets{local: charset.UTF8}).decoder() != nil {
		t.Error("UTF-8 is decoded by somebody else")
	}
}

// TestPlainEnd: a line that its input ended inside of is not one.
func TestPlainEnd(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	_, err = io.WriteString(w, "echo a\nrm -rf x")
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	lines := (&program{in: in, out: in, words: io.Discard}).readPlainly(nil)
	if line, err := lines.read(t.Context(), "$ "); err != nil || line != "echo a" {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := lines.read(t.Context(), "$ "); !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", line, err)
	}
}
