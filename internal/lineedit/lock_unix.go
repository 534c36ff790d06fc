//go:build unix

package lineedit

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var errLocked = errors.New("another program has it locked")

// lockFile waits for the lock of a file, which ends when it is closed (flock(2)), but not for ever: whoever holds it may
// be stopped, and nobody could type meanwhile.
func lockFile(f *os.File) error {
	const patience, every = time.Second, 10 * time.Millisecond
	for begin := time.Now(); ; time.Sleep(every) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		case time.Since(begin) > patience:
			return errLocked
		}
	}
}

func replaceFile(from, to string) error { return os.Rename(from, to) }
