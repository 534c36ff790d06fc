package server

import (
	"sync/atomic"
	"time"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// text converts one command's output for one client. The job's log stays raw: two clients of a job may
// want different charsets, and one that comes back says itself where and in which state it goes on. The
// run's sender alone uses it.
type text struct {
	w       *proto.Writer
	streams [2]stream
	buf     []byte
	spare   []byte     // what buf was before, while it is written
	writing chan error // gets the outcome of a write that goes on; nil: none does
	timer   *time.Timer
	due     atomic.Bool // the timer has run out
}

// stream is stdout or stderr.
type stream struct {
	t       proto.Type
	c       *charset.Converter // nil: the stream goes out as it is
	at      uint64             // offset behind what was sent
	taken   uint64             // offset behind what the converter was given
	begins  uint64             // offset at which this client began
	since   time.Time          // when it began to keep back what it does; zero: it does not, or was told not to
	sinceAt uint64             // where that began
	told    bool               // to decide about it; until more comes
}

const (
	// idleTime is how long a converter waits for bytes that tell more: longer than a program takes between
	// two pieces of a line, shorter than a person notices.
	idleTime = 20 * time.Millisecond
	// uncopied is how much must go through unchanged to be worth a frame of its own.
	uncopied = 16 << 10
	// convertPiece is converted at once: small, so that frames can be filled well although it may grow.
	convertPiece = 16 << 10
	// fullFrame is the size from which on one more piece might not fit.
	fullFrame = proto.MaxData - uncopied - charset.MaxGrowth*(convertPiece+charset.MaxHold)
	// worthAside is the size of a frame that takes longer to write than a goroutine to start.
	worthAside = 32 << 10
)

// newText returns nil if the client gets the output as it is. w is the sender's.
func newText(m *proto.Run, started *proto.Started, printed charset.Mode, gbLocale bool, w *proto.Writer) *text {
	to, err := charset.ParseMode(m.Charset)
	from := source(m.Source, printed)
	if err != nil || !charset.Converts(from, to) {
		return nil
	}
	x := &text{w: w}
	asked := [2]uint64{m.StdoutFrom, m.StderrFrom}
	begins := [2]uint64{started.StdoutFrom, started.StderrFrom}
	raw := [2]bool{m.RawStdout, m.RawStderr}
	for i, state := range []proto.ConverterState{m.StdoutState, m.StderrState} {
		if raw[i] {
			continue
		}
		c := charset.NewConverter(from, to)
		if gbLocale {
			c.Expect()
		}
		if begins[i] == asked[i] && state != (proto.ConverterState{}) {
			_ = c.Restore(charset.State(state)) // of no use if it is another converter's
		}
		x.streams[i] = stream{t: proto.TypeStdoutText + proto.Type(i), c: c, begins: begins[i], at: begins[i], taken: begins[i]}
	}
	x.hint()
	return x
}

// source is what the output is in: as the client says, or else as the server's configuration does.
func source(asked string, printed charset.Mode) charset.Mode {
	switch {
	case asked == "", asked == proto.SourceDeclared && printed != charset.Auto:
		return printed
	}
	m, err := charset.ParseMode(asked)
	if err != nil {
		return charset.Raw
	}
	return m
}

// stop ends what goes on beside the sender. The timer's wake may still be called once.
func (x *text) stop() {
	_ = x.settle() // an error is that of the connection, which the next write finds again
	if x != nil && x.timer != nil {
		x.timer.Stop()
	}
}

// data converts and sends output; wake is called once it is time for idle.
func (x *text) data(of proto.Stream, offset uint64, b []byte, wake func()) error {
	s := &x.streams[of-proto.Stdout]
	if s.c == nil {
		if err := x.settle(); err != nil {
			return err
		}
		return x.w.Data(of.Type(), offset, b)
	}
	x.buf, s.told = x.buf[:0], false
	for len(b) > 0 {
		before := s.next() // the state that belongs to what is in buf, should it be sent by itself
		n := s.c.PassThrough(b[:min(len(b), proto.MaxData)])
		if n >= uncopied {
			if err := x.flush(s, before); err != nil {
				return err
			}
			if err := x.pass(s, b[:n]); err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		k := min(len(b), n+convertPiece)
		x.buf = s.c.Append(append(x.buf, b[:n]...), b[n:k])
		s.taken += uint64(k)
		b = b[k:]
		if len(x.buf) > fullFrame {
			if err := x.flush(s, s.next()); err != nil {
				return err
			}
		}
	}
	if err := x.flush(s, s.next()); err != nil {
		return err
	}
	x.hint()
	x.wait(wake)
	return nil
}

// hint lets either stream profit by what the other one has shown.
func (x *text) hint() {
	for i := range x.streams {
		if a, b := x.streams[i].c, x.streams[1-i].c; a != nil && b != nil && a.Expects() {
			b.Expect()
		}
	}
}

// flush sends what was converted. A large frame is written while the next one is converted: both take
// about as long, and there are other processors.
func (x *text) flush(s *stream, h proto.TextHeader) error {
	if h.Length == 0 {
		return nil
	}
	s.at += uint64(h.Length)
	if err := x.settle(); err != nil {
		return err
	}
	b := x.buf
	if len(b) < worthAside {
		x.buf = b[:0]
		return x.w.Text(s.t, h, b)
	}
	x.buf, x.spare = x.spare[:0], b
	x.writing = make(chan error, 1)
	go func(done chan<- error) { done <- x.w.Text(s.t, h, b) }(x.writing) // settle waits for it
	return nil
}

// settle waits until nothing is being written. The writer is the caller's then.
func (x *text) settle() error {
	if x == nil || x.writing == nil {
		return nil
	}
	err := <-x.writing
	x.writing = nil
	return err
}

// pass sends bytes whose conversion is themselves.
func (x *text) pass(s *stream, b []byte) error {
	if err := x.settle(); err != nil {
		return err
	}
	s.taken += uint64(len(b))
	h := s.next()
	s.at += uint64(h.Length)
	return x.w.Text(s.t, h, b)
}

// next is the header of a frame of everything that the converter was given and has not kept back.
func (s *stream) next() proto.TextHeader {
	length := s.taken - uint64(s.c.Held()) - s.at
	return proto.TextHeader{Offset: s.at, Length: uint32(length), State: proto.ConverterState(s.c.State())}
}

// wait makes sure that nothing is kept back for longer than idleTime, whatever comes meanwhile on this
// stream or the other one: a progress bar may never pause.
func (x *text) wait(wake func()) {
	now := time.Now()
	left := time.Duration(-1)
	for i := range x.streams {
		s := &x.streams[i]
		switch {
		case s.c == nil || s.c.Held() == 0:
			s.since = time.Time{}
		case s.since.IsZero() || s.at != s.sinceAt:
			s.since, s.sinceAt = now, s.at
		}
		if !s.since.IsZero() && !s.told {
			if d := max(0, idleTime-now.Sub(s.since)); left < 0 || d < left {
				left = d
			}
		}
	}
	switch {
	case left < 0:
	case x.timer == nil:
		x.timer = time.AfterFunc(left, func() {
			x.due.Store(true)
			wake()
		})
	default:
		x.timer.Reset(left)
	}
}

// idle lets go of what was kept back for long enough. It does nothing before the timer has run out, and
// leaves the writer to the caller.
func (x *text) idle(wake func()) error {
	if x == nil || !x.due.Swap(false) {
		return nil
	}
	x.buf = x.buf[:0]
	for i := range x.streams {
		s := &x.streams[i]
		if s.since.IsZero() || s.told || time.Since(s.since) < idleTime {
			continue
		}
		x.buf = s.c.Idle(x.buf[:0])
		if err := x.flush(s, s.next()); err != nil {
			return err
		}
		s.told = true // what is left is a character that is not complete
	}
	x.hint()
	x.wait(wake)
	return x.settle()
}

// end sends the rest and notes in the exit record what was done. The writer is the caller's then.
func (x *text) end(record *proto.Exit) error {
	if x == nil {
		return nil
	}
	for i := range x.streams {
		s := &x.streams[i]
		if s.c == nil {
			continue
		}
		x.buf = s.c.Close(x.buf[:0])
		if err := x.flush(s, s.next()); err != nil {
			return err
		}
		lines := s.c.Lines()
		if record.Charset == "" && s.taken > s.begins || lines > 0 && record.ConvertedLines == 0 {
			record.Charset = s.c.Found().String()
		}
		record.ConvertedLines += lines
	}
	return x.settle()
}
