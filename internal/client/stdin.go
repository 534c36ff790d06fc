package client

import (
	"io"

	"rexec/internal/bytelog"
	"rexec/internal/proto"
)

// stdin is the caller's input on its way: read, and kept until the server has it for good, so that a
// new connection can send it again.
type stdin struct {
	log     bytelog.Log
	limit   uint64 // offset up to which the server takes it
	sent    uint64
	eof     bool
	eofSent bool
	closed  bool // the command takes no more
	reading bool // the goroutines run
	err     *InputError
}

// beginStdin makes l the connection that stdin goes over.
func (x *execution) beginStdin(l *link, m *proto.Started) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.link = l
	in := &x.in
	if x.cmd.Stdin == nil || m.StdinFrom == proto.Closed {
		in.closed = true
		x.changed.Broadcast()
		return nil
	}
	if m.StdinFrom < in.log.Base() || m.StdinFrom > in.log.Head() {
		if !m.Attached || in.reading {
			return unexpected(proto.TypeStarted)
		}
		in.closed = true // another client has fed it; whatever comes from here would be out of place
		return nil
	}
	in.sent, in.eofSent = m.StdinFrom, false
	in.log.Release(m.StdinFrom) // the same daemon still has the execution, and will not ask for it again
	in.limit = m.StdinFrom + m.StdinWindow
	if !in.reading {
		in.reading = true
		go x.readStdin() // not waited for: a Read from a terminal ends when somebody types
		x.wg.Go(x.sendStdin)
	}
	x.changed.Broadcast()
	return nil
}

// credit takes the server's acknowledgement of stdin.
func (x *execution) credit(l *link) error {
	payload, err := l.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParseAck(payload)
	if err != nil {
		return err
	}
	if m.Stream != proto.Stdin {
		return unexpected(proto.TypeAck)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	in := &x.in
	switch {
	case m.Offset == proto.Closed:
		in.closed = true
	case m.Offset > in.sent:
		return unexpected(proto.TypeAck)
	default:
		in.log.Release(m.Offset)
		in.limit = max(in.limit, m.Offset+uint64(m.Window))
	}
	x.changed.Broadcast()
	return nil
}

// readStdin reads no further ahead than the server has given credit for.
func (x *execution) readStdin() {
	for {
		buf := x.stdinRoom()
		if buf == nil {
			return
		}
		n, err := x.cmd.Stdin.Read(buf)
		x.mu.Lock()
		if n > 0 {
			x.in.log.Commit(n)
		}
		if err != nil {
			x.in.eof = true
			if err != io.EOF {
				x.in.err = &InputError{err}
			}
		}
		x.changed.Broadcast()
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *execution) stdinRoom() []byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	in := &x.in
	for !x.over && !in.closed && in.log.Head() >= in.limit {
		x.changed.Wait()
	}
	if x.over || in.closed {
		return nil
	}
	buf := in.log.Tail()
	return buf[:min(uint64(len(buf)), in.limit-in.log.Head())]
}

// sendStdin sends what was read, over whichever connection there is.
func (x *execution) sendStdin() {
	for {
		l, offset, b := x.nextStdin()
		if l == nil {
			return
		}
		var err error
		if b != nil {
			err = l.data(proto.TypeStdin, offset, b)
		} else {
			err = l.write(proto.EOF{Length: offset})
		}
		if err != nil { // the reader notices by itself; a new connection says where to begin anew
			x.unlink(l)
		}
	}
}

// nextStdin waits for something to send: bytes, or (nil bytes) the end. A nil link ends it.
func (x *execution) nextStdin() (l *link, offset uint64, b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	in := &x.in
	for {
		switch {
		case x.over || in.closed:
			return nil, 0, nil
		case x.link == nil || in.eofSent:
		case in.sent < in.log.Head() && in.sent < in.limit:
			// Counted before it is written: the acknowledgement may be faster than the return.
			offset, b = in.sent, in.log.View(in.sent, int(min(in.limit-in.sent, bytelog.LargeSegment)))
			in.sent += uint64(len(b))
			return x.link, offset, b
		case in.eof && in.sent == in.log.Head():
			in.eofSent = true
			return x.link, in.sent, nil
		}
		x.changed.Wait()
	}
}
