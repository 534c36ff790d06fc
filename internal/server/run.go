package server

import (
	"errors"
	"io"
	"time"

	"rexec/internal/job"
	"rexec/internal/proto"
)

// run is one command in a session: the attachment to its job, and the goroutine that writes what the
// job has to say. The session's reader calls all methods but kick and send.
type run struct {
	session *session
	a       *job.Attachment
	text    *text         // converts the output; nil: it goes out as it is
	done    chan struct{} // closed when send has ended
	told    bool          // send wrote why the conversation ends; valid once done is closed
}

func (r *run) start(a *job.Attachment, m *proto.Run, started *proto.Started) {
	r.a = a
	printed, gbLocale := a.Job().Printed()
	r.text = newText(m, started, printed, gbLocale, r.session.out.w)
	r.session.out.take(a.Wake)
	r.session.server.wg.Go(func() {
		defer close(r.done)
		if err := r.send(started); err != nil {
			// The reader sees the broken connection and ends the session.
			r.session.abort()
		}
	})
}

// send writes everything of the execution, the exit record last.
func (r *run) send(started *proto.Started) error {
	out := r.session.out
	defer r.text.stop()
	if err := out.w.Write(started); err != nil {
		return err
	}
	for {
		e, err := r.a.Next()
		if len(e.Data) == 0 { // the writer is needed for something else
			if err := r.text.settle(); err != nil {
				return err
			}
		}
		if errors.Is(err, job.ErrTakenOver) {
			r.told = out.w.Write(takenOver(err)) == nil
			return out.giveBack(nil)
		}
		if err != nil {
			return out.giveBack(nil)
		}
		switch {
		case e.Exit != nil:
			if err := r.text.end(e.Exit); err != nil {
				return err
			}
			r.a.Detach()
			return out.giveBack(e.Exit)
		case e.Woken:
			err = errors.Join(out.flush(), r.text.idle(r.a.Wake))
		case e.Ack != nil:
			err = out.w.Write(e.Ack)
		case r.text != nil:
			err = r.text.data(e.Stream, e.Offset, e.Data, r.a.Wake)
		default:
			err = out.w.Data(e.Stream.Type(), e.Offset, e.Data)
		}
		if err != nil {
			return err
		}
	}
}

func takenOver(err error) *proto.Error {
	return &proto.Error{Code: proto.ErrorTakenOver, Text: err.Error()}
}

// kick makes room for a newer attachment: the reader stops at once, the writer gets a moment for its
// last word.
func (r *run) kick() {
	_ = r.session.ch.SetWriteDeadline(time.Now().Add(kickTime))
	_ = r.session.ch.SetReadDeadline(time.Unix(1, 0))
}

// kickTime is what a client has to read what is on its way and be told. One that is not told takes its connection for
// broken and is told when it comes back. A newer one waits for it only if the older one does not read.
const kickTime = time.Second

// over reports whether the exit record was handed out. It waits for its write to end, so that the
// writer is free for the next command.
func (r *run) over() bool {
	if !r.a.Final() {
		return false
	}
	<-r.done
	return true
}

// leave ends the writer and the attachment; a command that still runs waits for its client. It
// reports whether the client was told why.
func (r *run) leave() (told bool) {
	r.a.Leave()
	<-r.done
	r.a.Detach()
	return r.told
}

func (r *run) received() { r.a.Received() }

func (r *run) input(offset uint64, from io.Reader) error { return asBreach(r.a.Input(offset, from)) }
func (r *run) inputEOF(length uint64) error              { return asBreach(r.a.InputEOF(length)) }
func (r *run) ack(m proto.Ack) error                     { return asBreach(r.a.Ack(m)) }
func (r *run) signal(name string) error                  { return r.a.Job().Signal(name) }

// asBreach tells a peer's breach of the stream rules from a connection's failure.
func asBreach(err error) error {
	if err == nil || errors.Is(err, job.ErrProtocol) {
		if err != nil {
			return breach("%v", err)
		}
		return nil
	}
	return err
}
