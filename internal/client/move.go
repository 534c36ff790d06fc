package client

import (
	"context"
	"time"
)

// A large transfer is moved to TCP: where packets get lost, the kernel's congestion control can be fifty times
// as fast as that of QUIC in a program, and it is never much slower. What it is for a race to have been won by
// UDP is settled within a round trip; this is about everything after it.
const (
	// moveAfter is how long a command must have been receiving or sending over UDP, and moveBytes how much,
	// before another connection is opened for it.
	moveAfter = 2 * time.Second
	moveBytes = 1 << 20
)

// move is the state of a command that may be moved.
type move struct {
	start func(from *link) // opens the other connection in the background; nil: it may not be moved
	from  *link            // over which the count began
	began time.Time
	moved uint64 // output received and input taken when it began
	next  *link  // proven, for the command to go on over; guarded by the execution's lock
}

// considerMove starts moving a command that has become a large transfer over UDP. The goroutine that reads
// calls it.
func (x *execution) considerMove(l *link, now time.Time) {
	m := &x.move
	if m.start == nil || kindName(l.ch) != "UDP" {
		return
	}
	total := x.out[0].received + x.out[1].received + x.taken()
	if m.from != l {
		m.from, m.began, m.moved = l, now, total
		return
	}
	if now.Sub(m.began) >= moveAfter && total-m.moved >= moveBytes {
		start := m.start
		m.start = nil // once: if TCP is not to be had, it will not be soon
		x.wg.Go(func() { start(l) })
	}
}

// taken counts the input that the server has taken.
func (x *execution) taken() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.in.log.Base()
}

// moveToTCP opens a connection over TCP beside the one that a command runs over and lets it go on over the
// new one, as after a loss: from the byte where it is.
func (c *Client) moveToTCP(ctx context.Context, x *execution, from *link) {
	c.options.Log("a large transfer: opening a connection over TCP for it")
	l, _, err := c.openWith(ctx, dialTCP, nil)
	if err != nil {
		c.options.Log("no connection over TCP (%v), staying with UDP", err)
		return
	}
	x.mu.Lock()
	over := x.over
	if !over {
		x.move.next = l
	}
	x.mu.Unlock()
	if over {
		l.close()
		return
	}
	from.abort()
}

// next takes the connection that the command is to go on over; nil if there is none.
func (x *execution) next() *link {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := x.move.next
	x.move.next = nil
	return l
}

// adopt makes a proven connection the client's, which has none.
func (c *Client) adopt(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close()
		return
	}
	c.link = l
}
