package job

import (
	"errors"
	"fmt"
	"io"
	"os"

	"rexec/internal/bytelog"
	"rexec/internal/proto"
)

// input is stdin on its way to the command: what has arrived and is not yet in the pipe.
type input struct {
	log     bytelog.Log
	window  int
	file    *os.File
	eof     bool   // the client has sent all
	closed  bool   // the command takes no more
	filling bool   // a client's frame is being read into the log's memory
	unread  []byte // what the command's terminal had taken and nobody has read
}

// close is called with the lock held.
func (in *input) close() { in.closed = true }

// feed moves stdin into the command's pipe. It ends when all is written or the command takes no more.
func (j *Job) feed() {
	defer j.in.file.Close()
	last := byte('\n')
	for {
		b := j.nextInput()
		if len(b) == 0 {
			j.typeEnd(last)
			return
		}
		n, err := j.in.file.Write(b)
		if n > 0 {
			last = b[n-1]
		}
		j.mu.Lock()
		j.in.log.Release(j.in.log.Base() + uint64(n))
		// The window grows with what the command has shown that it takes.
		j.in.window = max(minWindow, min(maxWindow, int(j.in.log.Base()/2)))
		if err != nil {
			j.in.close()
		}
		if j.att != nil {
			j.att.credit = true
		}
		j.changed.Broadcast()
		j.mu.Unlock()
	}
}

// takeBack ends the input of a command on a terminal whose shell is about to end, and takes what nobody has read: a
// prompt's next line begins with it.
func (j *Job) takeBack(fed <-chan struct{}) {
	j.mu.Lock()
	j.in.close()
	_ = j.in.file.SetWriteDeadline(past)
	j.changed.Broadcast()
	terminal := j.proc.Terminal
	j.mu.Unlock()
	<-fed
	unread := terminal.Unread()
	j.mu.Lock()
	defer j.mu.Unlock()
	// Programs can put into a terminal what nobody has typed (TIOCSTI), and what would be too much is of that kind.
	if len(unread) <= proto.MaxUnread && uint64(len(unread)) <= j.in.log.Base() {
		j.in.unread = unread
	}
}

// typeEnd ends the input of a command on a terminal behind the byte that was typed last: closing it would be a
// hang-up. A person types the character at the begin of a line, where it ends the input, or twice inside of
// one, where the first gives the program what there is of the line.
func (j *Job) typeEnd(last byte) {
	j.mu.Lock()
	terminal, closed := j.proc.Terminal, j.in.closed
	j.mu.Unlock()
	if terminal == nil || closed {
		return
	}
	end := []byte{terminal.EndOfFile()}
	if last != '\n' && last != '\r' {
		end = append(end, end[0])
	}
	_, _ = j.in.file.Write(end)
}

// nextInput waits for stdin; nil means that there is no more, or nobody to take it.
func (j *Job) nextInput() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.in.log.Len() == 0 && !j.in.eof && !j.in.closed {
		j.changed.Wait()
	}
	if j.in.closed {
		return nil
	}
	return j.in.log.View(j.in.log.Base(), bytelog.LargeSegment)
}

// ErrProtocol is wrapped by what a client may not send: input or acknowledgements that do not fit.
var ErrProtocol = errors.New("stream rules broken")

// Input takes one stdin frame's payload from r. What the command does not want is read and dropped.
func (a *Attachment) Input(offset uint64, r io.Reader) error {
	for {
		buf, err := a.inputSpace(offset)
		if err != nil {
			return err
		}
		if buf == nil {
			_, err = io.Copy(io.Discard, r)
			return err
		}
		n, err := r.Read(buf)
		a.inputArrived(n)
		offset += uint64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// inputSpace returns where the bytes at offset go; nil if they are not wanted.
func (a *Attachment) inputSpace(offset uint64) ([]byte, error) {
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	room := j.in.window - j.in.log.Len()
	switch {
	case j.in.closed:
		return nil, nil
	case j.in.eof:
		return nil, fmt.Errorf("%w: stdin after its end", ErrProtocol)
	case offset != j.in.log.Head():
		return nil, fmt.Errorf("%w: stdin at %d, want %d", ErrProtocol, offset, j.in.log.Head())
	case room < 0:
		return nil, fmt.Errorf("%w: more stdin than the window of %d bytes", ErrProtocol, j.in.window)
	}
	j.in.filling = true
	b := j.in.log.Tail()
	// One byte more than the room, so that a client that oversteps its credit is noticed.
	return b[:min(len(b), room+1)], nil
}

// inputArrived ends what inputSpace began.
func (a *Attachment) inputArrived(n int) {
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	j.in.filling = false
	if n > 0 {
		j.in.log.Commit(n)
		j.changed.Broadcast()
	}
	if j.exit != nil {
		j.in.log.Discard()
	}
}

// InputEOF ends stdin after length bytes.
func (a *Attachment) InputEOF(length uint64) error {
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.in.closed {
		return nil
	}
	if length != j.in.log.Head() {
		return fmt.Errorf("%w: stdin ends at %d, have %d bytes", ErrProtocol, length, j.in.log.Head())
	}
	j.in.eof = true
	j.changed.Broadcast()
	return nil
}

// inputAck is the credit to tell the client. Called with the lock held.
func (j *Job) inputAck() proto.Ack {
	if j.in.closed {
		return proto.Ack{Stream: proto.Stdin, Offset: proto.Closed}
	}
	return proto.Ack{Stream: proto.Stdin, Offset: j.in.log.Base(), Window: uint32(j.in.window)}
}
