package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/classic"
	"rexec/internal/metrics"
	"rexec/internal/proto"
	"rexec/internal/server"
)

// reloads remembers how the configuration was read.
type reloads struct {
	mu   sync.Mutex
	last time.Time // zero: not since the start
	good time.Time // zero: not since the start
	err  error     // of the last time
}

func (r *reloads) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.err = time.Now(), err
	if err == nil {
		r.good = r.last
	}
}

func (r *reloads) get() (last, good time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.good, r.err
}

// The transports of classic clients beside tcp and udp, which are those of the others.
const (
	classicTCP = "classic_tcp"
	classicUDP = "classic_udp"
)

// newMetrics returns nil while [metrics] is off; nothing is counted then.
func (d *daemon) newMetrics() *metrics.Metrics {
	if d.cfg.Metrics.Listen == "" {
		return nil
	}
	began := time.Now()
	o := metrics.Options{Version: version, Transports: []string{"tcp"}, Refusals: server.Reasons(),
		Snapshot: func() metrics.Snapshot { return d.snapshot(began) }}
	for _, r := range auth.Refusals() {
		o.Refusals = append(o.Refusals, string(r))
	}
	o.Causes = []string{replayed}
	for c := proto.CauseInvalid; c < proto.CauseClientGone; c++ { // what follows are those of commands that ran
		o.Causes = append(o.Causes, c.String())
	}
	if d.cfg.Server.UDP {
		o.Transports = append(o.Transports, "udp")
	}
	if d.cfg.Classic.ListenTCP != "" {
		o.Transports = append(o.Transports, classicTCP)
	}
	if d.cfg.Classic.ListenUDP != "" {
		o.Transports = append(o.Transports, classicUDP)
	}
	return metrics.New(o)
}

func (d *daemon) snapshot(began time.Time) metrics.Snapshot {
	c, totals := d.server.Counts(), d.jobs.Totals()
	_, closing := d.server.Serving()
	_, good, err := d.reloads.get()
	if good.IsZero() {
		good = began
	}
	s := metrics.Snapshot{
		Unproven: byTransport[int](c.Unproven), Sessions: byTransport[int](c.Sessions),
		Accepted: byTransport[uint64](c.Accepted),
		Running:  totals.Running, Stdin: totals.Bytes[0], Stdout: totals.Bytes[1], Stderr: totals.Bytes[2],
		Keys: len(d.store.Keys()), KeyFileValid: d.store.Problem() == nil,
		Reviews: c.Reviews, Revoked: c.Revoked, Draining: closing, ReloadOK: err == nil, Reloaded: good,
	}
	if d.classic.tcp != nil {
		s.Sessions[classicTCP] = len(d.classic.server.Clients())
	}
	return s
}

func byTransport[N int | uint64](p server.PerTransport) map[string]N {
	return map[string]N{"tcp": N(p.TCP), "udp": N(p.UDP)}
}

// replayed is the cause of a request whose outcome was stored before.
const replayed = "replayed"

// counter passes on what the servers observe.
type counter struct{ m *metrics.Metrics }

func (c counter) Attempt(a server.Attempt) {
	c.m.Handshake(metrics.Handshake{Transport: a.Transport, Outcome: a.Outcome, Reason: a.Reason, Took: a.Took})
}

func (c counter) NotRun(x *proto.Exit) {
	if x.Replayed {
		c.m.NotRun(replayed)
		return
	}
	c.m.NotRun(x.Cause.String())
}

// classicCounter is a counter for the classic listeners.
type classicCounter struct{ counter }

func (c classicCounter) Attempt(transport, outcome string) {
	name := classicTCP
	if transport == "udp" {
		name = classicUDP
	}
	c.m.Handshake(metrics.Handshake{Transport: name, Outcome: outcome})
}

// observer is what the server tells of its connections; nil for nobody.
func (d *daemon) observer() server.Observer {
	if d.metrics == nil {
		return nil
	}
	return counter{d.metrics}
}

func (d *daemon) classicObserver() classic.Observer {
	if d.metrics == nil {
		return nil
	}
	return classicCounter{counter{d.metrics}}
}

// started is whom the jobs tell of their start; nil for nobody.
func (d *daemon) started() func(time.Duration) {
	if d.metrics == nil {
		return nil
	}
	return d.metrics.JobStarted
}

func (d *daemon) countEnd(x *proto.Exit) {
	if d.metrics != nil {
		d.metrics.JobEnded(x.State.String(), x.Cause.String(), time.Duration(x.End-x.Start))
	}
}

// healthy says in a word why the daemon does not serve; nil if it does.
func (d *daemon) healthy(ctx context.Context, loops int, listeners []net.Listener) error {
	serving, closing := d.server.Serving()
	if d.classic.server != nil {
		serving += d.classic.server.Listening()
	}
	switch {
	case closing:
		return errors.New("draining")
	case serving < loops:
		return errors.New("no-listener")
	case d.checkup.recent(ctx, func(ctx context.Context) error { return d.selfCheck(ctx, listeners) }) != nil:
		return errors.New("self-check")
	}
	return nil
}

// watch lets people and programs watch the daemon until stop is called, its end included.
func (d *daemon) watch(ctx context.Context, dir string, s sockets, id auth.Identity) (stop func(), err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("finding the state directory: %w", err)
	}
	loops := len(s.all()) + len(d.classic.services())
	shown := &shown{daemon: d, began: time.Now(), dir: dir, id: id.ID, healthy: func() error { return d.healthy(ctx, loops, s.all()) }}
	for _, ln := range s.all() {
		shown.listen(ln.Addr().Network(), ln.Addr())
	}
	if d.classic.tcp != nil {
		shown.listen(classicTCP, d.classic.tcp.Addr())
	}
	if d.classic.udp != nil {
		shown.listen(classicUDP, d.classic.udp.LocalAddr())
	}
	closeMetrics := func() {}
	if d.metrics != nil {
		ln, err := metrics.Listen(ctx, d.cfg.Metrics.Listen)
		if err != nil {
			for _, ln := range s.all() {
				ln.Close() // nobody is going to serve them
			}
			return nil, fmt.Errorf("listening for metrics.listen: %w", err)
		}
		trouble, _ := zap.NewStdLogAt(d.log, zap.WarnLevel) // an error only for a level that does not exist
		served := d.metrics.Serve(ln, shown.healthy, trouble)
		d.log.Info("listening for who wants metrics", zap.String("address", addressOf(ln.Addr())))
		shown.listen("metrics", ln.Addr())
		closeMetrics = served.Close
	}
	closeControl := openControl(ctx, shown)
	return func() {
		closeControl()
		closeMetrics()
	}, nil
}

// addressOf names a Unix socket as the configuration does.
func addressOf(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}
