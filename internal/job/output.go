package job

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/bytelog"
	"rexec/internal/proto"
)

// pipeSize is what a busy output pipe grows to; the kernel's 64 KiB make the command and the daemon
// take turns.
const pipeSize = 1 << 20

// pump moves one output stream from its pipe into the log until the stream ends or the command has
// ended and what it wrote is in.
func (j *Job) pump(o *output) {
	grown := false
	for {
		n, err := j.appendFrom(o)
		switch {
		case err == nil:
			if n >= bulk && !grown && !o.terminal {
				grown = true
				growPipe(o.file)
			}
			gather(n)
		case errors.Is(err, os.ErrDeadlineExceeded):
			j.drain(o)
			return
		default: // io.EOF, EIO of a terminal, an unwanted stream, or a pipe that cannot be read any more
			o.file.Close()
			j.close(o)
			return
		}
	}
}

// A read of bulk bytes or more tells a stream; of one that is below enough, the rest is on its way.
const (
	bulk   = 4 << 10
	enough = 256 << 10
)

// gather gives a command that writes a stream in small pieces a moment to write more of them. Each
// read wakes the sender, which wakes the client: taking the pieces as they come costs three times the
// processor time, and with it throughput. A trickle is never held up.
func gather(n int) {
	if n >= bulk && n < enough {
		// Not time.Sleep: the runtime's timers round this up to a millisecond.
		_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(200 * time.Microsecond)}, nil)
	}
}

// growPipe is allowed to have no effect: unprivileged users have a quota of pipe memory.
func growPipe(f *os.File) {
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}

// errUnwanted ends a pump whose reader is gone.
var errUnwanted = errors.New("nobody wants this stream any more")

// appendFrom waits for room in the window and for output, and moves one read of it into the log.
func (j *Job) appendFrom(o *output) (int, error) { return j.appendOne(o, true) }

// appendOne is appendFrom, which returns EAGAIN instead of waiting for output if it is to.
func (j *Job) appendOne(o *output, wait bool) (int, error) {
	room := j.room(o)
	if room == 0 {
		return 0, errUnwanted
	}
	rc, err := o.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var readErr error
	err = rc.Read(func(fd uintptr) bool {
		n, readErr = j.readInto(o, int(fd), room)
		return !wait || !errors.Is(readErr, unix.EAGAIN)
	})
	if err != nil {
		return 0, err
	}
	return n, readErr
}

// readInto does one non-blocking read straight into the log's memory. Memory is taken only while
// there is something to read.
func (j *Job) readInto(o *output, fd, limit int) (int, error) {
	j.mu.Lock()
	buf := o.log.Tail()
	j.mu.Unlock()
	buf = buf[:min(len(buf), limit)]
	n, err := readRetry(fd, buf)
	for o.terminal && n > 0 && n < len(buf) { // it gives no more than 4 KiB at a time
		more, err := readRetry(fd, buf[n:])
		if err != nil || more == 0 {
			break // the next call comes upon it, too
		}
		n += more
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	if n <= 0 {
		o.log.Park()
		if err == nil {
			err = io.EOF
		}
		return 0, err
	}
	o.log.Commit(n)
	j.changed.Broadcast()
	return n, nil
}

// readAhead is how much output may wait for the attachment to write it. More would not make it faster,
// and what waits in the pipe instead is read in larger pieces.
const readAhead = bytelog.LargeSegment

// unsent is the output that the attachment has not begun to write. Called with the lock held.
func (j *Job) unsent(o *output) int {
	if j.att == nil || j.verdict != nil {
		return 0
	}
	return int(o.log.Head() - j.att.next[o.stream-proto.Stdout])
}

func readRetry(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// room waits until the window has room and returns how much; 0 if the stream is not wanted any more.
// Once the command has ended nothing waits: what is left in the pipe fits in memory, and the exit
// record must not depend on how fast a client reads.
func (j *Job) room(o *output) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !o.unwanted && !j.over && (o.log.Len() >= o.window || j.unsent(o) >= readAhead) {
		if o.starved = o.log.Len() >= o.window; o.starved {
			j.changed.Broadcast()
		}
		j.changed.Wait()
	}
	o.starved = false
	switch {
	case o.unwanted:
		return 0
	case j.over:
		return pipeSize
	}
	return o.window - o.log.Len()
}

// drain runs once the command has ended: all that it wrote lies in the pipe and goes into the log.
// If then somebody else still holds the pipe, late writers (a tee behind a process substitution) get
// a moment, and after it the stream ends for the client. The pipe is read on to its end, so that a
// service left in the background does not die of SIGPIPE. A terminal is closed instead: it is gone with the
// session, as from under a service that was left behind by any login.
func (j *Job) drain(o *output) {
	held, err := j.drainWritten(o)
	if !held {
		o.file.Close()
		j.close(o)
		return
	}
	limit := time.Now().Add(lateOutput)
	for err == nil && time.Now().Before(limit) && j.roomForLate(o) {
		_ = o.file.SetReadDeadline(time.Now().Add(quietOutput))
		_, err = j.appendFrom(o)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		o.file.Close()
		j.close(o)
		return
	}
	j.mu.Lock()
	o.late = true
	j.mu.Unlock()
	j.close(o)
	if o.terminal {
		o.file.Close()
		return
	}
	j.table.discard(o.file)
}

// roomForLate keeps what a busy process in the background writes from filling the memory.
func (j *Job) roomForLate(o *output) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return o.log.Len() < o.window+pipeSize
}

// drainWritten moves what lies in the pipe now into the log, and reports whether the pipe is still
// open at its other end.
func (j *Job) drainWritten(o *output) (held bool, err error) {
	_ = o.file.SetReadDeadline(time.Time{})
	left := terminalSize
	if !o.terminal {
		left = buffered(o.file)
	}
	for left > 0 {
		n, err := j.appendOne(o, !o.terminal)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return false, err
		}
		left -= n
	}
	_ = o.file.SetReadDeadline(time.Now().Add(quietOutput))
	_, err = j.appendFrom(o)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true, err
	}
	return err == nil, err
}

// terminalSize is more than the kernel holds for a terminal, in bytes. How much that is at the moment cannot be
// asked for: TIOCINQ counts the last of several buffers only. A read finds it empty when all of them are.
const terminalSize = 1 << 20

// buffered is the number of bytes that can be read from a pipe without waiting.
func buffered(f *os.File) int {
	n := 0
	if rc, err := f.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}

func (j *Job) close(o *output) {
	j.mu.Lock()
	o.done = true
	j.changed.Broadcast()
	j.mu.Unlock()
}
