package lineedit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func openHistory(t *testing.T, path string) (*History, []string) {
	t.Helper()
	h, entries, err := OpenHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	return h, entries
}

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rexec", "history", "host")
	h, entries := openHistory(t, path)
	if len(entries) != 0 {
		t.Errorf("a new history has %q", entries)
	}
	want := []string{"ls", "echo 'a\nb' \\n", "ls", "回声 \\\\\r\n"}
	for _, entry := range []string{"ls", "ls", " secret", "", "  ", want[1], "ls", want[3], strings.Repeat("x", maxEntry+1)} {
		if _, err := h.Add(entry); err != nil {
			t.Fatal(err)
		}
	}
	h, entries = openHistory(t, path)
	if !slices.Equal(entries, want) {
		t.Errorf("%q, want %q", entries, want)
	}
	if kept, err := h.Add(want[3]); kept || err != nil {
		t.Error("the last entry of the file is kept again", err)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	openHistory(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("others can read it: %v, %v", info.Mode(), err)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host")
	var text strings.Builder
	const lines = 2*MaxEntries + 3
	for i := range lines {
		fmt.Fprintf(&text, "echo %d\n", i)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, entries := openHistory(t, path)
	if len(entries) != MaxEntries || entries[MaxEntries-1] != fmt.Sprintf("echo %d", lines-1) {
		t.Errorf("%d entries, the last %q", len(entries), entries[len(entries)-1])
	}
	after, err := os.ReadFile(path)
	if err != nil || strings.Count(string(after), "\n") != MaxEntries {
		t.Errorf("the file has %d lines, %v", strings.Count(string(after), "\n"), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestHistoryOfManyAtOnce: no entry is lost or mixed with another, also while the file is made shorter.
func TestHistoryOfManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(path, []byte(strings.Repeat("a\nb\n", MaxEntries)), 0o600); err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				h, _, err := OpenHistory(path)
				if err == nil {
					_, err = h.Add(fmt.Sprintf("%d %d %s", w, i, strings.Repeat("x", 5000)))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_, entries := openHistory(t, path)
	next := [writers]int{}
	for _, entry := range entries {
		var w, i int
		var rest string
		if n, _ := fmt.Sscanf(entry, "%d %d %s", &w, &i, &rest); n < 3 {
			continue
		}
		if i != next[w] || len(rest) != 5000 {
			t.Fatalf("entry %d of %d, want %d, with %d bytes", i, w, next[w], len(rest))
		}
		next[w]++
	}
	for w, n := range next {
		if n != each {
			t.Errorf("%d entries of %d are there, want %d", n, w, each)
		}
	}
}

func TestHistoryCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "history", "host"), dir} {
		if h, _, err := OpenHistory(path); err == nil || h != nil {
			t.Errorf("%s: %v, %v", path, h, err)
		}
	}
}

// TestLockedHistory: who holds the lock for ever keeps nobody from typing.
func TestLockedHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h")
	h, _, err := OpenHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lockFile(other); err != nil {
		t.Fatal(err)
	}
	if kept, err := h.Add("ls"); kept || err == nil {
		t.Errorf("%v, %v", kept, err)
	}
	if _, _, err := OpenHistory(path); err == nil {
		t.Error("opened")
	}
}
