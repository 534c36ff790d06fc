package lineedit

import (
	"bufio"
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
	var entries []string
	err := h.locked(func(f *os.File) error {
		var lines int
		var err error
		if entries, lines, err = readEntries(f); err != nil {
			return err
		}
		if lines > MaxEntries+MaxEntries/10 {
			return h.rewrite(entries)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the history: %w", err)
	}
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
		_, err := io.WriteString(f, encodeEntry(entry)) // at once, so that no other program's entry comes into it
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
	w := bufio.NewWriter(f)
	for _, entry := range entries {
		_, _ = w.WriteString(encodeEntry(entry)) // Flush tells the error
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return err
	}
	return replaceFile(f.Name(), h.path)
}

// readEntries returns the newest entries of a file, and how many lines it has.
func readEntries(r io.Reader) (entries []string, lines int, err error) {
	b := bufio.NewReader(r)
	decoder := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
	for {
		line, err := b.ReadString('\n')
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			lines++
			if entry := decoder.Replace(line); worthKeeping(entry) && (len(entries) == 0 || entries[len(entries)-1] != entry) {
				entries = append(entries, entry)
			}
		}
		if errors.Is(err, io.EOF) {
			return entries[max(0, len(entries)-MaxEntries):], lines, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
}

func encodeEntry(entry string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(entry) + "\n"
}
