//go:build unix

package persist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// channel is the invocation's end of the Unix socket, once a conversation is on it.
type channel struct {
	*net.UnixConn
	kind uint8
	rest []byte // read, and not yet asked for
	buf  []byte

	once    sync.Once
	writing atomic.Int32
	single  atomic.Bool // nobody may have the conversation afterwards
}

// readAhead saves system calls: the head of a frame is read by itself.
const readAhead = 64 << 10

// errEnded is the end of the stream, which never says that all is well: of a command there is an exit
// record for that.
var errEnded = errors.New("the background process has ended the conversation")

// Read implements [net.Conn].
func (c *channel) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		if len(p) >= readAhead {
			n, err := c.UnixConn.Read(p)
			return n, ended(err)
		}
		if c.buf == nil {
			c.buf = make([]byte, readAhead)
		}
		n, err := c.UnixConn.Read(c.buf)
		if n == 0 {
			return 0, ended(err)
		}
		c.rest = c.buf[:n]
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w (%w)", errEnded, io.ErrUnexpectedEOF)
	}
	return err
}

// Write implements [net.Conn].
func (c *channel) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	return c.UnixConn.Write(p)
}

// WriteVec writes head and body as one.
func (c *channel) WriteVec(head, body []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	both := net.Buffers{head, body}
	n, err := both.WriteTo(c.UnixConn)
	return int(n), err
}

// Kind is what carries the connection to the server.
func (c *channel) Kind() uint8 { return c.kind }

// Bind is an error: the proof has been.
func (*channel) Bind(context.Context) ([32]byte, error) {
	return [32]byte{}, errors.New("a conversation behind the proof has no channel binding")
}

// PeerKey is not known here.
func (*channel) PeerKey() (sum [32]byte) { return sum }

// SingleUse says that nobody else may have the conversation when it ends.
func (c *channel) SingleUse() { c.single.Store(true) }

// byeTime is how long a bye may take. A process that does not take a few bytes hangs, and will find an
// end without a bye.
const byeTime = 100 * time.Millisecond

// Close ends the conversation in order. Under a write that goes on it is Abort.
func (c *channel) Close() error {
	c.once.Do(func() {
		what := byte(byeReuse)
		if c.single.Load() {
			what = byeEnd
		}
		if c.writing.Load() == 0 {
			_ = c.SetWriteDeadline(time.Now().Add(byeTime))
			_, _ = c.UnixConn.Write(appendBye(nil, what))
		}
		_ = c.UnixConn.Close()
	})
	return nil
}

// Abort ends it so that the server sees a lost client.
func (c *channel) Abort() { c.once.Do(func() { _ = c.UnixConn.Close() }) }

// Quiet reports whether nothing has come that was not read, not even the end. It does not wait.
func (c *channel) Quiet() bool {
	if len(c.rest) > 0 {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		quiet = errors.Is(err, unix.EAGAIN)
	})
	return err == nil && quiet
}
