// Package metrics owns the numbers that the daemon shows to Prometheus: their names, units, labels and
// buckets, the registry that holds them, and the HTTP server that hands them out.
//
// It does not know where they come from: events are told to it, and what can be read is asked for with
// each scrape. Labels have few values, and no key, peer or command is ever one. It alone imports
// Prometheus's packages, and nothing of ours but unixsock.
package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Options are what is known from the start.
type Options struct {
	Version string // of the daemon
	// Transports, Refusals and Causes (of requests that started nothing) are the labels whose series begin at
	// zero. One that begins with its first event hides that event from every rate.
	Transports, Refusals, Causes []string
	// Snapshot is asked with each scrape, by one goroutine at a time.
	Snapshot func() Snapshot
}

// Snapshot is what can be read at any time.
type Snapshot struct {
	Unproven, Sessions map[string]int    // open connections by transport
	Accepted           map[string]uint64 // connections so far by transport
	Running            int               // commands
	Stdin              uint64            // bytes of all commands so far, as are the following
	Stdout, Stderr     uint64
	Keys               int
	KeyFileValid       bool
	Reviews, Revoked   uint64
	Draining           bool
	ReloadOK           bool      // the last time that the configuration was read
	Reloaded           time.Time // when it was read and in order
}

// Handshake is a connection attempt that has ended.
type Handshake struct {
	Transport, Outcome string
	Reason             string        // of a refusal; else empty
	Took               time.Duration // 0: not measured
}

// Metrics are the numbers of one daemon. There is nothing global behind them.
type Metrics struct {
	registry   *prometheus.Registry
	gathering  sync.Mutex
	handshakes *prometheus.CounterVec
	refusals   *prometheus.CounterVec
	handshake  *prometheus.HistogramVec
	notRun     *prometheus.CounterVec
	ended      *prometheus.CounterVec
	start      prometheus.Histogram
	duration   prometheus.Histogram
}

const namespace = "rexecd"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// latencies are from what a loopback interface takes to where a person has given up.
func latencies() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// durations are those of commands: from true(1) to a day's work.
func durations() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600}
}

// New makes the metrics of a daemon.
func New(o Options) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		handshakes: counter("handshakes_total", "Connection attempts by how they ended: accepted, refused, failed, "+
			"closed (by the peer, before its proof) or dropped (for a limit).", "transport", "outcome"),
		refusals: counter("refusals_total", "Connection attempts that were refused or dropped, by the class of the "+
			"reason; proof is an unknown key or a wrong secret.", "reason"),
		handshake: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "handshake_duration_seconds", Buckets: latencies(),
			Help: "Time of TLS and proof together, of connections that were accepted; with QUIC of the proof alone, " +
				"since TLS comes before the connection is there.",
		}, []string{"transport"}),
		notRun: counter("requests_not_run_total", "Requests that started nothing, by cause; replayed is an outcome "+
			"that was stored before.", "cause"),
		ended: counter("jobs_ended_total", "Commands that have ended, by state and, where the daemon ended them, "+
			"cause.", "state", "cause"),
		start: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "job_start_duration_seconds", Buckets: latencies(),
			Help: "Time from a request until its command ran.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "job_duration_seconds", Buckets: durations(),
			Help: "Time that commands ran.",
		}),
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": o.Version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.handshakes, m.refusals, m.handshake, m.notRun, m.ended, m.start, m.duration, build,
		newReader(o.Snapshot), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.beginAtZero(o)
	return m
}

func (m *Metrics) beginAtZero(o Options) {
	for _, t := range o.Transports {
		for _, outcome := range []string{"accepted", "refused", "failed", "closed", "dropped"} {
			m.handshakes.WithLabelValues(t, outcome)
		}
	}
	for _, r := range o.Refusals {
		m.refusals.WithLabelValues(r)
	}
	for _, c := range o.Causes {
		m.notRun.WithLabelValues(c)
	}
	for _, state := range []string{"exited", "signaled", "timeout"} {
		m.ended.WithLabelValues(state, "none")
	}
	for _, cause := range []string{"client_gone", "revoked", "shutdown"} {
		m.ended.WithLabelValues("killed", cause)
	}
}

// Handshake counts a connection attempt.
func (m *Metrics) Handshake(h Handshake) {
	m.handshakes.WithLabelValues(h.Transport, h.Outcome).Inc()
	if h.Reason != "" {
		m.refusals.WithLabelValues(h.Reason).Inc()
	}
	if h.Took > 0 {
		m.handshake.WithLabelValues(h.Transport).Observe(h.Took.Seconds())
	}
}

// NotRun counts a request that started nothing.
func (m *Metrics) NotRun(cause string) { m.notRun.WithLabelValues(cause).Inc() }

// JobStarted counts a command that began this long after it was asked for.
func (m *Metrics) JobStarted(took time.Duration) { m.start.Observe(took.Seconds()) }

// JobEnded counts a command that ran for this long.
func (m *Metrics) JobEnded(state, cause string, took time.Duration) {
	m.ended.WithLabelValues(state, cause).Inc()
	m.duration.Observe(max(took, 0).Seconds()) // a clock that was set back makes no time negative
}
