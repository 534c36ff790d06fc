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
	"net"
	"net/netip"
	"slices"
	"sync"
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
	Start(context.Context, *auth.Grant, job.Peer, *proto.Run) (*job.Process, error)
}

// Options are a server's settings. The zero value works.
type Options struct {
	HandshakeTimeout   time.Duration // TLS and proof together; default 10 s
	MaxUnauthenticated int           // connections without a proof; default 512
	MaxConnections     int           // in all; default 16,384
	Log                *zap.Logger   // default: none
	Observer           Observer      // default: none
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
	accepted  PerTransport // of listeners so far
	revoked   uint64       // sessions that were ended since their keys were not valid any more
	reviews   uint64
	closing   bool // commands are drained; who comes is told so
	over      bool // nobody is let in any more
	wg        sync.WaitGroup

	strangers map[Channel]struct{}             // without a proof as yet
	probes    map[netip.AddrPort]chan struct{} // see Expect
	drained   chan struct{}                    // closed when no command runs any more
	reviewing sync.Once
	draining  sync.Once
}

// New returns a server for the jobs of one table.
func New(p Privileged, jobs *job.Table, o Options) *Server {
	o = o.withDefaults()
	return &Server{
		options: o, privileged: p, jobs: jobs, log: o.Log, attempts: sampled(o.Log),
		listeners: map[net.Listener]struct{}{}, sessions: map[*session]struct{}{},
		strangers: map[Channel]struct{}{}, probes: map[netip.AddrPort]chan struct{}{}, drained: make(chan struct{}),
	}
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("server closed")

// admit starts serving a connection unless there are too many.
func (s *Server) admit(ctx context.Context, conn net.Conn) {
	ch, ok := conn.(Channel)
	if !ok {
		panic("internal error: a listener's connection is not a Channel")
	}
	s.mu.Lock()
	reason, class := s.full()
	s.accepted.add(ch.Kind())
	var displaced Channel
	if reason == "" {
		displaced = s.makeRoom()
		s.strangers[ch] = struct{}{}
		s.total++
		s.wg.Go(func() { s.welcome(ctx, ch) }) // before Shutdown can begin to wait
	}
	s.mu.Unlock()
	if displaced != nil {
		cut(displaced)
	}
	if reason != "" {
		s.attempt(ch, Attempt{Outcome: "dropped", Reason: class}, zap.String("reason", reason))
		conn.Close()
	}
}

// cut closes a connection at once.
func cut(ch Channel) {
	if a, ok := ch.(aborter); ok {
		a.Abort()
		return
	}
	ch.Close()
}

// full is why no further connection can be taken, and the class of it; empty if one can. Called with the
// lock held.
func (s *Server) full() (reason, class string) {
	switch {
	case s.over:
		return "shutting down", reasonShutdown
	case s.total >= s.options.MaxConnections:
		return "max_connections reached", reasonTotal
	}
	return "", ""
}

// makeRoom gives up one of the connections without a proof if there are too many, and returns it to be cut.
// Which one, nobody can foresee; but who means well has proved himself within milliseconds, so that those
// who keep silent shut out nobody. Called with the lock held.
func (s *Server) makeRoom() Channel {
	if len(s.strangers) < s.options.MaxUnauthenticated {
		return nil
	}
	for ch := range s.strangers {
		delete(s.strangers, ch)
		return ch
	}
	return nil
}

// wasDisplaced reports whether a stranger had to make room.
func (s *Server) wasDisplaced(ch Channel) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, here := s.strangers[ch]
	return !here
}

func (s *Server) track(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.listeners[ln] = struct{}{}
		s.reviewing.Do(func() { s.wg.Go(s.review) }) // before Shutdown can begin to wait
	}
	return !s.closing
}

func (s *Server) untrack(ln net.Listener) {
	ln.Close()
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
}

func (s *Server) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// Shutdown refuses new commands, ends idle sessions, gives running commands until ctx ends and then ends them,
// tells their clients, and returns once nothing of the server's or the jobs' runs any more. Until the commands have
// ended, connections are taken: whoever comes is told, and can take up a command that still runs.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	for sess := range s.sessions {
		sess.dismiss(proto.ErrorShutdown, "the daemon is shutting down")
	}
	s.mu.Unlock()
	s.jobs.Shutdown(ctx)
	s.draining.Do(func() { close(s.drained) })
	s.letNobodyIn()
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

// letNobodyIn closes the listeners, and the connections of those who have not proved themselves yet.
func (s *Server) letNobodyIn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for ln := range s.listeners {
		ln.Close()
	}
	clear(s.listeners) // Serve notices later
	for ch := range s.strangers {
		_ = ch.SetDeadline(time.Unix(1, 0))
	}
}

// reviewEvery is how soon a key that was revoked or has expired ends what was done with it.
const reviewEvery = 2 * time.Second

// review ends sessions and jobs whose keys are not valid any more, also while commands are drained, which can take
// as long as the configuration says.
func (s *Server) review() {
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.drained:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		open := slices.Collect(maps.Keys(s.sessions))
		s.mu.Unlock()
		ended := uint64(0)
		for _, sess := range open {
			if sess.review() {
				ended++
			}
		}
		s.mu.Lock()
		s.reviews++
		s.revoked += ended
		s.mu.Unlock()
		s.jobs.Review()
	}
}

// lastWords is how long a client that reads slowly can delay the end of the daemon.
const lastWords = 3 * time.Second
