package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// rawConn lies between TLS and the socket and saves system calls: TLS writes one record of 16 KiB at
// a time and reads hardly more. It holds memory only while data streams, never for an idle connection.
type rawConn struct {
	net.Conn

	// Of the one goroutine that reads.
	rest   []byte  // read from the socket, not yet by TLS
	held   *buffer // rest's memory
	stream bool    // the last read was filled, so more is waiting

	mu     sync.Mutex // guards what follows; TLS writes from its reading side, too
	corked bool
	out    *buffer
	n      int // bytes in out
}

// bufferSize is a few TLS records: large enough to make system calls rare, small enough to stay in
// the processor's cache between encryption and the copy to the kernel.
const bufferSize = 256 << 10

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }} //nolint:gochecknoglobals // a pool is shared by nature

// Read fills p from the socket, or through a large buffer while the peer sends a stream.
func (c *rawConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 && (!c.stream || len(p) >= bufferSize) {
		n, err := c.Conn.Read(p)
		c.stream = n == len(p)
		return n, abrupt(err)
	}
	if len(c.rest) == 0 {
		b := buffers.Get().(*buffer)
		n, err := c.Conn.Read(b[:])
		if n == 0 {
			buffers.Put(b)
			return 0, abrupt(err)
		}
		c.held, c.rest, c.stream = b, b[:n], n > bufferSize/4
	}
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; len(c.rest) == 0 {
		buffers.Put(c.held)
		c.held = nil
	}
	return n, nil
}

// errAbrupt is the end of a TCP stream without TLS's closing alert, which anybody on the path can make
// (RFC 8446 6.1). crypto/tls takes one between two records for an orderly end.
var errAbrupt = fmt.Errorf("the connection ended without a closing alert: %w", io.ErrUnexpectedEOF)

func abrupt(err error) error {
	if errors.Is(err, io.EOF) {
		return errAbrupt
	}
	return err
}

// Write writes to the socket, or gathers while corked.
func (c *rawConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.corked {
		return c.Conn.Write(p)
	}
	if c.n+len(p) > bufferSize {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > bufferSize {
		return c.Conn.Write(p)
	}
	if c.out == nil {
		c.out = buffers.Get().(*buffer)
	}
	c.n += copy(c.out[c.n:], p)
	return len(p), nil
}

func (c *rawConn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork writes what was gathered.
func (c *rawConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	err := c.flush()
	if c.out != nil {
		buffers.Put(c.out)
		c.out = nil
	}
	return err
}

// flush is called with the lock held.
func (c *rawConn) flush() error {
	if c.n == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.out[:c.n])
	c.n = 0
	return err
}
