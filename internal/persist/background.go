//go:build unix

package persist

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/unixsock"
)

// Background is the whole life of a background process that Start.Begin has started; version is that of the
// program. It has nobody to tell an error to.
func Background(ctx context.Context, version string) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(variable)), &o); err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	// One invocation after the other needs one processor: what the runtime does to find work for others is in
	// the way of the client and, in a small machine, of the server.
	all := runtime.GOMAXPROCS(1)
	k, err := newKeeper(ctx, o, version)
	if err != nil {
		return err
	}
	k.widen = func() { runtime.GOMAXPROCS(all) }
	return k.run(ctx, o.Idle)
}

// keyFile is where the key is, and how the file was when it was read.
type keyFile struct {
	path string
	info os.FileInfo
	same func(auth.ClientKey) bool // the key is the one that the keeper has proved
}

// changed reports whether the file holds another key now, or none.
func (f *keyFile) changed() bool {
	info, err := os.Stat(f.path)
	if err != nil {
		return true
	}
	if os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return false
	}
	f.info = info
	e, err := auth.ReadKey(f.path)
	return err != nil || !f.same(e.Token.Key)
}

// newKeeper connects, proves, and listens.
func newKeeper(ctx context.Context, o order, version string) (*keeper, error) {
	k := &keeper{
		tick: askEvery, wake: make(chan struct{}, 1), over: make(chan struct{}), all: map[*conversation]struct{}{},
		taking: true,
	}
	if err := k.identify(o, version); err != nil {
		return nil, err
	}
	if err := k.place(ctx, o.Locked); err != nil {
		return nil, err
	}
	p, err := client.Prove(ctx, k.options)
	if err == nil {
		k.ln, err = unixsock.Listen(ctx, k.socket, 0o600)
	}
	if err == nil {
		k.placed, err = os.Lstat(k.socket)
	}
	if err != nil {
		if p != nil {
			p.Channel.Abort()
		}
		k.lock.give(k.socket + lockSuffix)
		return nil, err
	}
	k.kind = p.Channel.Kind()
	k.put(k.add(p))
	return k, nil
}

// identify reads the key and makes sure that it is for what the order is about.
func (k *keeper) identify(o order, version string) error {
	info, err := os.Stat(o.KeyFile)
	if err != nil {
		return err
	}
	e, err := auth.ReadKey(o.KeyFile)
	if err != nil {
		return err
	}
	target := Target{Key: e.Token.Key, Address: o.Address, Transport: o.Transport, Version: version}
	if k.id, err = target.ID(); err != nil {
		return err
	}
	if hex.EncodeToString(k.id[:]) != o.ID {
		return errors.New("the key has changed")
	}
	k.key = keyFile{path: o.KeyFile, info: info, same: func(key auth.ClientKey) bool {
		id, err := Target{Key: key, Address: o.Address, Transport: o.Transport, Version: version}.ID()
		return err == nil && id == k.id
	}}
	k.options = client.Options{
		Address: o.Address, Key: e.Token.Key, Target: o.Typed, Transport: o.Transport, Timeout: o.Timeout,
	}
	return nil
}

// place takes the target's lock, or gets it from who started this process.
func (k *keeper) place(ctx context.Context, inherited bool) error {
	dir, err := directory(true)
	if err != nil {
		return err
	}
	k.socket = socketPath(dir, k.id)
	path := lockPath(dir, k.id)
	if inherited {
		k.lock = &lock{os.NewFile(lockFD, path)}
		if !k.lock.at(path) {
			return errLocked
		}
	} else if k.lock, err = depose(ctx, path, k.id); err != nil {
		return err
	}
	return k.lock.sign()
}

// run serves until the end.
func (k *keeper) run(ctx context.Context, idle time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.open = ctx
	k.touch(idle)
	k.wg.Go(func() { k.accept(ctx) })
	tick := time.NewTicker(k.tick)
	defer tick.Stop()
	end := time.NewTimer(idle)
	defer end.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-k.over:
			running = false
		case <-tick.C:
			k.inspect()
			running = k.review(end)
		case <-k.wake:
			running = k.review(end)
		case <-end.C:
			running = k.review(end)
		}
	}
	cancel()
	k.mu.Lock()
	k.leave()
	k.mu.Unlock()
	k.finish()
	return nil
}

// inspect looks at what changes without a word, and asks the server how it is.
func (k *keeper) inspect() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.inPlace() || k.key.changed() {
		k.taking = false
	}
	for _, c := range k.free {
		c.ask()
	}
	if len(k.free) > 1 && time.Since(k.free[0].idle) > keepFree {
		go func(c *conversation) { _ = c.p.Channel.Close() }(k.free[0]) // who reads from it forgets it
	}
}

// review ends conversations on which the server is gone, and reports whether there is a reason to go on. It
// sets the timer to when there may be none.
func (k *keeper) review(end *time.Timer) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	dead := false
	for c := range k.all {
		if c.unanswered() >= answerTime {
			dead = true
			c.p.Channel.Abort()
		}
	}
	for c := range k.all {
		if dead && c.waits() {
			c.p.Channel.Abort()
		}
	}
	if !k.taking {
		k.leave()
	}
	if k.busy > 0 {
		return true
	}
	left := min(time.Until(k.deadline), time.Until(k.deadline.Round(0))) // the time that the machine slept counts
	if left > 0 {
		end.Reset(left)
	}
	return k.taking && left > 0 && len(k.all)+k.opening > 0
}

// inPlace reports whether the socket is this process's: its directory may have gone, and come again with that
// of another one.
func (k *keeper) inPlace() bool {
	there, err := os.Lstat(k.socket)
	return err == nil && os.SameFile(there, k.placed) && there.ModTime().Equal(k.placed.ModTime())
}

// leave gives up the place: the socket, then the lock. Called with the lock held.
func (k *keeper) leave() {
	if ln, ok := k.ln.(*net.UnixListener); ok {
		ln.SetUnlinkOnClose(k.inPlace())
	}
	if k.ln.Close() == nil { // else it was done before
		k.lock.give(k.socket + lockSuffix)
	}
}

// finish ends all conversations: in order what nobody has.
func (k *keeper) finish() {
	k.mu.Lock()
	k.done = true
	for c := range k.all {
		if sink := c.end(); sink != nil {
			sink.Close()
			c.p.Channel.Abort()
			continue
		}
		limit := time.AfterFunc(time.Second, c.p.Channel.Abort)
		_ = c.p.Channel.Close()
		limit.Stop()
	}
	k.mu.Unlock()
	k.wg.Wait()
}

// accept takes invocations until the listener is closed.
func (k *keeper) accept(ctx context.Context) {
	const pause = 50 * time.Millisecond
	for {
		conn, err := k.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // too many files
			time.Sleep(pause)
			continue
		}
		k.wg.Go(func() {
			defer conn.Close()
			k.serve(ctx, conn.(*net.UnixConn))
		})
	}
}

// serve does what one invocation wants.
func (k *keeper) serve(ctx context.Context, conn *net.UnixConn) {
	if samePeer(conn) != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(helloTime))
	q, err := readHello(conn)
	if err != nil {
		return
	}
	h := header{status: statusReady, pid: os.Getpid()}
	switch {
	case q.id != k.id:
		h.status = statusOther
	case q.op == opUse:
		k.lend(ctx, conn, q.idle)
		return
	case q.op == opExit:
		defer k.once.Do(func() { close(k.over) })
	case q.op == opStop:
		k.retire()
	}
	_, _ = conn.Write(h.append(nil))
}

// lend lets an invocation have a conversation, and takes it back.
func (k *keeper) lend(ctx context.Context, conn *net.UnixConn, idle time.Duration) {
	k.touch(idle)
	defer k.touch(idle)
	c := k.take(ctx)
	_ = conn.SetDeadline(time.Time{})
	if c == nil || !k.hand(c, conn) {
		_, _ = conn.Write(header{status: statusBusy, pid: os.Getpid()}.append(nil))
		return
	}
	switch c.serve(conn) {
	case free:
		k.put(c)
	case settled:
		c.ask() // and the answer makes it free
	case over:
		_ = c.p.Channel.Close()
	case broken:
		c.p.Channel.Abort()
	}
	k.mu.Lock()
	k.busy--
	k.mu.Unlock()
	k.changed()
}

// hand gives a conversation to an invocation. If that cannot be, somebody else may have it.
func (k *keeper) hand(c *conversation, conn *net.UnixConn) bool {
	k.mu.Lock()
	k.busy++
	if k.busy > 1 && k.widen != nil {
		k.widen()
		k.widen = nil
	}
	k.mu.Unlock()
	if c.give(conn, k.header(c)) {
		return true
	}
	k.mu.Lock()
	k.busy--
	k.mu.Unlock()
	if c.p.Channel.Kind() == proto.TransportQUIC {
		_ = c.p.Channel.Close()
	} else {
		k.put(c)
	}
	return false
}
