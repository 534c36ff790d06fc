// Package client is rexec's side of a conversation: it connects, proves its key, runs commands, and
// when the connection breaks it comes back for the rest of the output without running anything twice.
//
// It owns the rules of what may be sent when: no command before the server's proof, unless the server
// shows the certificate key of an earlier proof. It does not read files, parse arguments or print;
// keys come in as values. It must not import the daemon's packages.
package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"rexec/internal/auth"
	"rexec/internal/proto"
	"rexec/internal/transport"
)

// Channel is an encrypted connection whose proof is still to come.
type Channel interface {
	net.Conn
	CloseWrite() error
	Kind() uint8
	Bind(ctx context.Context) ([32]byte, error)
	PeerKey() [32]byte
	Abort()      // closes without the good-bye that Close sends
	Quiet() bool // nothing has come from the peer that was not read, and it has not closed
}

// Pins remembers the certificate key of each server that has proved itself.
type Pins interface {
	Pin(id auth.ServerID) (sum [32]byte, ok bool)
	SetPin(id auth.ServerID, sum [32]byte) error
}

// Options say which server, with which key. Address and Key are needed, the rest has defaults.
type Options struct {
	Address string // host:port
	Key     auth.ClientKey
	Target  string        // what the user typed, for the server's log; default Address
	Pins    Pins          // default: no cache, so that every command waits for the server's proof
	Timeout time.Duration // for connecting and proving; default 15 s
	// Log takes progress for a curious user; default: nobody. It may be called concurrently.
	Log func(format string, args ...any)
	// Transport says what may carry the connection; the zero value is Auto.
	Transport Transport
	// Dial makes a connection; default: as Transport says.
	Dial func(ctx context.Context, address string) (Channel, error)
	// Shared asks for a conversation over a connection that somebody else holds, before the first one is
	// dialled; an error, which goes to Log, means that there is none. Default: nobody is asked.
	Shared func(ctx context.Context) (*Proven, error)

	mayMove bool // a large transfer that began over UDP goes on over TCP
}

func (o Options) withDefaults() Options {
	if o.Target == "" {
		o.Target = o.Address
	}
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Dial == nil {
		o.mayMove = o.Transport == Auto
		o.Dial = o.dial
	}
	return o
}

// Client runs commands on one server, one at a time, over a connection that it opens when needed and
// keeps. Its methods must not be called concurrently, but for Close.
type Client struct {
	options Options

	mu     sync.Mutex
	link   *link
	closed bool
}

// New returns a client. It does not connect.
func New(o Options) *Client { return &Client{options: o.withDefaults()} }

// ErrClosed is returned by what was called after or during Close.
var ErrClosed = errors.New("the client is closed")

// Close ends the connection. A command that still runs on it is left to the server's grace period.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.link != nil {
		c.link.close()
		c.link = nil
	}
	return nil
}

// Connect connects and proves, unless that was done already.
func (c *Client) Connect(ctx context.Context) error {
	_, _, err := c.connected(ctx, nil)
	return err
}

// connected returns the open connection or opens one. A new connection carries first together with
// the proof if the server is known by its certificate key, and sent says whether it did; otherwise
// first is not sent.
func (c *Client) connected(ctx context.Context, first *early) (l *link, sent bool, err error) {
	c.mu.Lock()
	l, closed := c.link, c.closed
	c.mu.Unlock()
	if closed {
		return nil, false, ErrClosed
	}
	if l != nil {
		return l, false, nil
	}
	if l = c.shared(ctx); l == nil {
		l, sent, err = c.openPatiently(ctx, first)
	}
	if sent && refusedBeforeRun(err) {
		sent = false
	}
	if err != nil {
		return nil, sent, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.close()
		return nil, sent, ErrClosed
	}
	c.link = l
	return l, sent, nil
}

// refusedBeforeRun reports whether a request that rode with the proof was certainly not looked at: the
// server said no to the proof, over a channel whose key is that of its last proof.
func refusedBeforeRun(err error) bool {
	var denied *auth.DeniedError
	return errors.As(err, &denied) || errors.Is(err, auth.ErrRefused)
}

// drop gives up a broken connection.
func (c *Client) drop(l *link) {
	if l == nil {
		return
	}
	l.abort()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == l {
		c.link = nil
	}
}

// early is a request that may ride with the proof. sending is called right before it is sent, and reports
// false if it must not be.
type early struct {
	run     *proto.Run
	sending func() bool
}

// openPatiently opens a connection, and again if the server cut it off before anything was sent: with a
// crowd at its door it gives up some at random.
func (c *Client) openPatiently(ctx context.Context, first *early) (l *link, sent bool, err error) {
	const tries, pause = 4, 50 * time.Millisecond
	for try := 1; ; try++ {
		l, sent, err = c.open(ctx, first)
		if err == nil || sent || try == tries || ctx.Err() != nil || !transport.Cut(err) {
			return l, sent, err
		}
		c.options.Log("cut off (%v), trying again", err)
		t := time.NewTimer(time.Duration(rand.Int64N(int64(pause) << try)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// open dials, binds and proves.
func (c *Client) open(ctx context.Context, first *early) (l *link, sent bool, err error) {
	return c.openWith(ctx, c.options.Dial, first)
}

// dialer makes a connection to an address.
type dialer func(ctx context.Context, address string) (Channel, error)

func (c *Client) openWith(ctx context.Context, dial dialer, first *early) (l *link, sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	start := time.Now()
	ch, err := dial(ctx, c.options.Address)
	if err != nil {
		return nil, false, err
	}
	stop := context.AfterFunc(ctx, ch.Abort)
	l, sent, err = c.prove(ctx, ch, first)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// The end in order would say that everything has arrived, and the server would forget the output of a
		// command that was sent with the proof.
		ch.Abort()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", ctx.Err(), err)
		}
		return nil, sent, err
	}
	c.options.Log("connected to %s over %s in %s", ch.RemoteAddr(), kindName(ch), time.Since(start).Round(10*time.Microsecond))
	return l, sent, nil
}

// prove exchanges the proofs over a dialled connection.
func (c *Client) prove(ctx context.Context, ch Channel, first *early) (l *link, sent bool, err error) {
	binding, err := ch.Bind(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("opening an encrypted channel: %w", err)
	}
	offer := &proto.Offer{MinVersion: proto.Version, MaxVersion: proto.Version, Target: c.options.Target}
	proof, err := auth.NewProof(c.options.Key, ch.Kind(), binding, offer)
	if err != nil {
		return nil, false, err
	}
	messages := []proto.Message{proof.Message()}
	if first != nil && c.pinned(ch) && len(first.run.Append(nil)) <= maxEarly && first.sending() {
		c.options.Log("the server shows its known key: sending the command with the proof")
		sent = true
		messages = append(messages, first.run)
	}
	if err := proto.NewWriter(ch).Write(messages...); err != nil {
		return nil, sent, fmt.Errorf("sending the proof: %w", err)
	}
	l, err = c.answer(ch, proof)
	return l, sent, err
}

// maxEarly is the largest request that rides with the proof, in bytes: both fit in one TLS record (RFC
// 8446 5.1), so that nobody on the path can let the proof through and hold the request back.
const maxEarly = 12 << 10

// pinned reports whether the server's certificate key is the one of its last proof.
func (c *Client) pinned(ch Channel) bool {
	if c.options.Pins == nil {
		return false
	}
	sum, ok := c.options.Pins.Pin(c.options.Key.Server)
	return ok && sum == ch.PeerKey()
}

// answer reads and checks the server's half of the proof.
func (c *Client) answer(ch Channel, proof *auth.Proof) (*link, error) {
	rd := proto.NewUnprovenReader(ch)
	t, _, err := rd.Next()
	if err != nil {
		return nil, fmt.Errorf("reading the server's proof: %w", err)
	}
	payload, err := rd.Payload()
	if err != nil {
		return nil, fmt.Errorf("reading the server's proof: %w", err)
	}
	_, choice, err := proof.Check(t, payload)
	if err != nil {
		return nil, err
	}
	if choice.Version != proto.Version {
		return nil, fmt.Errorf("the server speaks protocol version %d, this client %d", choice.Version, proto.Version)
	}
	if choice.Instance == ([proto.IDLen]byte{}) {
		return nil, fmt.Errorf("%w: no instance in its proof", errProtocol)
	}
	if c.options.Pins != nil && !c.pinned(ch) {
		if err := c.options.Pins.SetPin(c.options.Key.Server, ch.PeerKey()); err != nil {
			c.options.Log("the server's key is not remembered: %v", err)
		}
	}
	return newLink(ch, choice, c.options.Log), nil
}

// Fork returns another client over the same connection, on a stream of its own, so that both can run
// commands at the same time. It needs no proof, and is as good as a client of its own: it is closed by
// itself, and finds its own connection when this one breaks.
func (c *Client) Fork(ctx context.Context) (*Client, error) {
	l, _, err := c.connected(ctx, nil)
	if err != nil {
		return nil, err
	}
	p, err := (&Proven{Channel: l.ch, Choice: l.choice, Uptime: l.uptime.Load(), Told: l.told}).Fork(ctx)
	if err != nil {
		return nil, err
	}
	fork := &Client{options: c.options}
	fork.link = linkOver(p, c.options.Log)
	return fork, nil
}

// Transport names what carries the open connection: "TCP", "UDP", or "" if there is none.
func (c *Client) Transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return ""
	}
	return kindName(c.link.ch)
}

// Ping measures a round trip over the connection, which is opened if there is none. Nothing may run on
// it.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	l, _, err := c.connected(ctx, nil)
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, l.abort)
	defer stop()
	start := time.Now()
	if err := l.roundTrip(); err != nil {
		c.drop(l)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, err
	}
	return time.Since(start), nil
}

// Hold keeps the connection open, running nothing, until ctx ends or the server closes it.
func (c *Client) Hold(ctx context.Context) error {
	l, _, err := c.connected(ctx, nil)
	if err != nil {
		return err
	}
	defer c.drop(l)
	stop := context.AfterFunc(ctx, l.abort)
	defer stop()
	for {
		t, err := l.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		if t.Known() || t&proto.Ignorable == 0 {
			return unexpected(t)
		}
	}
}
