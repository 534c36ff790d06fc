package classic

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxCommand bounds a command in bytes.
	maxCommand = 64 << 10
	// maxAhead is how much may be sent ahead while a command runs. Who sends more waits.
	maxAhead = 64 << 10
	// perCommand is what a command that waits costs beside its text.
	perCommand = 64
	// lingerBytes bounds what is read from a client that nobody listens to any more.
	lingerBytes = 16 << 20
)

var (
	errTooLong = errors.New("the command is too long")
	errStopped = errors.New("nobody listens any more")
)

// intake cuts what a client sends into commands. They have no frames: what comes together is one, and a
// pause ends it. The cut is made when the bytes arrive, however long an earlier command runs. One
// goroutine reads, another one takes.
type intake struct {
	conn  net.Conn
	lines bool // newlines end commands, too
	pause time.Duration

	mu      sync.Mutex
	changed sync.Cond
	queue   [][]byte
	size    int   // of the queue, with perCommand
	ended   error // why nothing comes behind the queue
	stopped bool
}

func newIntake(c net.Conn, lines bool, pause time.Duration) *intake {
	in := &intake{conn: c, lines: lines, pause: pause}
	in.changed.L = &in.mu
	return in
}

// next waits for a command.
func (in *intake) next() ([]byte, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.queue) == 0 && in.ended == nil {
		in.changed.Wait()
	}
	if len(in.queue) == 0 {
		return nil, in.ended
	}
	text := in.queue[0]
	in.queue = in.queue[1:]
	in.size -= len(text) + perCommand
	in.changed.Broadcast()
	return text, nil
}

// stop makes read throw away what comes, so that it ends with the connection.
func (in *intake) stop() {
	in.mu.Lock()
	in.stopped = true
	in.changed.Broadcast()
	in.mu.Unlock()
}

// read reads until the connection ends, and returns why there are no further commands.
func (in *intake) read() error {
	err := in.gather()
	in.mu.Lock()
	in.ended = err
	in.changed.Broadcast()
	in.mu.Unlock()
	if errors.Is(err, errTooLong) || errors.Is(err, errStopped) {
		_, _ = io.Copy(io.Discard, io.LimitReader(in.conn, lingerBytes))
	}
	return err
}

func (in *intake) gather() error {
	var text []byte
	chunk := make([]byte, 4<<10)
	for {
		if err := in.arm(len(text) > 0); err != nil {
			return err
		}
		n, err := in.conn.Read(chunk)
		text = append(text, chunk[:n]...)
		if in.lines {
			text = in.putLines(text)
		}
		if len(text) > maxCommand {
			return errTooLong
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if len(text) > 0 && !in.pending() {
				in.put(text)
				text = nil
			}
		default:
			// A connection that broke may have lost the end of the command; one that was closed has not.
			if errors.Is(err, io.EOF) && len(text) > 0 {
				in.put(text)
			}
			return err
		}
	}
}

// arm sets the deadline of the next read: a pause if a command has begun.
func (in *intake) arm(begun bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped {
		return errStopped
	}
	var deadline time.Time
	if begun {
		deadline = time.Now().Add(in.pause)
	}
	return in.conn.SetReadDeadline(deadline)
}

// pending reports whether more has arrived: on a busy machine a deadline can run out before anybody
// looked, and half a command must not run for it.
func (in *intake) pending() bool { return poll(in.conn, unix.POLLIN)&unix.POLLIN != 0 }

// putLines puts the whole lines of text and returns the rest. Empty lines are no commands. A line that is
// too long is returned, too.
func (in *intake) putLines(text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 || i > maxCommand {
			return text
		}
		if line := bytes.TrimSuffix(text[:i], []byte("\r")); len(bytes.TrimSpace(line)) > 0 {
			in.put(bytes.Clone(line))
		}
		text = text[i+1:]
	}
}

// put waits for room in the queue.
func (in *intake) put(text []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.size > maxAhead && !in.stopped {
		in.changed.Wait()
	}
	in.queue = append(in.queue, text)
	in.size += len(text) + perCommand
	in.changed.Broadcast()
}
