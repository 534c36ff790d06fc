//go:build linux

package attack

import (
	"net"
	"sync"
	"testing"
	"time"
)

// network forwards connections and ends or holds them as no reset does: with an end of stream in order, which an
// attacker can forge, or by delivering what a client sent only when it has long given up.
type network struct {
	target string
	ln     net.Listener
	wg     sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond
	n       int
	plans   []plan // of the connections to come; the last one stands for all later ones
	conns   []*net.TCPConn
	holding bool // since a connection's plan said so
	release bool
	closed  bool
}

// plan is what happens to one connection. The zero value forwards.
type plan struct {
	finAfter  int64 // bytes to the client after which first the server, then the client sees the end of the stream; 0: never
	holdAfter int64 // bytes to the server after which more is held until release; 0: never
}

func newNetwork(t *testing.T, target string, plans ...plan) *network {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{target: target, ln: ln, plans: plans}
	n.changed.L = &n.mu
	n.wg.Go(n.accept)
	t.Cleanup(func() {
		ln.Close()
		n.mu.Lock()
		n.closed = true
		n.changed.Broadcast()
		for _, c := range n.conns {
			c.Close()
		}
		n.mu.Unlock()
		n.wg.Wait()
	})
	return n
}

func (n *network) address() string { return n.ln.Addr().String() }

// holds reports whether something is held.
func (n *network) holds() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.holding
}

// deliver lets go of what is held.
func (n *network) deliver() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.release = true
	n.changed.Broadcast()
}

func (n *network) accept() {
	for {
		down, err := n.ln.Accept()
		if err != nil {
			return
		}
		up, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", n.target)
		if err != nil {
			down.Close()
			continue
		}
		n.mu.Lock()
		var p plan
		if len(n.plans) > 0 {
			p = n.plans[min(n.n, len(n.plans)-1)]
		}
		n.n++
		d, u := down.(*net.TCPConn), up.(*net.TCPConn)
		n.conns = append(n.conns, d, u)
		n.mu.Unlock()
		n.wg.Go(func() { n.toClient(d, u, p) })
		n.wg.Go(func() { n.toServer(u, d, p) })
	}
}

func (n *network) toClient(down, up *net.TCPConn, p plan) {
	buf := make([]byte, 16<<10)
	var total int64
	for {
		k, err := up.Read(buf)
		pass := int64(k)
		ends := p.finAfter > 0 && total+pass >= p.finAfter
		if ends {
			pass = p.finAfter - total
		}
		_, _ = down.Write(buf[:pass])
		if ends {
			forgeEnd(up)
		}
		if ends || err != nil {
			_ = up.CloseWrite()
			_ = down.CloseWrite()
			return
		}
		total += pass
	}
}

// forgeEnd lets the server say all it has, shows it the end of the stream, and returns when it has acted on that.
func forgeEnd(up *net.TCPConn) {
	buf := make([]byte, 16<<10)
	_ = up.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	for range 2 {
		var err error
		for err == nil {
			_, err = up.Read(buf)
		}
		_ = up.CloseWrite()
		_ = up.SetReadDeadline(time.Now().Add(2 * time.Second))
	}
}

func (n *network) toServer(up, down *net.TCPConn, p plan) {
	buf := make([]byte, 16<<10)
	var total int64
	for {
		k, err := down.Read(buf)
		b := buf[:k]
		if p.holdAfter > 0 && total+int64(k) > p.holdAfter {
			pass := max(0, p.holdAfter-total)
			_, _ = up.Write(b[:pass])
			n.mu.Lock()
			n.holding = true
			for !n.release && !n.closed {
				n.changed.Wait()
			}
			n.mu.Unlock()
			b = b[pass:]
			p.holdAfter = 0
		}
		total += int64(k)
		_, _ = up.Write(b)
		if err != nil {
			// An end to be forged comes from toClient, once the server has said all.
			if p.finAfter == 0 {
				_ = up.CloseWrite()
			}
			return
		}
	}
}
