// Package classic serves the clients and scripts of a tutorial on sockets, so that they keep working
// while their users move to rexec: a command in, its output in GBK back, over TCP or UDP, in plain text.
//
// It owns those two protocols and their limits. It starts nothing by itself: a command becomes a job of
// the same table, through the same privileged half, with the rights and the limits of the one key that
// the configuration names. It is given listeners and options, and must not import server, transport,
// config or systemd.
package classic

import (
	"context"
	"errors"
	"fmt"
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

// Privileged is what is asked of the half of the daemon that holds keys and starts processes.
type Privileged interface {
	// Vouch grants a peer at this address the use of the configured key.
	Vouch(netip.Addr) (*auth.Grant, error)
	// Authorize checks that a grant is still good for a peer at this address.
	Authorize(*auth.Grant, netip.Addr) error
	// Start starts what a request asks for, if the grant's key may.
	Start(context.Context, *auth.Grant, job.Peer, *proto.Run) (*job.Process, error)
}

// Auth is how clients show that they know the secret.
type Auth uint8

// The kinds of Auth. MD5 is there only because existing clients speak it. It is the answer to a TCP
// challenge that differs: UDP clients use SHA-256 with both.
const (
	NoAuth Auth = iota
	HMACMD5
	HMACSHA256
)

// ParseAuth reads a name as the configuration has it.
func ParseAuth(name string) (Auth, error) {
	a, ok := map[string]Auth{"none": NoAuth, "hmac-md5": HMACMD5, "hmac-sha256": HMACSHA256}[name]
	if !ok {
		return NoAuth, fmt.Errorf("no authentication is called %q", name)
	}
	return a, nil
}

// Options are a server's settings. The zero value works.
type Options struct {
	Auth     Auth
	Secret   []byte // of Auth
	Both     bool   // the answer is stdout and stderr; else stderr if there is any, else stdout
	Lines    bool   // newlines separate commands of TCP clients
	Insecure bool   // listeners may be on addresses that other machines reach

	Pause            time.Duration // a silence that ends a TCP client's command; default 50 ms
	HandshakeTimeout time.Duration // for the answer to a challenge; default 10 s
	IdleTimeout      time.Duration // between an answer and the next command; default 10 min
	AfterEOF         time.Duration // for a command whose client has closed its side; default 2 s
	ReviewEvery      time.Duration // how soon it is noticed that a key is void or a client gone; default 2 s
	WriteTimeout     time.Duration // for a client to take the next 64 KiB of an answer; default 30 s
	UDPTimeout       time.Duration // that a command may run which came over UDP; default 1 min
	MaxConnections   int           // at once, and as many commands over UDP; default 64
	MaxPerSource     int           // commands over UDP at once from one source; default 16
	MaxAnswer        int           // bytes of an answer over TCP; default 16 MiB

	// Newest is the time of the newest datagram that an earlier run of the daemon took, as Remember was
	// told; up to it none is taken again, for what that run has seen is forgotten. Zero: there was none.
	Newest time.Time
	// Remember keeps such a time for the next run; an error drops the datagram. Default: it is not kept.
	Remember func(time.Time) error
	Log      *zap.Logger // default: none
	Observer Observer    // default: none
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.Pause, 50*time.Millisecond)
	orDefault(&o.HandshakeTimeout, 10*time.Second)
	orDefault(&o.IdleTimeout, 10*time.Minute)
	orDefault(&o.AfterEOF, 2*time.Second)
	orDefault(&o.ReviewEvery, 2*time.Second)
	orDefault(&o.WriteTimeout, 30*time.Second)
	orDefault(&o.UDPTimeout, time.Minute)
	orDefault(&o.MaxConnections, 64)
	orDefault(&o.MaxPerSource, 16)
	orDefault(&o.MaxAnswer, 16<<20)
	if o.Remember == nil {
		o.Remember = func(time.Time) error { return nil }
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
	tally      tally // of what strangers do
	gate       *gate

	mu        sync.Mutex
	listeners map[*listening]struct{}
	strangers map[*conn]struct{}   // still to be welcomed
	conns     map[*conn]struct{}   // the others
	running   map[netip.Prefix]int // commands over UDP by source
	datagrams int                  // all of them
	closing   bool
	stopping  chan struct{} // closed when Shutdown begins
	reviewing sync.Once
	wg        sync.WaitGroup
}

// listening is a listener that is being served.
type listening struct {
	stop func() // takes nothing new
	cut  func() // ends what was taken
	end  func()
}

// New returns a server for the jobs of one table.
func New(p Privileged, jobs *job.Table, o Options) *Server {
	o = o.withDefaults()
	return &Server{
		options: o, privileged: p, jobs: jobs, log: o.Log,
		tally: tally{log: o.Log, counts: map[string]int{}}, gate: newGate(o, time.Now()),
		listeners: map[*listening]struct{}{}, strangers: map[*conn]struct{}{}, conns: map[*conn]struct{}{},
		running: map[netip.Prefix]int{}, stopping: make(chan struct{}),
	}
}

// ErrClosed is returned by Serve and ServePacket after Shutdown.
var ErrClosed = errors.New("server closed")

// Loopback reports whether only this machine reaches a listener's address.
func Loopback(a net.Addr) bool { return addrPort(a).Addr().IsLoopback() }

// addrPort is the address of a peer or listener; invalid if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// begin takes note of a listener. The context that it returns ends with ctx, or when what was taken from
// the listener is cut; end must be called once nothing of it goes on.
func (s *Server) begin(ctx context.Context, a net.Addr, stop func()) (context.Context, *listening, error) {
	if !s.options.Insecure && !Loopback(a) {
		return nil, nil, fmt.Errorf("serving %s in plain text: other machines reach it, and that was not allowed", a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, nil, ErrClosed
	}
	ctx, cut := context.WithCancel(ctx)
	disarm := context.AfterFunc(ctx, stop)
	l := &listening{stop: stop, cut: cut}
	l.end = func() {
		disarm()
		cut()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.wg.Done()
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.reviewing.Do(func() { s.wg.Go(s.review) })
	return ctx, l, nil
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// lastWords is how long a client that reads slowly can delay the end of the daemon.
const lastWords = 3 * time.Second

// Shutdown takes no new clients and commands, gives running commands until ctx ends and then ends them,
// lets their clients have the answers, and returns once nothing of the server's or the jobs' runs.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.stopping)
	}
	for l := range s.listeners {
		l.stop()
	}
	for _, group := range []map[*conn]struct{}{s.strangers, s.conns} {
		for c := range group {
			c.dismiss()
		}
	}
	s.mu.Unlock()
	s.jobs.Shutdown(ctx)
	last := time.AfterFunc(lastWords, s.cut)
	defer last.Stop()
	s.wg.Wait()
	s.tally.report()
}

func (s *Server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		l.cut()
	}
}

// review looks after connections that nothing comes from. Their commands are reviewed with all other jobs.
func (s *Server) review() {
	tick, report := time.NewTicker(s.options.ReviewEvery), time.NewTicker(reportEvery)
	defer tick.Stop()
	defer report.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-report.C:
			s.tally.report()
			continue
		case <-tick.C:
		}
		s.mu.Lock()
		open := slices.Collect(maps.Keys(s.conns))
		s.mu.Unlock()
		for _, c := range open {
			c.review()
		}
	}
}
