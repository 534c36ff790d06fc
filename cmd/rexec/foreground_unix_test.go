//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// readFunc is a terminal that is read.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// TestReadFromTheBackground: it waits for the foreground, also if that came between the read and the look, and a terminal
// that is gone ends it.
func TestReadFromTheBackground(t *testing.T) {
	eio := &os.PathError{Op: "read", Path: "/dev/tty", Err: unix.EIO}
	for _, tt := range []struct {
		name string
		eios int    // reads that fail
		here []bool // answers, of which the last one stays
		want error
	}{
		{"in the foreground", 0, []bool{true}, nil},
		{"in the background for a while", 1, []bool{false, true}, nil},
		{"no more by now", 1, []bool{true}, nil},
		{"again and again", 4, []bool{true, false, true, false, true}, nil},
		{"gone", 100, []bool{true}, unix.EIO},
		{"gone meanwhile", 100, []bool{false, true}, unix.EIO},
	} {
		terminal := readFunc(func(b []byte) (int, error) {
			if tt.eios > 0 {
				tt.eios--
				return 0, eio
			}
			return copy(b, "x"), nil
		})
		here := func() bool {
			now := tt.here[0]
			if len(tt.here) > 1 {
				tt.here = tt.here[1:]
			}
			return now
		}
		if n, err := io.ReadFull(&foregroundReader{terminal, here}, make([]byte, 1)); !errors.Is(err, tt.want) || n == 0 && err == nil {
			t.Errorf("%s: %d, %v, want %v", tt.name, n, err, tt.want)
		}
	}
}
