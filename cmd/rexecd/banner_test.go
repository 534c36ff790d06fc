package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rexec/internal/client"
	"rexec/internal/config"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

func TestBannerText(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, text, want, problem string }{
		{"good", "Welcome, 你好\n\nBe kind.\n\n", "Welcome, 你好\n\nBe kind.", ""},
		{"empty", "", "", ""},
		{"longest", strings.Repeat("x", 4096), strings.Repeat("x", 4096), ""},
		{"long", strings.Repeat("x", 4097), "", "has more than 4096 bytes; shorten it"},
		{"gbk", "a\nb \xc4\xe3\n", "", ", line 2: it is not text in UTF-8; save it as that"},
		{"nul", "a\n\nb\x00", "", ", line 3: it is not text in UTF-8; save it as that"},
	} {
		path := filepath.Join(dir, tt.name)
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := bannerText(config.Banner{File: path})
		switch {
		case tt.problem == "" && (err != nil || got != tt.want):
			t.Errorf("%s: %q, %v", tt.name, got, err)
		case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), "banner.file in rexecd.toml: "+path) ||
			!strings.HasSuffix(err.Error(), tt.problem)):
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.problem)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "nosuch", "."} {
		if _, err := bannerText(config.Banner{File: filepath.Join(dir, name)}); err == nil {
			t.Errorf("%s is no error", name)
		}
	}
	if got, err := bannerText(config.Banner{Text: "hi"}); got != "hi" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestBanner: a prompt gets it, nobody else, and a reload changes it.
func TestBanner(t *testing.T) {
	motd := filepath.Join(t.TempDir(), "motd")
	if err := os.WriteFile(motd, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWatched(t, "\n[banner]\nfile = '"+motd+"'\n")
	c := rexectest.NewClient(t, client.Options{Address: w.address(), Key: w.key, Transport: client.TCP})
	told := func(m proto.Run) (text string) {
		t.Helper()
		var out strings.Builder
		m.Shell = []byte("echo out")
		_, err := c.Run(t.Context(), &client.Command{Run: m, Stdout: &out, Stderr: &out, Banner: func(s string) { text = s }})
		if err != nil || out.String() != "out\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
		return text
	}
	if got := told(proto.Run{Lasting: true}); got != "one" {
		t.Errorf("banner %q", got)
	}
	if got := told(proto.Run{Lasting: true, State: []byte("/\x00")}) + told(proto.Run{}); got != "" {
		t.Errorf("banner %q of another command", got)
	}
	if err := os.WriteFile(motd, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.logged(`"msg":"reloaded"`)
	if got := told(proto.Run{Lasting: true}); got != "two" {
		t.Errorf("banner %q after a reload", got)
	}
}

// TestCompleteVerb: it says what it wants to whoever starts it by hand.
func TestCompleteVerb(t *testing.T) {
	var out, words strings.Builder
	err := run(t.Context(), []string{"complete", "/bin/sh"}, streams{strings.NewReader("ls /us"), &out, &words})
	m, parseErr := proto.ParseCompletion([]byte(out.String()), len("ls /us"))
	if err != nil || parseErr != nil || m.Start != 3 || len(m.Candidates) != 1 || m.Candidates[0].Text != "/usr/" {
		t.Errorf("%q, %v, %v", out.String(), err, parseErr)
	}
	if err := run(t.Context(), []string{"complete"}, streams{strings.NewReader(""), &out, &words}); err == nil {
		t.Error("no shell is no error")
	}
	long := strings.NewReader(strings.Repeat("x", maxLine+1))
	if err := run(t.Context(), []string{"complete", "/bin/sh"}, streams{long, &out, &words}); err == nil {
		t.Error("an endless line is no error")
	}
}
