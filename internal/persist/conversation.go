//go:build unix

package persist

import (
	"net"
	"sync"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// conversation is one with the server. One goroutine reads what the server says for as long as it lives:
// for the invocation that has the conversation, and for the keeper while nobody does.
type conversation struct {
	p *client.Proven
	k *keeper

	writing sync.Mutex // held by who writes to the server while nobody has the conversation

	mu    sync.Mutex
	sink  net.Conn // the invocation's; nil: nobody has it
	deaf  bool     // sink takes nothing any more; who reads from it decides what that means
	down  frames   // of the server
	runs  int      // requests that were passed on
	exits int      // records that came back
	asked bool     // something was passed on to which the server may have an answer still
	heard time.Time
	first time.Time // when the first bytes of who has it were passed on; zero: none were
	// since is when a question was put that is not answered; zero: there is none.
	since  time.Time
	token  uint64
	saying int // writes of the keeper's that go on
	ended  bool
	idle   time.Time // since when nobody has it
}

// Buffers grow once a stream fills them, for an idle conversation needs little.
const (
	smallBuffer = 4 << 10
	largeBuffer = 256 << 10
)

func larger(buf []byte, n int) []byte {
	if n == len(buf) && n < largeBuffer {
		return make([]byte, largeBuffer)
	}
	return buf
}

// read reads from the server until the conversation ends.
func (c *conversation) read() {
	defer c.k.lost(c)
	buf := make([]byte, smallBuffer)
	for {
		n, err := c.p.Channel.Read(buf)
		if n > 0 {
			sink, ok := c.came(buf[:n])
			if !ok {
				return
			}
			if sink != nil {
				if _, err := sink.Write(buf[:n]); err != nil {
					c.deafen(sink)
				}
			} else if len(buf) > smallBuffer {
				buf = make([]byte, smallBuffer)
				continue
			}
			buf = larger(buf, n)
		}
		if err != nil {
			return
		}
	}
}

// came takes note of bytes of the server's, and returns who gets them. It reports false if the
// conversation is of no use any more.
func (c *conversation) came(b []byte) (net.Conn, bool) {
	c.mu.Lock()
	c.heard = time.Now()
	var said []answer
	keep := c.sink == nil
	err := c.down.take(b, keep, func(t proto.Type, payload []byte) {
		if t == proto.TypeExit {
			c.exits++
		}
		if keep {
			said = append(said, answer{t, payload})
		}
	})
	sink := c.sink
	if c.deaf {
		sink = nil
	}
	c.mu.Unlock()
	for _, a := range said {
		if !c.k.heard(c, a) {
			return nil, false
		}
	}
	return sink, err == nil
}

// answer is a frame of the server's while nobody has the conversation.
type answer struct {
	t       proto.Type
	payload []byte
}

func (c *conversation) deafen(sink net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sink == sink {
		c.deaf = true
	}
}

// give gives the conversation to an invocation, which gets the header first. It reports false, with nothing
// said, if the conversation cannot be had.
func (c *conversation) give(sink net.Conn, h header) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// An answer to the keeper is nothing for an invocation, which would take it for the end (Quiet).
	if c.ended || c.sink != nil || c.saying > 0 || !c.since.IsZero() || !c.down.between() {
		return false
	}
	// The server's bytes wait for the lock.
	if _, err := sink.Write(h.append(nil)); err != nil {
		return false
	}
	c.sink, c.deaf, c.asked, c.first = sink, false, false, time.Time{}
	return true
}

// outcome is how an invocation's use of a conversation ended.
type outcome int

const (
	broken  outcome = iota // the client was lost
	over                   // in order
	free                   // in order, and somebody else may have it
	settled                // free once a question is answered
)

// serve passes on what the invocation says, until its end.
func (c *conversation) serve(sink net.Conn) outcome {
	var up frames
	passed := false
	buf := make([]byte, smallBuffer)
	held := 0
	for {
		n, err := sink.Read(buf[held:])
		have := buf[:held+n]
		pass, bye, what, bad := up.cut(have, c.goes)
		if pass > 0 {
			if !passed {
				passed = true
				c.begins()
			}
			if _, err := c.p.Channel.Write(have[:pass]); err != nil {
				return broken
			}
		}
		switch {
		case bye:
			return c.bye(what)
		case bad != nil:
			return broken
		case err != nil && !passed && held == 0:
			return c.bye(byeReuse) // it was gone before it could say anything, and nobody has heard it
		case err != nil:
			return broken
		}
		held = len(have) - pass
		next := larger(buf, len(have))
		copy(next, have[pass:])
		buf = next
	}
}

// goes takes note of a frame that was passed on.
func (c *conversation) goes(t proto.Type) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch t {
	case proto.TypeRun:
		c.runs++
	case proto.TypePing, proto.TypeSignal, proto.TypeWindow:
		c.asked = true
	}
}

// bye is the client's end in order. The conversation may be used again if all of its requests were
// answered and nothing of an answer is on its way.
func (c *conversation) bye(what byte) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := what == byeReuse && c.p.Channel.Kind() == proto.TransportTCP && c.runs == c.exits && !c.ended && c.down.between()
	c.sink = nil
	switch {
	case !again:
		return over
	case c.asked:
		return settled
	}
	return free
}

// begins notes the first bytes of an invocation. If the server has said nothing for a while, it is asked on
// another conversation whether it is still there: on this one, nobody but the invocation may speak.
func (c *conversation) begins() {
	c.mu.Lock()
	c.first = time.Now()
	c.mu.Unlock()
	c.k.doubt()
}

// waits reports whether nothing was heard from the server since the invocation began to speak.
func (c *conversation) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sink != nil && !c.first.IsZero() && c.heard.Before(c.first)
}

// ask puts a question to the server, unless one is put or an invocation has the conversation.
func (c *conversation) ask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.sink != nil || !c.since.IsZero() {
		return
	}
	c.token++
	c.since = time.Now()
	ping := proto.Ping{Token: c.token}
	if c.p.Channel.Kind() == proto.TransportTCP {
		c.say(ping)
		return
	}
	// Two, since a packet with one is too small to be answered by a stateless reset of a daemon that was
	// started again (RFC 9000 10.3.3).
	c.say(ping, ping)
}

// say writes to the server; who calls it has the lock and knows that no invocation has the conversation,
// which none can get before it is written. A write that blocks ends with the conversation.
func (c *conversation) say(m ...proto.Message) {
	c.saying++
	go func() {
		c.writing.Lock()
		defer c.writing.Unlock()
		_ = proto.NewWriter(c.p.Channel).Write(m...) // what fails is found by who reads
		c.mu.Lock()
		defer c.mu.Unlock()
		c.saying--
	}()
}

// reply answers the server's own question.
func (c *conversation) reply(payload []byte) bool {
	m, err := proto.ParsePing(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.sink == nil && !c.ended {
		c.say(proto.Pong{Token: m.Token})
	}
	return err == nil
}

// pong takes the server's answer, and reports whether it is the one that was awaited.
func (c *conversation) pong(m proto.Pong) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	awaited := !c.since.IsZero() && m.Token == c.token
	if awaited {
		c.since = time.Time{}
	}
	return awaited
}

// silence is how long the server has said nothing here, also counting the time that the machine slept.
func (c *conversation) silence() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return elapsed(c.heard)
}

// unanswered is how long a question has waited, by the clock that stands still while the machine sleeps.
func (c *conversation) unanswered() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return 0
	}
	return time.Since(c.since)
}

func elapsed(t time.Time) time.Duration { return max(time.Since(t), time.Since(t.Round(0))) }

// end marks the conversation as ended, and returns who had it.
func (c *conversation) end() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	sink := c.sink
	c.sink = nil
	return sink
}
