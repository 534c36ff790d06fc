//go:build unix

// Package unixsock makes listening Unix sockets that have a place in the file system.
//
// It owns what goes wrong with them: paths that are too long, what an earlier process left behind, and
// the moment in which a new one could be open to more people than it is meant for. It knows nothing of
// what is said over them. It imports nothing of ours.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxPath is the most bytes of a path: sun_path of unix(7) without its zero byte.
const MaxPath = 107

// LengthError is what Listen and Dial return for a longer path.
type LengthError struct{ Path string }

// Error says what there is room for.
func (e *LengthError) Error() string {
	return fmt.Sprintf("the path of a Unix socket has at most %d bytes, and %s has %d", MaxPath, e.Path, len(e.Path))
}

// ErrInUse is returned by Listen if another process listens at the path.
var ErrInUse = errors.New("another process listens there")

// Listen makes a socket at path with these permissions, which has at no time more of them. What a process
// that is gone left there is replaced; what somebody listens on, and what is no socket, is an error. The
// file goes when the listener is closed.
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if len(path) > MaxPath {
		return nil, &LengthError{path}
	}
	if err := clearStale(ctx, path); err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// Linux gives the file what the socket has at the time of bind(2), as far as the umask lets it.
		if outer := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), uint32(mode)) }); outer != nil {
			return outer
		}
		return err
	}}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // what the umask took away
		ln.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return ln, nil
}

// clearStale removes a socket that nobody listens on.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("something else than a socket is there; remove it, or choose another path")
	}
	conn, err := Dial(ctx, path)
	switch {
	case err == nil:
		conn.Close()
		return ErrInUse
	case !errors.Is(err, syscall.ECONNREFUSED):
		return err // also of a listener that is too busy to take a connection
	}
	return os.Remove(path)
}

// Dial connects to a socket. Nobody listens there if the error is fs.ErrNotExist or syscall.ECONNREFUSED.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	if len(path) > MaxPath {
		return nil, &LengthError{path}
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
