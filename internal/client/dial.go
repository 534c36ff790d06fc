package client

import (
	"context"
	"errors"
	"syscall"
	"time"

	"rexec/internal/proto"
	"rexec/internal/transport"
)

// Transport says what may carry a connection.
type Transport uint8

// The transports.
const (
	Auto Transport = iota // TCP where it connects at once, else whichever is ready first
	TCP
	UDP // QUIC
)

const (
	// headStart is what TCP gets before UDP is tried at all. A network in which TCP connects within it is
	// a local one: there TCP moves more bytes for less work, and round trips cost nothing.
	headStart = 3 * time.Millisecond
	// afterRefusal is what UDP gets once TCP was refused: the host is there, and most likely nothing
	// listens.
	afterRefusal = time.Second
	// afterSilence is when UDP is tried although TCP connected at once: the kernel of a host connects also for
	// a program that hangs, and so do some firewalls for hosts that are not there.
	afterSilence = time.Second
)

func (o Options) dial(ctx context.Context, address string) (Channel, error) {
	switch o.Transport {
	case TCP:
		return dialTCP(ctx, address)
	case UDP:
		return dialUDP(ctx, address)
	}
	return o.race(ctx, address)
}

func dialTCP(ctx context.Context, address string) (Channel, error) {
	ch, err := transport.Dial(ctx, address, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		return nil, err // a nil *Conn would be no nil Channel
	}
	return ch, nil
}

func dialUDP(ctx context.Context, address string) (Channel, error) {
	ch, err := transport.DialQUIC(ctx, address, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		return nil, err
	}
	return ch, nil
}

func kindName(ch Channel) string {
	if ch.Kind() == proto.TransportQUIC {
		return "UDP"
	}
	return "TCP"
}

// dialled is the outcome of one way to connect.
type dialled struct {
	ch  Channel
	err error
}

// race connects over TCP, and over UDP as well if TCP takes its time.
func (o Options) race(ctx context.Context, address string) (Channel, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connected := start(ctx, address, dialTCP)
	head := time.NewTimer(headStart)
	defer head.Stop()
	select {
	case d := <-connected:
		if d.err != nil {
			return o.onlyUDP(ctx, address, d.err)
		}
		o.Log("TCP connected within %s, UDP is not tried", headStart)
		bound := whenBound(ctx, already(d))
		silence := time.NewTimer(afterSilence)
		defer silence.Stop()
		select {
		case d = <-bound:
			return d.ch, d.err
		case <-silence.C:
		}
		o.Log("the host says nothing over TCP for %s, trying UDP as well", afterSilence)
		return o.both(ctx, cancel, address, bound)
	case <-head.C:
	}
	o.Log("TCP has not connected within %s, trying UDP as well", headStart)
	return o.both(ctx, cancel, address, whenBound(ctx, connected))
}

// both takes UDP, or the TCP that is on its way, whichever is ready first.
func (o Options) both(ctx context.Context, cancel context.CancelFunc, address string, tcp <-chan dialled) (Channel, error) {
	ready := [2]<-chan dialled{tcp, start(ctx, address, dialUDP)}
	var errs [2]error
	for range ready {
		var d dialled
		var i int
		select {
		case d = <-ready[0]:
		case d = <-ready[1]:
			i = 1
		}
		if d.err == nil {
			discard(cancel, ready[1-i])
			o.Log("%s was ready first", kindName(d.ch))
			return d.ch, nil
		}
		errs[i], ready[i] = d.err, nil
		if i == 0 && errors.Is(d.err, syscall.ECONNREFUSED) {
			stop := time.AfterFunc(afterRefusal, cancel)
			defer stop.Stop()
		}
	}
	return nil, errs[0] // what TCP says is what people know
}

// onlyUDP tries UDP after TCP has failed at once.
func (o Options) onlyUDP(ctx context.Context, address string, tcp error) (Channel, error) {
	o.Log("TCP: %v; trying UDP", tcp)
	ctx, cancel := context.WithTimeout(ctx, afterRefusal)
	defer cancel()
	ch, err := dialUDP(ctx, address)
	if err != nil {
		return nil, tcp
	}
	return ch, nil
}

// already is ready at once.
func already(d dialled) <-chan dialled {
	done := make(chan dialled, 1)
	done <- d
	return done
}

// start dials in the background.
func start(ctx context.Context, address string, dial dialer) <-chan dialled {
	done := make(chan dialled, 1)
	go func() { // discard takes what comes too late
		ch, err := dial(ctx, address)
		done <- dialled{ch, err}
	}()
	return done
}

// whenBound is ready once a connection's TLS handshake is complete, as one over UDP is when it is
// dialled.
func whenBound(ctx context.Context, connected <-chan dialled) <-chan dialled {
	done := make(chan dialled, 1)
	go func() {
		d := <-connected
		if d.err == nil {
			stop := context.AfterFunc(ctx, d.ch.Abort)
			_, err := d.ch.Bind(ctx)
			if !stop() && err == nil { // before anybody has the connection, and lets ctx end
				err = ctx.Err()
			}
			if err != nil {
				d.ch.Abort()
				d = dialled{err: err}
			}
		}
		done <- d
	}()
	return done
}

// discard closes what loses a race. It does not wait for it.
func discard(cancel context.CancelFunc, loser <-chan dialled) {
	cancel()
	if loser == nil {
		return
	}
	go func() {
		if d := <-loser; d.err == nil {
			d.ch.Abort()
		}
	}()
}
