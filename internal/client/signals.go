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

// forwardSignals passes the caller's signals on.
func (x *execution) forwardSignals(ctx context.Context, cancel context.CancelCauseFunc) {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case name, ok := <-x.cmd.Signals:
			if !ok {
				return
			}
			if n > patientSignals {
				name = "KILL"
			}
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
