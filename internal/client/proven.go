package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rexec/internal/proto"
	"rexec/internal/transport"
)

// Proven is a conversation behind the proof, on which nothing has been said yet.
type Proven struct {
	Channel Channel
	Choice  *proto.Choice
	Uptime  uint64    // of the daemon in milliseconds, as it said last
	Told    time.Time // when it said so
}

// Prove connects and proves as a [Client] with these options would, and hands the conversation over. Whoever
// has it must notice by himself when the server falls silent.
func Prove(ctx context.Context, o Options) (*Proven, error) {
	l, _, err := New(o).openPatiently(ctx, nil)
	if err != nil {
		return nil, err
	}
	l.watch.Stop()
	return &Proven{Channel: l.ch, Choice: l.choice, Uptime: l.uptime.Load(), Told: l.told}, nil
}

// ErrOneAtATime is returned by Fork over a transport that carries one conversation per connection.
var ErrOneAtATime = errors.New("a TCP connection carries one command at a time")

// Fork opens another conversation on the same connection; on TCP it is ErrOneAtATime. What the daemon has
// said of itself is copied, and may be older than what it said on the first one since.
func (p *Proven) Fork(ctx context.Context) (*Proven, error) {
	q, ok := p.Channel.(interface {
		OpenStream(ctx context.Context) (*transport.QUICConn, error)
	})
	if !ok {
		return nil, ErrOneAtATime
	}
	st, err := q.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	return &Proven{Channel: st, Choice: p.Choice, Uptime: p.Uptime, Told: p.Told}, nil
}

// linkOver makes a link of a proven conversation.
func linkOver(p *Proven, log func(string, ...any)) *link {
	l := newLink(p.Channel, p.Choice, log)
	l.uptime.Store(p.Uptime)
	l.told = p.Told
	return l
}

// shared asks for a conversation over somebody else's connection, once: what comes back after a loss does so
// over a connection of its own. Nil if there is none.
func (c *Client) shared(ctx context.Context) *link {
	ask := c.options.Shared
	c.options.Shared = nil
	if ask == nil {
		return nil
	}
	p, err := ask(ctx)
	if err != nil {
		c.options.Log("%v", err)
		return nil
	}
	return linkOver(p, c.options.Log)
}

// settle tells a shared conversation that nobody may have it after this execution: only the end of its
// conversation tells the server that the client has everything of a named one, which others may ask for.
func settle(l *link, run *proto.Run) {
	if s, ok := l.ch.(interface{ SingleUse() }); ok && run.Name != "" {
		s.SingleUse()
	}
}
