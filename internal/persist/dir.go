//go:build unix

package persist

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// directory returns where sockets are: below XDG_RUNTIME_DIR, which is on this machine and goes when the user
// leaves (XDG Base Directory Specification), else in the user's cache, but nowhere that is shared with other
// users. If it may be made it is; else it is fs.ErrNotExist if there is none.
func directory(create bool) (string, error) {
	parent := os.Getenv("XDG_RUNTIME_DIR")
	// After su(1) it is still somebody else's. The specification has relative paths ignored: the background process
	// is in another directory.
	if !filepath.IsAbs(parent) || private(parent) != nil {
		var err error
		if parent, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("no place for a socket: %w", err)
		}
		if create {
			if err := os.MkdirAll(parent, 0o700); err != nil {
				return "", err
			}
		}
	}
	dir := filepath.Join(parent, "rexec")
	if create {
		if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	return dir, private(dir)
}

// private refuses a directory to which anybody else has access, or that somebody else could replace.
func private(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link, so no socket in it is used", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !ok || int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to somebody else, so no socket in it is used", dir)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("others have access to %s, so no socket in it is used; chmod 700 mends it", dir)
	}
	return nil
}

func socketPath(dir string, id ID) string { return filepath.Join(dir, id.name()) }

// lockSuffix is what the lock's name has behind that of the socket.
const lockSuffix = ".lock"

func lockPath(dir string, id ID) string { return socketPath(dir, id) + lockSuffix }
