package client

import (
	"context"
	"time"

	"rexec/internal/proto"
)

// patientSignals are passed on before a further one kills the command.
const patientSignals = 2

// sent is a signal that was handed to a connection, or waits for one (zero time).
type sent struct {
	name string
	at   time.Time
}

// killTime is how long the server has to tell of the end of a command that it was told to kill. A signal after it is
// for this side: the server is not what it should be, or the kernel there cannot end the command.
const killTime = 2 * time.Second

// forwardSignals passes the caller's signals on. It never waits for the server, which may have stopped to read.
func (x *execution) forwardSignals(ctx context.Context, cancel context.CancelCauseFunc) {
	next := make(chan string, patientSignals+1)
	go x.sendSignals(ctx, next, cancel)
	var killed time.Time
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case name, ok := <-x.cmd.Signals:
			switch {
			case !ok:
				return
			case n <= patientSignals:
			case killed.IsZero():
				name, killed = "KILL", time.Now()
			case time.Since(killed) > killTime:
				cancel(ErrInterrupted)
				return
			default:
				name = "KILL"
			}
			select {
			case next <- name:
			default: // as many wait already
			}
		}
	}
}

// sendSignals hands signals to the connection, until ctx ends.
func (x *execution) sendSignals(ctx context.Context, next <-chan string, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-next:
			if !x.signal(name) {
				cancel(ErrInterrupted)
				return
			}
		}
	}
}

// signal sends a signal, or keeps the first one for the connection that is on its way to the command.
// It reports false if there is nothing to wait for, or the user has waited enough.
func (x *execution) signal(name string) bool {
	x.mu.Lock()
	l := x.link
	if l == nil {
		waiting := len(x.signals) > 0 && x.signals[len(x.signals)-1].at.IsZero()
		keep := x.requested && !waiting
		x.interrupted = !x.requested
		if keep {
			x.signals = append(x.signals, sent{name: name})
		}
		x.mu.Unlock()
		return keep
	}
	x.signals = append(x.signals, sent{name, time.Now()})
	x.mu.Unlock()
	// The answer to the ping tells that the signal arrived; if neither does, the next connection carries it.
	_ = l.write(proto.Signal{Name: name}, proto.Ping{})
	return true
}

// resendSignals sends what may not have arrived: the signals that waited for a connection, and those
// after which nothing was heard over the last one.
func (x *execution) resendSignals(l *link) {
	x.mu.Lock()
	var names []proto.Message
	for i, s := range x.signals {
		if s.at.IsZero() || s.at.After(x.lastHeard) {
			names = append(names, proto.Signal{Name: s.name})
			x.signals[i].at = time.Now()
		}
	}
	x.mu.Unlock()
	if len(names) > 0 {
		_ = l.write(names...)
	}
}
