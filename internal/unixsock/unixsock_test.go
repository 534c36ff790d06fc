//go:build unix

package unixsock

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func listen(t *testing.T, path string, mode fs.FileMode) net.Listener {
	t.Helper()
	ln, err := Listen(t.Context(), path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestListenMode(t *testing.T) {
	for _, mode := range []fs.FileMode{0o600, 0o660} {
		path := filepath.Join(t.TempDir(), "s")
		ln := listen(t, path, mode)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != fs.ModeSocket|mode {
			t.Errorf("%v, %v, want a socket of mode %v", info.Mode(), err, mode)
		}
		ln.Close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the end: %v", err)
		}
	}
}

// TestListenIsNeverOpen looks at the moment of bind(2), before the mode is set by name.
func TestListenIsNeverOpen(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "s")
	stop, seen := make(chan struct{}), make(chan fs.FileMode, 1)
	go func() {
		var widest fs.FileMode
		for {
			if info, err := os.Lstat(path); err == nil {
				widest |= info.Mode().Perm()
			}
			select {
			case <-stop:
				seen <- widest
				return
			default:
			}
		}
	}()
	for range 200 {
		ln, err := Listen(t.Context(), path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
	}
	close(stop)
	if got := <-seen; got&^0o600 != 0 {
		t.Errorf("the socket had mode %v for a moment", got)
	}
}

func TestListenReplacesWhatIsStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln := listen(t, path, 0o600)
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // as a process that was killed leaves it
	ln.Close()
	if _, err := Dial(t.Context(), path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("the stale socket: %v", err)
	}
	ln = listen(t, path, 0o600)
	conn, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if _, err := Listen(t.Context(), path, 0o600); !errors.Is(err, ErrInUse) {
		t.Errorf("a second listener: %v", err)
	}
	if conn, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file, 0o600); err == nil || !strings.Contains(err.Error(), "something else than a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if text, _ := os.ReadFile(file); string(text) != "x" {
		t.Error("the file in the way was touched")
	}
	var long *LengthError
	path := filepath.Join(dir, strings.Repeat("a", MaxPath))
	if _, err := Listen(t.Context(), path, 0o600); !errors.As(err, &long) {
		t.Errorf("a long path: %v", err)
	}
	if _, err := Dial(t.Context(), path); !errors.As(err, &long) {
		t.Errorf("a long path: %v", err)
	}
}
