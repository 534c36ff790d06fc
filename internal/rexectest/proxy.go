//go:build linux

package rexectest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Proxy forwards TCP connections to a target and fails on demand.
type Proxy struct {
	t       testing.TB
	target  string
	address string
	port    *os.File // keeps the port while the proxy refuses
	wg      sync.WaitGroup

	mu        sync.Mutex
	changed   sync.Cond
	ln        net.Listener // nil while refusing
	conns     map[*proxied]struct{}
	accepted  int
	frozen    bool
	fromLimit int64 // bytes from the target after which a connection is cut; negative: never
	toLimit   int64 // bytes to the target
	closed    bool
}

// proxied is one forwarded connection.
type proxied struct {
	down, up *net.TCPConn // to the client, to the target
	dead     bool
	held     int64 // bytes from the client that were read and wait
}

// NewProxy starts a proxy on a free loopback port that ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	port, address, err := KeepPort()
	if err != nil {
		t.Fatal(err)
	}
	return newProxy(t, target, port, address)
}

func newProxy(t testing.TB, target string, port *os.File, address string) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, address: address, port: port, conns: map[*proxied]struct{}{}, fromLimit: -1, toLimit: -1}
	p.changed.L = &p.mu
	p.Admit()
	t.Cleanup(p.close)
	return p
}

// Address is where clients connect to. It stays the same while connections are refused.
func (p *Proxy) Address() string { return p.address }

// Accepted counts the connections so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// CutAfter cuts every connection once n bytes came from the target over it; negative: never.
func (p *Proxy) CutAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fromLimit = n
}

// CutAfterSent cuts every connection once n bytes went to the target over it; negative: never.
func (p *Proxy) CutAfterSent(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toLimit = n
}

// Cut resets all open connections at both ends.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.kill(c)
	}
}

// Blackhole stops forwarding without closing anything; new connections are accepted and stay silent.
func (p *Proxy) Blackhole() { p.freeze(true) }

// Held is how many bytes from clients a black hole holds.
func (p *Proxy) Held() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum int64
	for c := range p.conns {
		sum += c.held
		rc, err := c.down.SyscallConn()
		if err != nil {
			continue
		}
		_ = rc.Control(func(fd uintptr) {
			if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil {
				sum += int64(n)
			}
		})
	}
	return sum
}

// Forward ends a black hole: what was held goes on.
func (p *Proxy) Forward() { p.freeze(false) }

func (p *Proxy) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
	p.changed.Broadcast()
}

// Refuse makes connecting end with "connection refused". Open connections stay.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		p.ln.Close()
		p.ln = nil
	}
}

// Admit ends Refuse.
func (p *Proxy) Admit() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		return
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(p.t.Context(), "tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.ln = ln
	p.wg.Go(func() { p.accept(ln) })
}

func (p *Proxy) accept(ln net.Listener) {
	for {
		down, err := ln.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.forward(down.(*net.TCPConn)) })
	}
}

func (p *Proxy) forward(down *net.TCPConn) {
	d := net.Dialer{Timeout: 5 * time.Second}
	up, err := d.Dial("tcp", p.target)
	if err != nil {
		reset(down)
		return
	}
	c := &proxied{down: down, up: up.(*net.TCPConn)}
	p.mu.Lock()
	p.accepted++
	p.conns[c] = struct{}{}
	if p.closed {
		p.kill(c)
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(c, c.down, c.up, &p.fromLimit) })
	wg.Go(func() { p.copy(c, c.up, c.down, &p.toLimit) })
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = down.Close()
	_ = up.Close()
}

// copy forwards one direction; an end of it is passed on alone.
func (p *Proxy) copy(c *proxied, dst, src *net.TCPConn, limit *int64) {
	buf := make([]byte, 16<<10)
	var total int64
	for {
		n, err := src.Read(buf)
		pass, dead := p.pass(c, int64(n), total, limit)
		total += pass
		if pass > 0 {
			if _, werr := dst.Write(buf[:pass]); werr != nil {
				err = werr
			}
		}
		if dead {
			p.mu.Lock()
			p.kill(c)
			p.mu.Unlock()
			return
		}
		if errors.Is(err, io.EOF) {
			_ = dst.CloseWrite()
			return
		}
		if err != nil {
			p.mu.Lock()
			p.kill(c)
			p.mu.Unlock()
			return
		}
	}
}

// pass waits while the proxy is a black hole and says how many of n bytes go through, and whether the
// connection is cut behind them.
func (p *Proxy) pass(c *proxied, n, total int64, limit *int64) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if limit == &p.toLimit {
		c.held = n
		defer func() { c.held = 0 }()
	}
	for p.frozen && !c.dead && !p.closed {
		p.changed.Wait()
	}
	if *limit >= 0 && total+n >= *limit {
		return max(0, *limit-total), true
	}
	return n, c.dead
}

// kill is called with the lock held.
func (p *Proxy) kill(c *proxied) {
	if !c.dead {
		c.dead = true
		reset(c.down)
		reset(c.up)
		p.changed.Broadcast()
	}
}

// reset closes with a TCP reset, as a router that lost its state does.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func (p *Proxy) close() {
	p.Refuse()
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	for c := range p.conns {
		p.kill(c)
	}
	p.mu.Unlock()
	p.wg.Wait()
	p.port.Close()
}
