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
	// Tries are counted, and not the time: a machine that is too busy for this program is so for the other one, too.
	const tries, every = 100, 10 * time.Millisecond
	for try := 1; ; try++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		case try == tries:
			return errLocked
		}
		time.Sleep(every)
	}
}

func replaceFile(from, to string) error { return os.Rename(from, to) }
