//go:build ignore

// This program packs the index files of the WHATWG Encoding Standard into tables.bin, in the form that
// tables.go reads:
//
//	go run gen.go DIRECTORY-OF-THE-INDEX-FILES

package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := generate(os.Args[1]); err != nil {
		panic("internal error: " + err.Error())
	}
}

func generate(dir string) error {
	index, err := read(filepath.Join(dir, "index-gb18030.txt"))
	if err != nil {
		return err
	}
	ranges, err := read(filepath.Join(dir, "index-gb18030-ranges.txt"))
	if err != nil {
		return err
	}
	return os.WriteFile("tables.bin", append(packIndex(index), packRanges(ranges)...), 0o644)
}

// row is one line of an index file: a pointer and a code point.
type row struct{ pointer, point int }

func read(name string) ([]row, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []row
	for s := bufio.NewScanner(f); s.Scan(); {
		if s.Text() == "" || s.Text()[0] == '#' {
			continue
		}
		var r row
		if _, err := fmt.Sscanf(s.Text(), "%d 0x%X", &r.pointer, &r.point); err != nil {
			return nil, fmt.Errorf("reading %s: %q: %w", name, s.Text(), err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// packIndex writes, for each pointer from 0 on, the code point's distance from the one that would come
// next, as a zigzag varint. A distance of 0 is followed by the number of further ones like it.
func packIndex(rows []row) []byte {
	var b []byte
	expected := 0
	for i := 0; i < len(rows); {
		if rows[i].pointer != i {
			panic("internal error: the index has gaps")
		}
		d := rows[i].point - expected
		b = binary.AppendVarint(b, int64(d))
		expected = rows[i].point + 1
		i++
		if d != 0 {
			continue
		}
		more := 0
		for i < len(rows) && rows[i].point == expected {
			more, expected, i = more+1, expected+1, i+1
		}
		b = binary.AppendUvarint(b, uint64(more))
	}
	return b
}

// packRanges writes each range's distances from the one before, as varints. They ascend in both.
func packRanges(rows []row) []byte {
	var b []byte
	var last row
	for _, r := range rows {
		b = binary.AppendUvarint(b, uint64(r.pointer-last.pointer))
		b = binary.AppendUvarint(b, uint64(r.point-last.point))
		last = r
	}
	return b
}
