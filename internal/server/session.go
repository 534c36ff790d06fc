package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// session is a conversation with a peer that proved itself: it can be made from a grant only, and a
// grant comes from a verified proof only. One goroutine, serve, reads; while a command runs, another
// one owns the writes.
type session struct {
	server *Server
	ch     Channel
	grant  *auth.Grant
	since  time.Time
	in     *proto.Reader
	out    *outbox
	log    *zap.Logger

	idle    allowance                   // of the reader
	run     *run                        // the current or the last command
	closing atomic.Pointer[proto.Error] // why the session ends once nothing runs in it
}

func newSession(s *Server, ch Channel, grant *auth.Grant) *session {
	return &session{
		server: s, ch: ch, grant: grant, since: time.Now(),
		in: proto.NewReader(ch), out: &outbox{w: proto.NewWriter(ch)},
		log: s.log.With(zap.String("key", grant.KeyID()), zap.Stringer("peer", ch.RemoteAddr())),
	}
}

// protocolError is a peer's breach of the protocol; the text goes to the peer.
type protocolError struct{ text string }

func (e *protocolError) Error() string { return e.text }

func breach(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// serve reads and acts until the conversation ends.
func (s *session) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { s.ch.Close() })
	defer stop()
	defer s.recover()
	err := s.read(ctx)
	s.end(err)
}

// recover keeps a programmer's mistake in one conversation from ending all others.
func (s *session) recover() {
	if p := recover(); p != nil {
		s.log.Error("internal error: panic in a session", zap.Any("panic", p), zap.Stack("stack"))
		s.end(&proto.Error{Code: proto.ErrorInternal, Text: "internal error"})
	}
}

func (s *session) read(ctx context.Context) error {
	for {
		t, _, err := s.in.Next()
		if err == nil {
			err = s.dispatch(ctx, t)
		}
		if last := s.closing.Load(); last != nil && (s.run == nil || s.run.over()) {
			return last
		}
		if err != nil {
			return err
		}
	}
}

// dispatch acts on one message.
func (s *session) dispatch(ctx context.Context, t proto.Type) error {
	switch t {
	case proto.TypeRun, proto.TypeAck:
	case proto.TypeStdin: // has its own bytes to show for itself, or not
	default:
		if !s.idle.spend() {
			return s.flooded()
		}
	}
	switch t {
	case proto.TypeRun:
		return s.begin(ctx)
	case proto.TypeStdin, proto.TypeEOF, proto.TypeAck, proto.TypeSignal, proto.TypeWindow:
		if s.run == nil {
			return breach("%s before any run", t)
		}
		return s.forRun(t)
	case proto.TypePing:
		return s.ping()
	case proto.TypePong:
		return nil
	}
	if !t.Known() && t&proto.Ignorable != 0 {
		return nil
	}
	return breach("unexpected %s from a client", t)
}

// forRun passes a message on to the command that runs or has just ended.
func (s *session) forRun(t proto.Type) error {
	if t == proto.TypeStdin {
		offset, err := s.in.Offset()
		if err != nil {
			return err
		}
		if s.in.Left() == 0 && !s.idle.spend() {
			return s.flooded()
		}
		return s.run.input(offset, s.in)
	}
	payload, err := s.in.Payload()
	if err != nil {
		return err
	}
	switch t {
	case proto.TypeEOF:
		m, err := proto.ParseEOF(payload)
		if err != nil {
			return err
		}
		return s.run.inputEOF(m.Length)
	case proto.TypeAck:
		m, err := proto.ParseAck(payload)
		if err != nil {
			return err
		}
		return s.run.ack(m)
	case proto.TypeSignal:
		m, err := proto.ParseSignal(payload)
		if err != nil {
			return err
		}
		return s.signal(m.Name)
	default:
		m, err := proto.ParseWindow(payload)
		if err != nil {
			return err
		}
		return s.resize(m)
	}
}

// resize passes a size on. One that comes after the command's end has no effect, as a signal then.
func (s *session) resize(m proto.Window) error {
	if err := s.run.a.Job().Resize(m); errors.Is(err, job.ErrNoTerminal) {
		return s.note(err.Error())
	}
	return nil
}

func (s *session) signal(name string) error {
	if err := s.run.signal(name); err != nil {
		return s.note(err.Error())
	}
	return nil
}

func (s *session) ping() error {
	payload, err := s.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParsePing(payload)
	if err != nil {
		return err
	}
	return s.out.post(&proto.Pong{Token: m.Token, Uptime: s.server.jobs.Uptime()}, nil)
}

// note tells the client that a message had no effect.
func (s *session) note(text string) error {
	return s.out.post(nil, &proto.Error{Code: proto.ErrorIgnored, Text: text})
}

// begin answers a run request.
func (s *session) begin(ctx context.Context) error {
	payload, err := s.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParseRun(payload)
	if err != nil {
		return err
	}
	if s.run != nil {
		if !s.run.over() {
			return breach("run while a command runs")
		}
		s.run.received() // the client went on, so it has everything of the last one
		s.run = nil
	}
	r, x, err := s.open(ctx, m)
	if err != nil {
		return err
	}
	if x != nil {
		s.log.Info("command not run", zap.Stringer("job", m.ID), zap.Stringer("outcome", x.State),
			zap.String("reason", clean(x.Reason)))
		if o := s.server.options.Observer; o != nil {
			o.NotRun(x)
		}
		return s.out.w.Write(x)
	}
	s.run = r
	return nil
}

// open starts or finds the execution and attaches to it. It returns a record if nothing was started
// and nothing is there, and an error if something is there that the client does not get.
func (s *session) open(ctx context.Context, m *proto.Run) (*run, *proto.Exit, error) {
	if err := m.Validate(); err != nil {
		return nil, job.Refused(proto.CauseInvalid, "invalid request: "+err.Error()), nil
	}
	addr := remoteAddr(s.ch)
	if err := s.server.privileged.Authorize(s.grant, addr); err != nil {
		if s.server.jobs.Find(s.grant.KeyID(), m.ID) != nil {
			return nil, nil, &proto.Error{Code: proto.ErrorRevoked, Text: err.Error()}
		}
		return nil, job.Refused(proto.CausePolicy, err.Error()), nil
	}
	g := job.Grant{
		KeyID: s.grant.KeyID(), Peer: s.ch.RemoteAddr().String(),
		Start: func(m *proto.Run) (*job.Process, error) {
			p, err := s.server.privileged.Start(ctx, s.grant, peerOf(s.ch), m)
			if where := job.Where(err); where != "" {
				s.log.Info("command refused", zap.Stringer("job", m.ID), zap.String("by", where))
			}
			return p, err
		},
		Valid: func() error { return s.server.privileged.Authorize(s.grant, addr) },
	}
	j, existed, x := s.server.jobs.Open(g, m)
	if x != nil {
		return nil, x, nil
	}
	r := &run{session: s, done: make(chan struct{})}
	a, started, err := j.Attach(job.Client{
		From: [2]uint64{m.StdoutFrom, m.StderrFrom}, Caller: m.Caller, Valid: g.Valid, Kick: r.kick,
	})
	if errors.Is(err, job.ErrTakenOver) {
		return nil, nil, takenOver(err)
	}
	if err != nil {
		return nil, nil, asBreach(err)
	}
	started.Attached = existed
	if existed && m.Window != (proto.Window{}) {
		_ = j.Resize(m.Window) // the client's window may have changed while it was away
	}
	r.start(a, m, started)
	if s.closing.Load() != nil {
		_ = s.ch.SetReadDeadline(time.Time{}) // the session was to end idle, and it ends after this
	}
	s.logStart(m, started)
	return r, nil, nil
}

func (s *session) logStart(m *proto.Run, started *proto.Started) {
	if ce := s.log.Check(zap.InfoLevel, "command"); ce != nil {
		ce.Write(zap.Stringer("job", m.ID), zap.Bool("attached", started.Attached), zap.Uint64("pid", started.PID),
			zap.Bool("terminal", len(m.Pty) > 0))
	}
	if ce := s.log.Check(zap.DebugLevel, "command text"); ce != nil {
		ce.Write(zap.Stringer("job", m.ID), zap.ByteString("shell", m.Shell), zap.ByteStrings("argv", m.Argv),
			zap.String("subsystem", m.Subsystem))
	}
}

// end closes the conversation: in order if the peer can still read, at once if it cannot.
func (s *session) end(err error) {
	var broken *protocolError
	var frame *proto.FrameError
	var last *proto.Error
	switch {
	case errors.As(err, &broken), errors.As(err, &frame), errors.Is(err, proto.ErrMalformed):
		s.log.Warn("protocol error", zap.String("reason", clean(err.Error())))
		s.close(&proto.Error{Code: proto.ErrorProtocol, Text: "protocol error: " + err.Error()})
	case errors.As(err, &last):
		s.close(last)
	default:
		s.close(nil)
	}
	if s.run != nil && errors.Is(err, io.EOF) { // a client that closes in order has everything
		s.run.received()
	}
	s.log.Debug("conversation ended", zap.NamedError("cause", err))
}

// close ends the writer of a running command, says a last word, and closes the connection: slowly, if
// there is a last word to be read.
func (s *session) close(last *proto.Error) {
	_ = s.ch.SetWriteDeadline(time.Now().Add(time.Second))
	told := s.run != nil && s.run.leave()
	if last != nil && s.out.w.Write(last) == nil {
		told = true
	}
	if told {
		limit := time.Second
		if _, ok := s.ch.(multiplexed); ok {
			// What a kernel does for a TCP connection after the end of the process, nobody does for this one.
			limit = lastWords
		}
		linger(s.ch, limit)
		return
	}
	if a, ok := s.ch.(aborter); ok && s.closing.Load() != nil {
		a.Abort() // a peer that does not read must not hold up the end of the daemon with its good-bye
		return
	}
	s.ch.Close()
}

// aborter is a channel that can be closed without a word.
type aborter interface{ Abort() }

// dismiss ends the session with a last word as soon as no command runs in it. It is called by other
// goroutines.
func (s *session) dismiss(code proto.ErrorCode, text string) {
	s.closing.CompareAndSwap(nil, &proto.Error{Code: code, Text: text})
	s.out.whenIdle(func() { _ = s.ch.SetReadDeadline(time.Unix(1, 0)) })
}

// lastCall is for a session that begins while the server is about to end: it has a moment to ask, and
// gets an answer.
func (s *session) lastCall() {
	s.closing.Store(&proto.Error{Code: proto.ErrorShutdown, Text: "the daemon is shutting down"})
	_ = s.ch.SetReadDeadline(time.Now().Add(time.Second))
}

// review dismisses the session if its key may not be used any more, and reports whether it did.
func (s *session) review() bool {
	if s.closing.Load() != nil {
		return false
	}
	err := s.server.privileged.Authorize(s.grant, remoteAddr(s.ch))
	if err != nil {
		s.log.Warn("key not valid any more", zap.String("reason", clean(err.Error())))
		s.dismiss(proto.ErrorRevoked, err.Error())
	}
	return err != nil
}

// abort ends the session now.
func (s *session) abort() { _ = s.ch.SetDeadline(time.Unix(1, 0)) }
