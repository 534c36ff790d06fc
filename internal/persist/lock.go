//go:build unix

package persist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lock is the file that says which process is the target's: who has it locked (flock(2)) is, and its process
// ID stands in it.
type lock struct{ *os.File }

// errLocked means that another process has the lock.
var errLocked = errors.New("another process has the lock")

// takeLock takes the lock at path, or is errLocked. Whoever inherits the file inherits the lock, which ends
// with the last of them.
func takeLock(path string) (*lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		l := &lock{f}
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, errLocked
		case err != nil:
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		case l.at(path):
			return l, f.Truncate(0) // the process that it names has ended
		}
		f.Close() // removed meanwhile by who had it
	}
}

// at reports whether the file is the one that path names.
func (l *lock) at(path string) bool {
	mine, err := l.Stat()
	there, thereErr := os.Lstat(path)
	return err == nil && thereErr == nil && os.SameFile(mine, there)
}

// sign writes this process's ID into the file.
func (l *lock) sign() error {
	if err := l.Truncate(0); err != nil {
		return err
	}
	_, err := l.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return err
}

// give removes the file, if it is still there, and ends the lock.
func (l *lock) give(path string) {
	if l.at(path) {
		_ = os.Remove(path)
	}
	l.Close()
}

// holder is the process that has the lock, by its own word; 0 if it has not said so yet, or nobody has it.
func holder(path string) int {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0 // what it says is history; closing it ends this lock
	}
	text, _ := io.ReadAll(io.LimitReader(f, 20))
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// How long a process that hangs is watched before it is ended, and what comes after that may take.
const (
	watchTime = 1500 * time.Millisecond
	killTime  = 2 * time.Second
)

// depose takes the lock away from a process that hangs: stopped, or in a loop. It is given watchTime to
// answer, and is then killed; whatever ran over it goes on over connections of its own.
func depose(ctx context.Context, path string, id ID) (*lock, error) {
	pid := holder(path)
	ctx, cancel := context.WithTimeout(ctx, watchTime+killTime)
	defer cancel()
	watched, end := context.WithTimeout(ctx, watchTime)
	conn, _, err := ask(watched, hello{op: opCheck, id: id})
	end()
	if err == nil {
		_ = conn.Close()
		return nil, errLocked
	}
	// Who has the lock says so, and the kernel says who listens: an ID in a file may be another process's here.
	socket := strings.TrimSuffix(path, lockSuffix)
	if errors.Is(err, ErrHung) && pid > 1 && pid == holder(path) && pid == listener(ctx, socket) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for {
		l, err := takeLock(path)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		pause := time.NewTimer(10 * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil, err
		case <-pause.C:
		}
	}
}
