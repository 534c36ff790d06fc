//go:build unix

package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// openNoFollow opens a file for reading, not through a symbolic link, and without waiting for the
// writer of a FIFO (open(2)).
func openNoFollow(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// checkAccess refuses a file that belongs to another account than ours or root, or that has any of
// the permissions in forbidden.
func checkAccess(path string, info fs.FileInfo, forbidden fs.FileMode, chmod string) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return &FileError{Path: path, Msg: fmt.Sprintf("belongs to user %d", st.Uid),
			Fix: fmt.Sprintf("chown %d %s", os.Geteuid(), path)}
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return &FileError{Path: path, Msg: fmt.Sprintf("is open to others (mode %04o)", mode), Fix: chmod + path}
	}
	return nil
}

// fileID tells one version of a file from another.
type fileID struct {
	dev, ino       uint64
	size           int64
	mode           fs.FileMode
	uid            uint32
	modified       time.Time
	changedSeconds int64
	changedNanos   int64
}

func identify(info fs.FileInfo) fileID {
	id := fileID{size: info.Size(), mode: info.Mode(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id.dev, id.ino, id.uid = uint64(st.Dev), st.Ino, st.Uid
		id.changedSeconds, id.changedNanos = changeTime(st)
	}
	return id
}

// syncDir makes the names in a directory survive a crash (fsync(2)).
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lockWait bounds the wait for another program that writes the same file; it takes milliseconds.
const lockWait = 10 * time.Second

// lock holds path+".lock" against other programs until unlock is called. The lock file stays: to
// remove it would let two programs hold two files of one name.
func lock(path string) (unlock func(), err error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(5 * time.Millisecond) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		busy := errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR)
		if busy && time.Now().Before(deadline) {
			continue
		}
		_ = f.Close()
		if busy {
			return nil, &FileError{Path: name, Msg: "is held by another program", Fix: "end that program"}
		}
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
}
