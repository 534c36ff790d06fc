package charset_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"rexec/internal/charset"
)

// The text that the rule of Auto is measured on is read where it lies and not kept here. What is not
// installed is fetched from Debian into the test's own directory, if that can be done.

// corpusPart is one kind of real text, in UTF-8.
type corpusPart struct {
	name     string
	files    string   // a pattern, from the root of the file system
	sample   string   // a file that is there if the part is installed
	packages []string // what has it in Debian
	read     func([]byte) ([][]byte, error)
}

func corpusChinese() []corpusPart {
	return []corpusPart{
		{"man pages", "usr/share/man/zh_CN/man*/*.gz", "usr/share/man/zh_CN/man1/bash.1.gz",
			[]string{"manpages-zh"}, corpusPage},
		// What ends in .dat is an index.
		{"fortunes", "usr/share/games/fortunes/*[^t]", "usr/share/games/fortunes/tang300",
			[]string{"fortunes-zh"}, corpusPlain},
		{"catalogues", "usr/share/locale/zh_CN/LC_MESSAGES/*.mo", "usr/share/locale/zh_CN/LC_MESSAGES/git.mo",
			[]string{"git", "coreutils", "bash", "dpkg", "gettext", "iso-codes", "gnupg-l10n", "tar", "wget", "make"},
			corpusCatalogue},
	}
}

// corpusText are lines that hold hanzi, in UTF-8.
type corpusText struct {
	all [][]byte
	gbk []corpusLine // those that GBK has all characters of
	buf []byte
}

type corpusLine struct{ utf8, gbk []byte }

// corpusLoad reads the Chinese text, or skips the test where there is too little.
func corpusLoad(t *testing.T) *corpusText {
	const enough = 20000
	text := &corpusText{}
	var missing []string
	for _, p := range corpusChinese() {
		lines, err := corpusRead(t, p)
		if err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", p.name, err))
		}
		before, odd := len(text.all), 0
		for _, line := range lines {
			if !corpusIsText(line) {
				odd++
			} else if bytes.ContainsFunc(line, corpusHanzi) {
				text.add(line)
			}
		}
		t.Logf("%s: %d lines with hanzi, and %d with odd control characters or broken, which are left out",
			p.name, len(text.all)-before, odd)
	}
	t.Logf("all: %d lines with hanzi, %d of them in GBK", len(text.all), len(text.gbk))
	if len(text.gbk) < enough {
		t.Skipf("%d lines of Chinese text are too few: %s", len(text.gbk), strings.Join(missing, "; "))
	}
	for _, reason := range missing {
		t.Logf("going on without %s", reason)
	}
	return text
}

// corpusIsText reports whether a line is UTF-8 without control characters that text has no use for: with
// one of those a stream is taken for binary data.
func corpusIsText(line []byte) bool {
	for _, c := range line {
		if c < 0x20 && (c < 0x07 || c > 0x0F) && c != 0x1B {
			return false
		}
	}
	return utf8.Valid(line)
}

func corpusHanzi(r rune) bool { return unicode.Is(unicode.Han, r) }

func (c *corpusText) add(line []byte) {
	c.all = append(c.all, line)
	gbk := bytes.Clone(c.convert(charset.UTF8, charset.GBK, line))
	if bytes.Equal(c.convert(charset.GBK, charset.UTF8, gbk), line) {
		c.gbk = append(c.gbk, corpusLine{line, gbk})
	}
}

// convert returns the conversion of b, until the next one.
func (c *corpusText) convert(from, to charset.Mode, b []byte) []byte {
	conv := charset.NewConverter(from, to)
	c.buf = conv.Close(conv.Append(c.buf[:0], b))
	return c.buf
}

// corpusRead returns the lines of a part.
func corpusRead(t *testing.T, p corpusPart) ([][]byte, error) {
	root := "/"
	if _, err := os.Stat(filepath.Join(root, p.sample)); err != nil {
		root = t.TempDir()
		if err := corpusFetch(root, p.packages); err != nil {
			return nil, fmt.Errorf("fetching %s: %w", strings.Join(p.packages, " "), err)
		}
	}
	names, err := filepath.Glob(filepath.Join(root, p.files))
	if err != nil {
		return nil, err
	}
	var lines [][]byte
	for _, name := range names {
		// A link is a page by another name.
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		more, err := p.read(b)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// corpusFetch unpacks Debian packages under root.
func corpusFetch(root string, packages []string) error {
	if testing.Short() {
		return errors.New("a short test fetches nothing")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	args := append([]string{"-q", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "download"}, packages...)
	if err := corpusRun(ctx, root, "apt-get", args...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(root, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := corpusRun(ctx, root, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	return nil
}

func corpusRun(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

func corpusPlain(b []byte) ([][]byte, error) { return bytes.Split(b, []byte("\n")), nil }

func corpusPage(b []byte) ([][]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if b, err = io.ReadAll(r); err != nil {
		return nil, err
	}
	return corpusPlain(b)
}

// corpusCatalogue returns the lines of a catalogue of translations (gettext manual, "The Format of GNU MO
// Files").
func corpusCatalogue(b []byte) ([][]byte, error) {
	const magic, header = 0x950412de, 20
	if len(b) < header {
		return nil, io.ErrUnexpectedEOF
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(b) != magic {
		order = binary.BigEndian
	}
	if order.Uint32(b) != magic {
		return nil, errors.New("no catalogue")
	}
	var lines [][]byte
	table := uint64(order.Uint32(b[16:]))
	for i := range uint64(order.Uint32(b[8:])) {
		at := table + 8*i
		if at+8 > uint64(len(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		size, begin := uint64(order.Uint32(b[at:])), uint64(order.Uint32(b[at+4:]))
		if begin+size > uint64(len(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		text := b[begin : begin+size]
		if i == 0 && !bytes.Contains(bytes.ToLower(text), []byte("charset=utf-8")) {
			return nil, nil
		}
		// A NUL separates the forms of a plural.
		lines = append(lines, bytes.FieldsFunc(text, func(r rune) bool { return r == 0 || r == '\n' })...)
	}
	return lines, nil
}
