package classic

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// request is a command of a client that may be here.
type request struct {
	grant   *auth.Grant
	remote  netip.Addr
	peer    net.Addr
	text    []byte
	timeout time.Duration // 0: none
	limit   int           // bytes of the answer

	authenticated bool // the client knows the secret
}

// errGone ends a command whose client has left, or is not served any more.
var errGone = errors.New("the client is gone, and the command was ended")

// execute runs a command as a job and returns the answer, in GBK. It returns an error if ctx ends first,
// which ends the command, too. Whatever else becomes of the command is part of the answer.
func (s *Server) execute(ctx context.Context, r *request) ([]byte, error) {
	m := &proto.Run{
		Shell: r.text, NoStdin: true, OnDisconnect: proto.DisconnectKill,
		Timeout: uint64(r.timeout.Milliseconds()),
	}
	_, _ = rand.Read(m.ID[:]) // never fails (crypto/rand)
	log := s.log.With(zap.String("key", r.grant.KeyID()), zap.Stringer("peer", r.peer), zap.Stringer("job", m.ID))
	j, x := s.open(ctx, r, m)
	if x != nil {
		if o := s.options.Observer; o != nil {
			o.NotRun(x)
		}
		if r.authenticated || s.tally.add("command not run") {
			log.Info("command not run", zap.Stringer("outcome", x.State), zap.String("reason", clean(x.Reason)))
		}
		return fit(notRun(x.Reason), 0, "", r.limit), nil
	}
	a, started, err := j.Attach(job.Client{Kick: func() {}}) // nobody else knows the ID
	if err != nil {
		return nil, err
	}
	log.Info("command", zap.Uint64("pid", started.PID))
	if ce := log.Check(zap.DebugLevel, "command text"); ce != nil {
		ce.Write(zap.ByteString("shell", m.Shell))
	}
	text, x, err := s.collect(ctx, a, r.limit)
	if err != nil {
		if errors.Is(err, job.ErrLeft) {
			err = errGone
		}
		log.Info("command not answered", zap.String("reason", err.Error()))
		return nil, err
	}
	log.Info("command answered", zap.Stringer("outcome", x.State), zap.Uint8("code", x.Code), zap.Int("bytes", len(text)))
	return text, nil
}

// open starts the job, or says in a record why not.
func (s *Server) open(ctx context.Context, r *request, m *proto.Run) (*job.Job, *proto.Exit) {
	if at := invalidAt(r.text); at >= 0 {
		return nil, job.Refused(proto.CauseInvalid,
			fmt.Sprintf("byte %d of the command is not UTF-8; commands are UTF-8, answers GBK", at+1))
	}
	if err := m.Validate(); err != nil {
		return nil, job.Refused(proto.CauseInvalid, err.Error())
	}
	// This looks at the key file as it is now, which Start does not.
	if err := s.privileged.Authorize(r.grant, r.remote); err != nil {
		return nil, job.Refused(proto.CausePolicy, err.Error())
	}
	j, _, x := s.jobs.Open(job.Grant{
		KeyID: r.grant.KeyID(), Peer: r.peer.String(),
		Start: func(m *proto.Run) (*job.Process, error) {
			p, err := s.privileged.Start(ctx, r.grant, job.Peer{Remote: netip.AddrPortFrom(r.remote, 0)}, m)
			if where := job.Where(err); where != "" && (r.authenticated || s.tally.add("command refused")) {
				s.log.Info("command refused", zap.Stringer("job", m.ID), zap.String("by", where))
			}
			return p, err
		},
		Valid: func() error { return s.privileged.Authorize(r.grant, r.remote) },
	}, m)
	return j, x
}

// invalidAt is the offset of the first byte that is not UTF-8; -1 if all are.
func invalidAt(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// collect takes a job's output to its end and makes the answer of it.
func (s *Server) collect(ctx context.Context, a *job.Attachment, limit int) ([]byte, *proto.Exit, error) {
	stop := context.AfterFunc(ctx, a.Leave)
	defer stop()
	defer a.Detach()
	from, gbLocale := a.Job().Printed()
	out := newOutput(from, gbLocale, s.options.Both, limit)
	for {
		e, err := a.Next()
		if err != nil {
			return nil, nil, err
		}
		if e.Exit != nil {
			a.Detach()
			a.Received()
			return out.answer(e.Exit), e.Exit, nil
		}
		if len(e.Data) == 0 {
			continue
		}
		out.add(e.Stream, e.Data)
		if err := a.Ack(proto.Ack{Stream: e.Stream, Offset: e.Offset + uint64(len(e.Data))}); err != nil {
			return nil, nil, err
		}
	}
}
