//go:build linux

package rexectest

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
)

// UDPProxy forwards datagrams to a target as a NAT does, and fails on demand.
type UDPProxy struct {
	target  string
	address string
	down    *net.UDPConn
	wg      sync.WaitGroup

	mu     sync.Mutex
	flows  map[netip.AddrPort]*flow
	source string // which local address the target sees
	dead   bool   // drop everything
	every  int    // drop each datagram of this number; 0: none
	seen   int
	sent   int64
	got    int64
	closed bool
	limit  int64 // bytes from the target after which the proxy drops everything; negative: none
}

// flow is what one client's datagrams go through.
type flow struct {
	client netip.AddrPort
	up     *net.UDPConn
}

// NewUDPProxy starts a proxy on a free loopback port that ends with the test.
func NewUDPProxy(t testing.TB, target string) *UDPProxy {
	t.Helper()
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newUDPProxy(t, pc.(*net.UDPConn), target)
}

func newUDPProxy(t testing.TB, down *net.UDPConn, target string) *UDPProxy {
	_ = down.SetReadBuffer(4 << 20)
	p := &UDPProxy{
		target: target, address: down.LocalAddr().String(), down: down,
		flows: map[netip.AddrPort]*flow{}, source: "127.0.0.1", limit: -1,
	}
	p.wg.Go(p.forward)
	t.Cleanup(p.close)
	return p
}

// Address is where clients send to.
func (p *UDPProxy) Address() string { return p.address }

// Counts returns the bytes that went to the target, and those that came from it.
func (p *UDPProxy) Counts() (to, from int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent, p.got
}

// Blackhole drops everything both ways.
func (p *UDPProxy) Blackhole() { p.set(func() { p.dead = true }) }

// BlackholeAfter drops everything once n bytes came from the target.
func (p *UDPProxy) BlackholeAfter(n int64) { p.set(func() { p.limit = n }) }

// Forward ends a black hole.
func (p *UDPProxy) Forward() { p.set(func() { p.dead, p.limit = false, -1 }) }

// DropEvery drops one datagram of n, both ways; 0 drops none.
func (p *UDPProxy) DropEvery(n int) { p.set(func() { p.every = n }) }

// Rebind lets the target see the clients' datagrams come from other ports from now on, and from another
// loopback address if source is not empty. What the target sends to the old ones is lost.
func (p *UDPProxy) Rebind(source string) {
	p.set(func() {
		if source != "" {
			p.source = source
		}
		for client, f := range p.flows {
			_ = f.up.Close()
			delete(p.flows, client)
		}
	})
}

// Retarget sends everything to another target from now on, which knows nothing of the flows.
func (p *UDPProxy) Retarget(target string) {
	p.set(func() { p.target = target })
	p.Rebind("")
}

func (p *UDPProxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// forward carries datagrams from clients to the target.
func (p *UDPProxy) forward() {
	buf := make([]byte, 1<<16)
	for {
		n, client, err := p.down.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if f := p.flow(client); f != nil && p.pass(&p.sent, n) {
			_, _ = f.up.Write(buf[:n])
		}
	}
}

// flow returns the flow of a client, a new one if there is none.
func (p *UDPProxy) flow(client netip.AddrPort) *flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[client]; f != nil || p.closed {
		return f
	}
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(p.source)}}
	up, err := d.Dial("udp4", p.target)
	if err != nil {
		return nil
	}
	f := &flow{client: client, up: up.(*net.UDPConn)}
	_ = f.up.SetReadBuffer(4 << 20)
	p.flows[client] = f
	p.wg.Go(func() { p.back(f) })
	return f
}

// back carries datagrams from the target to one client.
func (p *UDPProxy) back(f *flow) {
	buf := make([]byte, 1<<16)
	for {
		n, err := f.up.Read(buf)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // an ICMP message for an earlier datagram
		}
		if err != nil {
			return
		}
		if p.pass(&p.got, n) {
			_, _ = p.down.WriteToUDPAddrPort(buf[:n], f.client)
		}
	}
}

// pass counts a datagram and says whether it goes through.
func (p *UDPProxy) pass(count *int64, n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	*count += int64(n)
	p.seen++
	if p.limit >= 0 && p.got > p.limit {
		p.dead = true
	}
	return !p.dead && (p.every == 0 || p.seen%p.every != 0)
}

func (p *UDPProxy) close() {
	_ = p.down.Close()
	p.set(func() { p.closed = true })
	p.Rebind("")
	p.wg.Wait()
}
