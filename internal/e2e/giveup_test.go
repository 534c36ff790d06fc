//go:build linux

package e2e

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/transport"
)

// deaf is a connection over which nothing comes back.
type deaf struct {
	client.Channel
	once   sync.Once
	closed chan struct{}
}

func (d *deaf) Read([]byte) (int, error) {
	<-d.closed
	return 0, context.DeadlineExceeded
}

func (d *deaf) Close() error { d.once.Do(func() { close(d.closed) }); return d.Channel.Close() }
func (d *deaf) Abort()       { d.once.Do(func() { close(d.closed) }); d.Channel.Abort() }

type onePin struct{ sum atomic.Pointer[[32]byte] }

func (p *onePin) Pin(auth.ServerID) ([32]byte, bool) {
	if s := p.sum.Load(); s != nil {
		return *s, true
	}
	return [32]byte{}, false
}

func (p *onePin) SetPin(_ auth.ServerID, s [32]byte) error { p.sum.Store(&s); return nil }

// TestGivenUpConnection: a command that was sent with the proof has run, and nothing of the answers has arrived
// when the client gives the connection up. Its output is there for the next connection.
func TestGivenUpConnection(t *testing.T) {
	overBoth(t, func(t *testing.T, x *target) {
		o := x.ClientOptions()
		o.Pins = new(onePin)
		c := rexectest.NewClient(t, o)
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Close()
		o.Timeout = 2 * time.Second
		var dials atomic.Int64
		o.Dial = func(ctx context.Context, address string) (client.Channel, error) {
			ch, err := dialOver(ctx, x.transport, address)
			if err != nil || dials.Add(1) > 1 {
				return ch, err
			}
			return &deaf{Channel: ch, closed: make(chan struct{})}, nil
		}
		var out strings.Builder
		r, err := rexectest.NewClient(t, o).Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("seq 1000")}, Stdout: &out})
		if err != nil {
			t.Fatal(err)
		}
		if out.Len() != 3893 || r.Missing != [2]uint64{} || r.Replayed {
			t.Errorf("%d bytes of output, %+v", out.Len(), r)
		}
		if x.Starts() != 1 {
			t.Errorf("started %d times", x.Starts())
		}
	})
}

func dialOver(ctx context.Context, tr client.Transport, address string) (client.Channel, error) {
	o := transport.Options{ALPN: proto.ALPN}
	if tr == client.UDP {
		return transport.DialQUIC(ctx, address, o)
	}
	return transport.Dial(ctx, address, o)
}

// TestSilentTCP: a host whose TCP connects and says nothing is reached over UDP.
func TestSilentTCP(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := newUDPDaemon(t)
	tcp, _ := rexectest.NewProxies(t, d.Address())
	tcp.Blackhole()
	o := d.ClientOptions()
	o.Address, o.Transport, o.Timeout = tcp.Address(), client.Auto, 2*hang
	c := rexectest.NewClient(t, o)
	began := time.Now()
	r, err := c.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("exit 4")}})
	if err != nil || r.Code != 4 || c.Transport() != "UDP" {
		t.Errorf("%+v, %v, over %s", r, err, c.Transport())
	}
	if took := time.Since(began); took > hang { // TCP's time is not over yet
		t.Errorf("it took %s", took)
	}
}
