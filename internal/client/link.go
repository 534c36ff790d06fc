package client

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rexec/internal/proto"
)

// link is one proven connection. One goroutine reads; any may write.
type link struct {
	ch     Channel
	in     *proto.Reader
	choice *proto.Choice
	log    func(format string, args ...any)

	writing sync.Mutex
	out     *proto.Writer

	uptime  atomic.Uint64 // the daemon's, as last heard: a lower bound of what it is now
	waiting atomic.Bool   // the reader waits for the network, not for somebody to take output
	born    time.Time     // of which the times below are counted, so that setting a clock does not alter them
	heard   atomic.Int64  // when bytes came last, nanoseconds
	told    time.Time     // when uptime was last told; of the reader
	token   uint64        // of the last pong; of the reader
	pinged  atomic.Int64  // when the unanswered ping went out, nanoseconds; 0: none
	watch   *time.Timer
}

// Liveness: a server that says nothing for pingAfter is asked, and given up pingAnswer later.
const (
	pingAfter  = 10 * time.Second
	pingAnswer = 10 * time.Second
)

func newLink(ch Channel, choice *proto.Choice, log func(string, ...any)) *link {
	l := &link{ch: ch, out: proto.NewWriter(ch), choice: choice, log: log, born: time.Now()}
	l.in = proto.NewReader(l)
	l.uptime.Store(choice.Uptime)
	l.told = l.born
	l.watch = time.AfterFunc(pingAfter, l.check)
	return l
}

// Read reads from the connection for in, and keeps account of the server's silence.
func (l *link) Read(p []byte) (int, error) {
	l.waiting.Store(true)
	n, err := l.ch.Read(p)
	l.waiting.Store(false)
	if n > 0 {
		l.heard.Store(int64(time.Since(l.born)))
		l.pinged.Store(0)
	}
	return n, err
}

// check runs every few seconds. It must not take a reader that is busy with output for a dead server,
// nor itself having been stopped for a silence.
func (l *link) check() {
	now := time.Since(l.born)
	asked := time.Duration(l.pinged.Load())
	silent := now - time.Duration(l.heard.Load())
	switch {
	case asked != 0 && l.waiting.Load() && now-asked >= pingAnswer:
		l.log("no answer from the server for %s", silent.Round(time.Second))
		l.abort()
		return
	case asked == 0 && silent >= pingAfter && l.waiting.Load():
		l.pinged.Store(int64(now))
		go func() { // a write may block on a dead connection, and the timer must go on
			// Two, since a packet with one is too small to be answered by a stateless reset of a daemon that
			// was started again (RFC 9000 10.3.3).
			ping := proto.Ping{Token: uint64(now)}
			_ = l.write(ping, ping)
		}()
	}
	l.watch.Reset(pingAfter / 2)
}

// next returns the type of the next message that is not about the connection itself. Its payload is
// still to be read.
func (l *link) next() (proto.Type, error) {
	for {
		t, _, err := l.in.Next()
		if err != nil {
			return 0, err
		}
		switch t {
		case proto.TypePing, proto.TypePong:
			err = l.pingPong(t)
		case proto.TypeError:
			err = l.serverError()
		default:
			return t, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (l *link) pingPong(t proto.Type) error {
	payload, err := l.in.Payload()
	if err != nil {
		return err
	}
	if t == proto.TypePing {
		m, err := proto.ParsePing(payload)
		if err != nil {
			return err
		}
		return l.write(proto.Pong{Token: m.Token})
	}
	m, err := proto.ParsePong(payload)
	if err == nil {
		l.token = m.Token
		l.hearUptime(m.Uptime)
	}
	return err
}

func (l *link) hearUptime(uptime uint64) {
	if uptime > l.uptime.Load() {
		l.uptime.Store(uptime)
		l.told = time.Now()
	}
}

// age is the time since the daemon told its uptime. It counts wall time as well, since the monotonic
// clock stands still while a machine sleeps.
func (l *link) age() time.Duration {
	return max(time.Since(l.told), time.Since(l.told.Round(0)))
}

// roundTrip is one on an idle connection. The answer brings the daemon's uptime.
func (l *link) roundTrip() error {
	timer := time.AfterFunc(pingAnswer, l.abort)
	defer timer.Stop()
	token := uint64(time.Now().UnixNano())
	if err := l.write(proto.Ping{Token: token}); err != nil {
		return err
	}
	for l.token != token {
		if err := l.nextPong(); err != nil {
			return err
		}
	}
	return nil
}

// nextPong reads one message, which can only be about the connection.
func (l *link) nextPong() error {
	t, _, err := l.in.Next()
	switch {
	case err != nil:
		return err
	case t == proto.TypePing, t == proto.TypePong:
		return l.pingPong(t)
	case t == proto.TypeError:
		return l.serverError()
	}
	return unexpected(t)
}

// serverError returns the server's reason to end the conversation, or logs its remark.
func (l *link) serverError() error {
	payload, err := l.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParseError(payload)
	if err != nil {
		return err
	}
	if m.Code == proto.ErrorIgnored {
		l.log("server: %q", m.Text)
		return nil
	}
	return m
}

func (l *link) write(m ...proto.Message) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.out.Write(m...)
}

func (l *link) data(t proto.Type, offset uint64, p []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.out.Data(t, offset, p)
}

// close ends the connection in order, which tells the server that nothing is missing.
func (l *link) close() {
	l.watch.Stop()
	l.ch.Close()
}

// abort ends it at once: blocked reads and writes return, and the server does not take it for an
// orderly end.
func (l *link) abort() {
	l.watch.Stop()
	l.ch.Abort()
}

// errProtocol is wrapped by what a server may not send.
var errProtocol = errors.New("the server broke the protocol")

func unexpected(t proto.Type) error { return fmt.Errorf("%w: unexpected %s", errProtocol, t) }
