package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rexec/internal/charset"
	"rexec/internal/hosts"
)

// TestChooseCharsets: the command line goes before the settings, the settings before the locale, and a
// file gets bytes unless the command line names a charset.
func TestChooseCharsets(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	gbkHost := hosts.Settings{Charset: "gbk", LocalCharset: "gb18030", CmdCharset: "gbk"}
	for _, tt := range []struct {
		name, locale, args string
		settings           hosts.Settings
		want               charsets
	}{
		{"nothing", "en_US.UTF-8", "", hosts.Settings{}, charsets{local: charset.UTF8, cmd: charset.UTF8, source: "declared"}},
		{"a Chinese locale", "zh_CN.UTF-8", "", hosts.Settings{}, charsets{local: charset.UTF8, cmd: charset.UTF8}},
		{"a GBK terminal", "zh_CN.GBK", "", hosts.Settings{}, charsets{local: charset.GBK, cmd: charset.UTF8}},
		{"settings", "en_US.UTF-8", "", gbkHost, charsets{local: charset.GB18030, cmd: charset.GBK, source: "gbk"}},
		{"options before settings", "zh_CN.GBK", "--charset auto --local-charset utf-8 --cmd-charset gb18030", gbkHost,
			charsets{local: charset.UTF8, cmd: charset.GB18030, source: "auto", output: [2]bool{true, true}}},
		{"a named source", "C", "--charset gbk", hosts.Settings{}, charsets{local: charset.UTF8, cmd: charset.UTF8, source: "gbk", output: [2]bool{true, true}}},
		{"a named target", "C", "--local-charset gbk", hosts.Settings{}, charsets{local: charset.GBK, cmd: charset.UTF8, output: [2]bool{true, true}}},
		{"raw", "zh_CN.GBK", "--charset raw --local-charset gbk", hosts.Settings{}, charsets{local: charset.GBK, cmd: charset.UTF8, source: "raw"}},
		{"unsafe", "C", "--cmd-charset-unsafe", hosts.Settings{}, charsets{local: charset.UTF8, cmd: charset.UTF8, source: "declared", unsafe: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("LC_ALL", tt.locale)
			o, err := parseOptions(append(strings.Fields(tt.args), "h", "true"))
			if err != nil {
				t.Fatal(err)
			}
			p := &program{out: out, err: out, options: o}
			got, err := p.chooseCharsets(tt.settings)
			if got != tt.want || err != nil {
				t.Errorf("%+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// TestTextOfTheCommandLine: between equal charsets text is bytes; else it is converted or refused.
func TestTextOfTheCommandLine(t *testing.T) {
	const (
		hao    = "\xba\xc3"      // 好 in GBK
		hazard = "\x81|id"       // 亅id
		junk   = "\xff\xfe \xba" // text in no charset
	)
	for _, tt := range []struct {
		local, cmd charset.Mode
		text, want string
		err        string
	}{
		{charset.UTF8, charset.UTF8, junk, junk, ""},
		{charset.GBK, charset.GBK, junk, junk, ""},
		{charset.UTF8, charset.GBK, "好", hao, ""},
		{charset.GBK, charset.UTF8, hao, "好", ""},
		{charset.GB18030, charset.GBK, hao, hao, ""},
		{charset.UTF8, charset.GBK, junk, "", "x: bytes ff at character 1 are not utf-8"},
		{charset.GBK, charset.UTF8, junk, "", "x: bytes ff at character 1 are not gbk"},
		{charset.UTF8, charset.GBK, "亅id", "", "x: character 1, '亅', holds in gbk"},
		{charset.GBK, charset.GBK, hazard, "", "x: character 1, '亅', holds in gbk"},
		{charset.GBK, charset.UTF8, hazard, "亅id", ""},
	} {
		c := &charsets{local: tt.local, cmd: tt.cmd}
		got, err := c.shell("x", tt.text)
		if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
			t.Errorf("%q from %s to %s: %q, %v", tt.text, tt.local, tt.cmd, got, err)
		}
		if c.unsafe = true; strings.Contains(tt.err, "holds") {
			if _, err := c.shell("x", tt.text); err != nil {
				t.Errorf("%q, though insisted on: %v", tt.text, err)
			}
		}
	}
}

// keyboard is a terminal, which hands out a line at a time.
type keyboard struct{ lines []string }

func (k *keyboard) Read(b []byte) (int, error) {
	if len(k.lines) == 0 {
		return 0, io.EOF
	}
	n := copy(b, k.lines[0])
	k.lines = k.lines[1:]
	return n, nil
}

// TestTypedLines: each line is converted whole or not sent, and the next one is not the worse for it.
func TestTypedLines(t *testing.T) {
	var said bytes.Buffer
	p := &program{words: &said, charsets: charsets{local: charset.UTF8, cmd: charset.GBK}}
	k := &keyboard{[]string{"echo 好\n", "rm 😀\n", "echo 亅id\n", "ls\n", "no line end"}}
	got, err := io.ReadAll(&typedReader{r: k, p: p})
	if want := "echo \xba\xc3\nls\nno line end"; string(got) != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, want := range []string{"this line: gbk has no '😀'", "this line: character 6, '亅'"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("said %q, want %s", said.String(), want)
		}
	}
}

func TestWordsInTheTerminalsCharset(t *testing.T) {
	var b bytes.Buffer
	w := &localWriter{&b, charset.GBK}
	notef(w, "key %s", "好😀")
	if b.String() != "rexec: key \xba\xc3?\n" {
		t.Errorf("%q", b.String())
	}
}

// TestProgress: it shows only what takes long, and leaves nothing behind.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	s := progress{w: &b, size: 400 << 20, shown: time.Now()}
	s.add(1 << 20)
	if b.Len() > 0 {
		t.Errorf("at once: %q", b.String())
	}
	s.shown = time.Now().Add(-time.Second)
	s.add(99 << 20)
	if want := "\r100 of 400 MiB (25 %)"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	if s.end(); !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Errorf("at the end: %q", b.String())
	}
}
