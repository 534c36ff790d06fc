package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// FileError says what is wrong with a file of keys and how to mend it. It never holds the file's
// content.
type FileError struct {
	Path string
	Line int    // from 1; 0 = the file as a whole
	Msg  string // what is wrong
	Fix  string // what to do about it; may be empty
}

// Error returns path:line: message (fix: what to do).
func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": " + e.Msg)
	if e.Fix != "" {
		b.WriteString(" (fix: " + e.Fix + ")")
	}
	return b.String()
}

// readSecret reads a file of at most limit bytes that only its owner may read, and returns what stat
// says about the file that was read. A missing file is fs.ErrNotExist.
func readSecret(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := openNoFollow(path)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if err := checkSecret(path, info, limit); err != nil {
		return nil, info, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, info, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, info, tooLarge(path, limit)
	}
	return b, info, nil
}

// openError tells a symbolic link from other reasons: whoever may replace the link would choose the
// keys.
func openError(path string, err error) error {
	if info, statErr := os.Lstat(path); statErr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return &FileError{Path: path, Msg: "is a symbolic link", Fix: "put the file itself there"}
	}
	return err
}

func checkSecret(path string, info fs.FileInfo, limit int64) error {
	switch {
	case info.IsDir():
		return &FileError{Path: path, Msg: "is a directory", Fix: "move it away"}
	case info.Mode()&fs.ModeSymlink != 0:
		return &FileError{Path: path, Msg: "is a symbolic link", Fix: "put the file itself there"}
	case !info.Mode().IsRegular():
		return &FileError{Path: path, Msg: "is not a regular file", Fix: "move it away"}
	}
	if err := checkAccess(path, info, 0o077, "chmod 600 "); err != nil {
		return err
	}
	if info.Size() > limit {
		return tooLarge(path, limit)
	}
	return nil
}

func tooLarge(path string, limit int64) error {
	return &FileError{Path: path, Msg: fmt.Sprintf("is larger than %d bytes", limit), Fix: "restore it from a copy"}
}

// checkDir refuses a directory in which others could replace our files, which the sticky bit prevents.
// A missing one is fs.ErrNotExist.
func checkDir(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &FileError{Path: path, Msg: "is not a directory", Fix: "move it away"}
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	return checkAccess(path, info, 0o022, "chmod 700 ")
}

// makeDir makes a directory for its owner alone, with its parents, or checks the one that is there.
func makeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return checkDir(path)
}

// staleAfter is how old a temporary file must be to be a leftover of a crash.
const staleAfter = time.Hour

// writeTemp writes data into a new file beside path, readable by its owner alone and on the disk.
// The caller renames, links or removes it.
func writeTemp(path string, data []byte) (temp string, err error) {
	sweep(path)
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix(path)+"*"+tempSuffix) // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	return f.Name(), nil
}

const tempSuffix = ".tmp"

// tempPrefix begins with a dot, so that no listing of keys takes a temporary file for a key.
func tempPrefix(path string) string { return "." + filepath.Base(path) + "." }

// sweep removes temporary files of path that a crash left behind. It is silent: they harm nobody.
func sweep(path string) {
	dir := filepath.Dir(path)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tempPrefix(path)) || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// replaceFile puts data at path so that any reader, and the disk after a crash, has either the old
// file or the new one.
func replaceFile(path string, data []byte) error {
	temp, err := writeTemp(path, data)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

// createFile does the same but is fs.ErrExist if the file is there.
func createFile(path string, data []byte) error {
	temp, err := writeTemp(path, data)
	if err != nil {
		return err
	}
	err = os.Link(temp, path)
	_ = os.Remove(temp)
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
