package job

import (
	"os"

	"golang.org/x/sys/unix"
)

// Report is what the shell of a lasting command says when it ends: the state for the next one.
type Report struct {
	File *os.File // a pipe from the shell, which the job reads and closes
	// Parse makes a proto.Run's State of what came through the pipe, of which the command may have written any part:
	// empty if it is not a report, or too large.
	Parse func([]byte) (state []byte, tooLarge bool)

	told []byte
	over bool // more came than told has room for
}

// maxReport is more than any report has that fits in proto.MaxState, in bytes: it has further variables, which are the
// daemon's own.
const maxReport = 256 << 10

// collect reads the pipe to its end, or until the command has ended and what lay in the pipe then is read: who holds
// it in the background is not waited for. What is too much is read as well, since the shell must not be kept waiting.
func (r *Report) collect() {
	defer r.File.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := r.File.Read(buf)
		r.take(buf[:n])
		if err != nil {
			break
		}
	}
	rc, err := r.File.SyscallConn()
	if err != nil {
		return
	}
	_ = rc.Control(func(fd uintptr) { // the deadline has passed for a Read
		left, _ := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		for left > 0 {
			n, err := readRetry(int(fd), buf)
			if err != nil || n == 0 {
				return
			}
			r.take(buf[:n])
			left -= n
		}
	})
}

func (r *Report) take(b []byte) {
	if r.over = r.over || len(r.told)+len(b) > maxReport; r.over {
		r.told = nil
		return
	}
	r.told = append(r.told, b...)
}

// wake ends collect once the command has ended.
func (r *Report) wake() {
	if r != nil {
		_ = r.File.SetReadDeadline(past)
	}
}

// state is what was told. To be called once collect has ended.
func (r *Report) state() (state []byte, tooLarge bool) {
	if r == nil {
		return nil, false
	}
	told, over := r.told, r.over
	r.told = nil
	if over {
		return nil, true
	}
	return r.Parse(told)
}
