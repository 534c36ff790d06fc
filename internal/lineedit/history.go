package lineedit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MaxEntries is how many entries a history has. Its file may hold a few more, until the next time that it is opened.
const MaxEntries = 10_000

// maxEntry is the longest entry that is kept, in bytes; what is pasted can be larger.
const maxEntry = 256 << 10

// History is a history in a file, which any number of programs may use at once. Each entry is a line, with \n in it
// for a line end and \\ for a backslash.
type History struct {
	path string
	last string
}

// OpenHistory reads a history, and makes the directory of its file if there is none. Only their owner can read them.
func OpenHistory(path string) (*History, []string, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the directory of the history: %w", err)
	}
	h := &History{path: path}
	var text []byte
	err := h.locked(func(f *os.File) (err error) {
		if text, err = io.ReadAll(f); err != nil || bytes.Count(text, []byte("\n")) <= MaxEntries+MaxEntries/10 {
			return err
		}
		return h.rewrite(parseEntries(text))
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the history: %w", err)
	}
	entries := parseEntries(text) // without the lock, for which others may wait
	if len(entries) > 0 {
		h.last = entries[len(entries)-1]
	}
	return h, entries, nil
}

// Add puts an entry at the end, unless it begins with a space or is the last one again. It reports whether it did.
func (h *History) Add(entry string) (bool, error) {
	if !worthKeeping(entry) || entry == h.last {
		return false, nil
	}
	h.last = entry
	err := h.locked(func(f *os.File) error {
		_, err := io.WriteString(f, newEncoder().Replace(entry)+"\n") // at once, so that no other program's entry comes into it
		return err
	})
	if err != nil {
		return false, fmt.Errorf("writing the history: %w", err)
	}
	return true, nil
}

// worthKeeping leaves out what is too long, and what was meant not to be kept.
func worthKeeping(entry string) bool {
	return strings.TrimSpace(entry) != "" && entry[0] != ' ' && len(entry) <= maxEntry
}

// locked calls do with the file, which nobody else changes meanwhile.
func (h *History) locked(do func(*os.File) error) error {
	for {
		f, err := os.OpenFile(h.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		same, err := h.lock(f)
		if err == nil && same {
			err = do(f)
		}
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil || same {
			return err
		}
	}
}

// lock locks an open history. It reports false if that is not the file of the name any more.
func (h *History) lock(f *os.File) (same bool, err error) {
	if err := lockFile(f); err != nil {
		return false, err
	}
	open, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !open.Mode().IsRegular() {
		return false, fmt.Errorf("%s is no regular file", h.path)
	}
	if open.Mode().Perm()&0o077 != 0 {
		_ = f.Chmod(0o600) // best effort: it is ours, or we could not read it
	}
	named, err := os.Stat(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(open, named), err
}

// rewrite puts a shorter file in the place of the one that is locked.
func (h *History) rewrite(entries []string) error {
	f, err := os.CreateTemp(filepath.Dir(h.path), filepath.Base(h.path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // there is none after the renaming
	w, encoder := bufio.NewWriter(f), newEncoder()
	for _, entry := range entries {
		_, _ = encoder.WriteString(w, entry)
		_ = w.WriteByte('\n') // Flush tells the error
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return err
	}
	return replaceFile(f.Name(), h.path)
}

// parseEntries returns the newest entries of a file.
func parseEntries(text []byte) []string {
	decoder := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
	var entries []string
	for line := range strings.SplitSeq(string(text), "\n") {
		if strings.Contains(line, `\`) {
			line = decoder.Replace(line)
		}
		if worthKeeping(line) && (len(entries) == 0 || entries[len(entries)-1] != line) {
			entries = append(entries, line)
		}
	}
	return entries[max(0, len(entries)-MaxEntries):]
}

func newEncoder() *strings.Replacer { return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`) }
