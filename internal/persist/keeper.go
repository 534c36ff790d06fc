//go:build unix

package persist

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// keeper is the background process: it holds conversations with the server, and gives one to each
// invocation that asks.
type keeper struct {
	id      ID
	socket  string
	placed  os.FileInfo // of the socket
	lock    *lock
	ln      net.Listener
	key     keyFile
	options client.Options
	tick    time.Duration
	widen   func() // uses all processors; nil: it does already

	wake chan struct{}   // something changed that may be the end
	over chan struct{}   // closed by an order to end at once
	once sync.Once       // of over
	wg   sync.WaitGroup  // of all goroutines
	open context.Context //nolint:containedctx // of connections that are opened in the background

	mu       sync.Mutex
	all      map[*conversation]struct{}
	free     []*conversation // what nobody has: the one that was used last is last. Over UDP the first stream only
	kind     uint8
	opening  int
	busy     int  // invocations that have a conversation
	taking   bool // invocations are taken
	done     bool // nothing is opened any more
	deadline time.Time
	instance [proto.IDLen]byte // of the daemon, whose uptime follows
	uptime   uint64
	told     time.Time
}

const (
	// askEvery is how often the server is asked for its uptime, of which an invocation must know a recent one,
	// and whether it is there.
	askEvery = 10 * time.Second
	// fresh is for how long after it was heard from a conversation counts as alive.
	fresh = askEvery + 5*time.Second
	// answerTime is what the server has to answer.
	answerTime = 5 * time.Second
	// doubtAfter is after which silence the server is asked although it will be asked anyway.
	doubtAfter = 2 * time.Second
	// maxFree is how many conversations over TCP are held ready for invocations at the same moment, and
	// keepFree how long more than one of them.
	maxFree  = 8
	keepFree = 30 * time.Second
	// helloTime is what an invocation has to say what it wants.
	helloTime = 2 * time.Second
)

// add makes a proven conversation one of the keeper's, free for anybody.
func (k *keeper) add(p *client.Proven) *conversation {
	c := &conversation{p: p, k: k, heard: time.Now(), idle: time.Now()}
	k.mu.Lock()
	done := k.done
	if !done {
		k.all[c] = struct{}{}
		k.wg.Go(c.read)
	}
	k.mu.Unlock()
	if done {
		p.Channel.Abort()
	}
	k.hear(p.Choice.Instance, p.Uptime, p.Told)
	return c
}

// hear takes note of an uptime of the daemon's.
func (k *keeper) hear(instance [proto.IDLen]byte, uptime uint64, told time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if instance != k.instance || uptime > k.uptime {
		k.instance, k.uptime, k.told = instance, uptime, told
	}
}

// header introduces a conversation.
func (k *keeper) header(c *conversation) header {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := header{
		status: statusReady, pid: os.Getpid(), kind: c.p.Channel.Kind(), choice: c.p.Choice,
		uptime: c.p.Uptime, age: elapsed(c.p.Told),
	}
	if c.p.Choice.Instance == k.instance {
		h.uptime, h.age = k.uptime, elapsed(k.told)
	}
	return h
}

// put makes a conversation free.
func (k *keeper) put(c *conversation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, alive := k.all[c]; alive && !slices.Contains(k.free, c) {
		c.idle = time.Now()
		k.free = append(k.free, c)
	}
}

// take returns a conversation for an invocation, or nil: then it is on its own, at once, and there may be
// one for the next.
func (k *keeper) take(ctx context.Context) *conversation {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.taking {
		return nil
	}
	for i := len(k.free) - 1; i >= 0; i-- {
		c := k.free[i]
		switch {
		case c.silence() > fresh:
			c.ask() // whether the network, or this machine, has only been asleep
			continue
		case k.kind == proto.TransportQUIC:
			return k.fork(ctx, c)
		case c.unanswered() > 0:
			continue
		}
		k.free = slices.Delete(k.free, i, i+1)
		if len(k.free) == 0 {
			k.spare()
		}
		return c
	}
	if k.kind != proto.TransportQUIC {
		k.spare()
	}
	return nil
}

// fork opens a stream beside c. Called with the lock held.
func (k *keeper) fork(ctx context.Context, c *conversation) *conversation {
	const moment = 50 * time.Millisecond // it waits only if there are as many as the server admits
	ctx, cancel := context.WithTimeout(ctx, moment)
	defer cancel()
	p, err := c.p.Fork(ctx)
	if err != nil {
		return nil
	}
	k.mu.Unlock()
	defer k.mu.Lock()
	return k.add(p)
}

// spare opens a further connection in the background. Called with the lock held.
func (k *keeper) spare() {
	if len(k.free)+k.opening >= maxFree {
		return
	}
	k.opening++
	k.wg.Go(func() {
		p, err := client.Prove(k.open, k.options)
		if err == nil {
			k.put(k.add(p))
		}
		var denied *auth.DeniedError
		k.mu.Lock()
		k.opening--
		if errors.As(err, &denied) || errors.Is(err, auth.ErrRefused) {
			k.taking = false
		}
		k.mu.Unlock()
		k.changed()
	})
}

// changed lets the keeper look whether it is to end.
func (k *keeper) changed() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// lost forgets a conversation that has ended.
func (k *keeper) lost(c *conversation) {
	k.mu.Lock()
	delete(k.all, c)
	k.free = slices.DeleteFunc(k.free, func(o *conversation) bool { return o == c })
	if k.kind == proto.TransportQUIC && len(k.free) == 0 {
		k.taking = false // nobody could get a stream any more
	}
	k.mu.Unlock()
	if sink := c.end(); sink != nil {
		sink.Close() // without a word: whoever had it must not take this for an end in order
	}
	c.p.Channel.Abort()
	k.changed()
}

// heard takes what the server says while nobody has the conversation. It reports false if the conversation
// is of no more use.
func (k *keeper) heard(c *conversation, a answer) bool {
	switch a.t {
	case proto.TypePong:
		m, err := proto.ParsePong(a.payload)
		if err != nil {
			return false
		}
		k.hear(c.p.Choice.Instance, m.Uptime, time.Now())
		if c.pong(m) {
			k.put(c)
		}
		return true
	case proto.TypePing:
		return c.reply(a.payload)
	case proto.TypeAck:
		return true
	case proto.TypeError:
		m, err := proto.ParseError(a.payload)
		if err == nil && (m.Code == proto.ErrorShutdown || m.Code == proto.ErrorRevoked) {
			k.retire()
		}
		return err == nil && m.Code == proto.ErrorIgnored
	}
	return !a.t.Known() && a.t&proto.Ignorable != 0
}

// doubt asks the server whether it is there, on a conversation that nobody has.
func (k *keeper) doubt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.free {
		if c.silence() > doubtAfter {
			c.ask()
			time.AfterFunc(answerTime+time.Second/10, k.changed)
			return
		}
	}
}

// touch puts off the end.
func (k *keeper) touch(idle time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if end := time.Now().Add(idle); end.After(k.deadline) {
		k.deadline = end
		k.changed()
	}
}

// retire takes no invocation any more, and gives up the place for another process: at once, so that who asked for it
// finds nobody there after the answer.
func (k *keeper) retire() {
	k.mu.Lock()
	k.taking = false
	k.leave()
	k.mu.Unlock()
	k.changed()
}
