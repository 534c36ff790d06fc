package server

import (
	"sync"

	"rexec/internal/proto"
)

// outbox hands the connection's one writer between the session's reader, which owns it while nothing
// runs, and a command's sender. The reader never waits for a sender's write: while a sender owns the
// writer it leaves what it has to say here, at most one of each kind. No lock is held during a write.
type outbox struct {
	w *proto.Writer

	mu   sync.Mutex
	wake func() // of the sender that owns w; nil: the reader does
	pong *proto.Pong
	note *proto.Error
	idle func() // to be called when the sender gives w back
}

// take makes a sender the owner. Only the reader calls it, while it is the owner.
func (o *outbox) take(wake func()) {
	o.mu.Lock()
	o.wake = wake
	o.mu.Unlock()
}

// post writes a message of the reader's, now or by the sender. A newer one replaces one that still
// waits, so that a flood of them needs no memory.
func (o *outbox) post(pong *proto.Pong, note *proto.Error) error {
	o.mu.Lock()
	if pong != nil {
		o.pong = pong
	}
	if note != nil {
		o.note = note
	}
	wake := o.wake
	o.mu.Unlock()
	if wake == nil {
		return o.flush()
	}
	wake()
	return nil
}

// flush writes what the reader left. The owner calls it.
func (o *outbox) flush() error {
	o.mu.Lock()
	m := o.pending()
	o.mu.Unlock()
	if len(m) == 0 {
		return nil
	}
	return o.w.Write(m...)
}

// giveBack makes the reader the owner again after a last message, nil for none.
func (o *outbox) giveBack(last *proto.Exit) error {
	o.mu.Lock()
	m := o.pending()
	o.mu.Unlock()
	if last != nil {
		m = append(m, last)
	}
	var err error
	for len(m) > 0 && err == nil {
		err = o.w.Write(m...)
		o.mu.Lock()
		m = o.pending() // the reader may have left more meanwhile
		o.mu.Unlock()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake = nil
	if o.idle != nil {
		o.idle()
	}
	return err
}

// whenIdle calls f as soon as no sender owns the writer: now, or when it gives it back. f must not block.
func (o *outbox) whenIdle(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.idle = f
	if o.wake == nil {
		f()
	}
}

// pending empties the box. Called with the lock held.
func (o *outbox) pending() []proto.Message {
	var m []proto.Message
	if o.pong != nil {
		m = append(m, o.pong)
	}
	if o.note != nil {
		m = append(m, o.note)
	}
	o.pong, o.note = nil, nil
	return m
}
