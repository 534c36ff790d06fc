package charset_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rexec/internal/charset"
)

// corpusPlace is where binary files are, and how much of it is read.
type corpusPlace struct {
	dir  string
	ends []string // of the names; none for all files
	most int64    // bytes
}

func corpusPlaces(t *testing.T) []corpusPlace {
	const mb = 1 << 20
	places := []corpusPlace{
		{"/usr/bin", nil, 256 * mb},
		{"/usr/lib", []string{".o", ".a"}, 24 * mb},
		{"/usr/lib/python3", []string{".pyc", ".so"}, 8 * mb},
		{"/usr/share/doc", []string{".gz", ".pdf", ".png", ".jpg"}, 8 * mb},
		{"/usr/share/man", []string{".gz"}, 2 * mb},
		{"/usr/share/icons", []string{".png"}, 3 * mb},
		{"/usr/share/locale", []string{".mo"}, 8 * mb},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOCACHE").Output()
	if err != nil {
		t.Logf("going on without the toolchain's files: go env: %v", err)
		return places
	}
	root, cache, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return append(places,
		corpusPlace{filepath.Join(root, "pkg"), nil, 24 * mb},
		corpusPlace{filepath.Join(root, "src"), []string{".png", ".syso", ".gz", ".zip", ".jpeg", ".gif", ".a", ".o"}, 16 * mb},
		corpusPlace{cache, []string{"-d"}, 32 * mb})
}

// corpusMagic are the first bytes of binary files.
func corpusMagic() map[string]string {
	return map[string]string{
		"\x7fELF": "ELF", "\x89PNG\r\n\x1a\n": "PNG", "\x1f\x8b": "gzip", "!<arch>\n": "ar", "\x00\x00\x00\x00go1": "Go object",
		"PK\x03\x04": "zip", "\xff\xd8\xff": "JPEG", "\xde\x12\x04\x95": "mo", "\xa7\r\r\n": "pyc", "\x00\x01\x00\x00": "TTF",
		"GIF8": "GIF", "MZ": "PE", "\xfd7zXZ\x00": "xz", "\x28\xb5\x2f\xfd": "zstd", "\xcf\xfa\xed\xfe": "Mach-O", "\x64\x86": "COFF",
	}
}

func corpusKind(b []byte, magic map[string]string) string {
	for begin, kind := range magic {
		if bytes.HasPrefix(b, []byte(begin)) {
			return kind
		}
	}
	return ""
}

// corpusFiles are the counts of what was read.
type corpusFiles struct {
	magic           map[string]string
	kinds, altered  map[string]int
	early           [4]int // altered by a pause, for each of corpusPauses
	others, skipped int    // no binary files, and files left out for the sake of time
	size            int64
	out             []byte
}

// TestCorpusBinaries passes binary files through Auto, which must leave them alone.
func TestCorpusBinaries(t *testing.T) {
	files := &corpusFiles{magic: corpusMagic(), kinds: map[string]int{}, altered: map[string]int{}}
	for _, place := range corpusPlaces(t) {
		files.walk(t, place)
	}
	binaries := 0
	for _, kind := range slices.Sorted(maps.Keys(files.kinds)) {
		t.Logf("%-10s %5d files, %d altered", kind, files.kinds[kind], files.altered[kind])
		binaries += files.kinds[kind]
	}
	t.Logf("%d MB in %d binary files and %d others; %d left out", files.size>>20, binaries, files.others, files.skipped)
	for i, n := range corpusPauses() {
		t.Logf("with a pause behind %d bytes %d of the binary files would be altered", n, files.early[i])
	}
	if binaries == 0 {
		t.Skip("no binary files are here")
	}
}

// walk reads the files below a place in the order of their names.
func (f *corpusFiles) walk(t *testing.T, place corpusPlace) {
	left := place.most
	err := filepath.WalkDir(place.dir, func(name string, d fs.DirEntry, err error) error {
		fits := func(end string) bool { return strings.HasSuffix(name, end) }
		if err != nil || !d.Type().IsRegular() || len(place.ends) > 0 && !slices.ContainsFunc(place.ends, fits) {
			return nil // what cannot be read is none of ours
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if info.Size() > left {
			f.skipped++
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		left -= int64(len(b))
		f.size += int64(len(b))
		f.file(t, name, b)
		return nil
	})
	if err != nil {
		t.Logf("going on without %s: %v", place.dir, err)
	}
}

func (f *corpusFiles) file(t *testing.T, name string, b []byte) {
	kind := corpusKind(b, f.magic)
	if kind == "" {
		f.others++
		if how := corpusAltered(b, corpusWay{to: charset.UTF8}, corpusPiece); how != "" {
			t.Logf("altered, but not known to be binary: %s, %s", name, how)
		}
		return
	}
	f.kinds[kind]++
	// All sizes for some files of each kind, one for each of the others.
	sizes := []int{1, 3, 5, 7, 9, 11, 13, 15}
	if n := f.kinds[kind]; n > 25 {
		sizes = sizes[n%len(sizes):][:1]
	}
	how := corpusAltered(b, corpusWay{to: charset.UTF8}, corpusPiece)
	for _, way := range []corpusWay{{charset.UTF8, false}, {charset.UTF8, true}, {charset.GBK, false}} {
		if how == "" {
			how = corpusAltered(b[:min(len(b), 1<<20)], way, corpusPiece)
		}
		if how == "" {
			how = corpusAltered(b[:min(len(b), 8<<10)], way, sizes...)
		}
	}
	if how != "" {
		f.altered[kind]++
		t.Errorf("altered: %s (%s), %s", name, kind, how)
	}
	f.pause(b)
}

// pause counts the files that would be altered if nothing came for a while behind a few bytes.
func (f *corpusFiles) pause(b []byte) {
	b = b[:min(len(b), corpusPiece)]
	for i, n := range corpusPauses() {
		head, rest := b[:min(n, len(b))], b[min(n, len(b)):]
		c := charset.NewConverter(charset.Auto, charset.UTF8)
		f.out = c.Idle(c.Append(f.out[:0], head))
		if f.out = c.Close(c.Append(f.out, rest)); !bytes.Equal(f.out, b) {
			f.early[i]++
		}
	}
}

// corpusPauses are the numbers of bytes behind which a pause is tried.
func corpusPauses() []int { return []int{4, 16, 64, 512} }

// corpusWay is a way to convert.
type corpusWay struct {
	to     charset.Mode
	expect bool // GB 18030
}

// corpusAltered says how b is altered if it comes in pieces of one of the sizes; nothing if it is not.
func corpusAltered(b []byte, way corpusWay, sizes ...int) string {
	for _, size := range sizes {
		c := charset.NewConverter(charset.Auto, way.to)
		if way.expect {
			c.Expect()
		}
		if at := corpusFirstAltered(c, b, size); at >= 0 {
			return fmt.Sprintf("to %s in pieces of %d bytes, from byte %d on: %q", way.to, size, at, b[at:min(len(b), at+30)])
		}
	}
	return ""
}

// corpusFirstAltered is the index of the first byte that the converter alters; -1 if there is none.
func corpusFirstAltered(c *charset.Converter, b []byte, size int) int {
	out := make([]byte, 0, 2*size+2*charset.MaxHold)
	at := 0
	same := func(out []byte) bool {
		if bytes.HasPrefix(b[at:], out) {
			at += len(out)
			return true
		}
		for i := 0; i < len(out) && at < len(b) && out[i] == b[at]; i++ {
			at++
		}
		return false
	}
	for piece := range slices.Chunk(b, size) {
		if !same(c.Append(out, piece)) {
			return at
		}
	}
	if !same(c.Close(out)) || at < len(b) {
		return at
	}
	return -1
}
