//go:build linux

package exec

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFileCacheSeesChanges: an account that is changed or removed counts from the next lookup on,
// also when the new file has the old one's size.
func TestFileCacheSeesChanges(t *testing.T) {
	var c fileCache
	path := filepath.Join(t.TempDir(), "passwd")
	read := func() string {
		text, err := c.read(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	old := time.Now().Add(-time.Hour)
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"alice", "mallo", "", "bob\nalice\n"} {
		write(text)
		if got := read(); got != text {
			t.Errorf("read %q, the file holds %q", got, text)
		}
		c.files = map[string]cachedFile{path: {stampOf(stat(t, path)), "cached"}}
		if got := read(); got != "cached" {
			t.Errorf("read %q although nothing changed", got)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(path); !os.IsNotExist(err) {
		t.Errorf("a removed file: %v", err)
	}
}

// TestFileCacheDistrustsYoungFiles: two changes within one clock tick look alike, so a file is kept
// only once it is old enough.
func TestFileCacheDistrustsYoungFiles(t *testing.T) {
	var c fileCache
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte("alice"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.read(path); err != nil || len(c.files) != 0 {
		t.Errorf("%d files kept, error %v", len(c.files), err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
