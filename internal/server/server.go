// Package server is the network half of the daemon: it accepts connections, lets a peer prove itself
// within a deadline, and only then gives it a session that can ask for executions.
//
// It owns connections and their lifetimes. Everything privileged (secrets, policy, starting
// processes) it reaches through Privileged, and jobs through package job. It is given listeners and
// options; it must not import transport, config or systemd.
package server

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// Channel is what the listeners' connections must be: encrypted, with a binding to prove over.
type Channel interface {
	net.Conn
	CloseWrite() error
	Kind() uint8                                // the proof's transport byte
	Bind(ctx context.Context) ([32]byte, error) // completes the handshake
}

// Privileged is all that the network half can ask of the half that holds secrets and starts
// processes. What crosses it are values and open files, so that the two may be two processes.
type Privileged interface {
	// Verify checks a client's proof and makes the answer.
	Verify(auth.Attempt) auth.Verdict
	// Authorize checks that a grant is still good for a peer at this address.
	Authorize(*auth.Grant, netip.Addr) error
	// Start starts what a request asks for, if the grant's key may.
	Start(context.Context, *auth.Grant, netip.Addr, *proto.Run) (*job.Process, error)
}

// Options are a server's settings. The zero value works.
type Options struct {
	HandshakeTimeout   time.Duration // TLS and proof together; default 10 s
	MaxUnauthenticated int           // connections without a proof; default 512
	MaxConnections     int           // in all; default 16,384
	Log                *zap.Logger   // default: none
}

func (o Options) withDefaults() Options {
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.MaxUnauthenticated == 0 {
		o.MaxUnauthenticated = 512
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 16_384
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o
}

// Server serves any number of listeners.
type Server struct {
	options    Options
	privileged Privileged
	jobs       *job.Table
	log        *zap.Logger
	attempts   *zap.Logger // one line per connection attempt, rate-limited

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	total     int
	closing   bool
	wg        sync.WaitGroup

	strangers map[Channel]struct{} // without a proof as yet
	stopping  chan struct{}        // closed when Shutdown begins
	reviewing sync.Once
}

// New returns a server for the jobs of one table.
func New(p Privileged, jobs *job.Table, o Options) *Server {
	o = o.withDefaults()
	return &Server{
		options: o, privileged: p, jobs: jobs, log: o.Log, attempts: sampled(o.Log),
		listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{},
		strangers: map[Channel]struct{}{}, stopping: make(chan struct{}),
	}
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("server closed")

// Serve accepts connections until the listener fails, ctx ends or Shutdown is called; the last two
// give ErrClosed. It closes the listener, whose connections must be Channels.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !s.track(ln) {
		ln.Close()
		return ErrClosed
	}
	defer s.untrack(ln)
	s.reviewing.Do(func() { s.wg.Go(s.review) })
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var backoff time.Duration
	for {
		conn, err := ln.Accept()
		if err != nil {
			if s.isClosing() || ctx.Err() != nil {
				return ErrClosed
			}
			if !passing(err) {
				return err
			}
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.log.Warn("accepting a connection", zap.Error(err), zap.Duration("retry", backoff))
			sleep(ctx, backoff)
			continue
		}
		backoff = 0
		s.admit(ctx, conn)
	}
}

// passing reports whether an error of accept(2) ends by itself: the limits on files and memory, or a
// peer that left before it was accepted.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// admit starts serving a connection unless there are too many.
func (s *Server) admit(ctx context.Context, conn net.Conn) {
	ch, ok := conn.(Channel)
	if !ok {
		panic("internal error: a listener's connection is not a Channel")
	}
	s.mu.Lock()
	reason := s.full()
	if reason == "" {
		s.strangers[ch] = struct{}{}
		s.total++
		s.wg.Go(func() { s.welcome(ctx, ch) }) // before Shutdown can begin to wait
	}
	s.mu.Unlock()
	if reason != "" {
		s.attempt(ch, "dropped", zap.String("reason", reason))
		conn.Close()
	}
}

// full is why no further connection can be taken; empty if one can. Called with the lock held. Above
// half the limit of unproven connections one is dropped at random, more likely the more there are, so
// that a flood cannot keep everybody else out for certain (as MaxStartups in sshd_config(5)).
func (s *Server) full() string {
	limit := s.options.MaxUnauthenticated
	switch {
	case s.closing:
		return "shutting down"
	case s.total >= s.options.MaxConnections:
		return "max_connections reached"
	case len(s.strangers) >= limit:
		return "max_unauthenticated reached"
	case rand.IntN(limit) < 2*len(s.strangers)-limit:
		return "early drop below max_unauthenticated"
	}
	return ""
}

func (s *Server) track(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.listeners[ln] = struct{}{}
	}
	return !s.closing
}

func (s *Server) untrack(ln net.Listener) {
	ln.Close()
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// Shutdown stops accepting, ends idle sessions, gives running commands until ctx ends and then ends
// them, tells their clients, and returns once nothing of the server's or the jobs' runs any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.stopping)
	}
	for ln := range s.listeners {
		ln.Close()
	}
	for ch := range s.strangers {
		_ = ch.SetDeadline(time.Unix(1, 0))
	}
	for sess := range s.sessions {
		sess.dismiss(proto.ErrorShutdown, "the daemon is shutting down")
	}
	s.mu.Unlock()
	s.jobs.Shutdown(ctx)
	// All exit records exist now. Clients get a moment to take the rest of their output.
	last := time.AfterFunc(lastWords, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for sess := range s.sessions {
			sess.abort()
		}
	})
	defer last.Stop()
	s.wg.Wait()
}

// reviewEvery is how soon a key that was revoked or has expired ends what was done with it.
const reviewEvery = 2 * time.Second

// review ends sessions and jobs whose keys are not valid any more.
func (s *Server) review() {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		open := slices.Collect(maps.Keys(s.sessions))
		s.mu.Unlock()
		for _, sess := range open {
			sess.review()
		}
		s.jobs.Review()
	}
}

// lastWords is how long a client that reads slowly can delay the end of the daemon.
const lastWords = 3 * time.Second
