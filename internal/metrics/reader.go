package metrics

import "github.com/prometheus/client_golang/prometheus"

// reader collects what a Snapshot holds.
type reader struct {
	snapshot func() Snapshot

	connections, accepted, running, bytes *prometheus.Desc
	keys, keyFile, reviews, revoked       *prometheus.Desc
	draining, reloadOK, reloaded          *prometheus.Desc
}

func newReader(snapshot func() Snapshot) *reader {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &reader{
		snapshot: snapshot,
		connections: desc("connections", "Open connections; over QUIC each stream is one. unproven: without a proof "+
			"as yet.", "transport", "state"),
		accepted: desc("connections_accepted_total", "Connections that the listeners took, those of the self-check among them.", "transport"),
		running:  desc("jobs_running", "Commands that run or are about to."),
		bytes: desc("stream_bytes_total", "Bytes of commands' streams that went through the daemon, as the commands "+
			"read and wrote them.", "stream"),
		keys:     desc("keys", "Keys in force."),
		keyFile:  desc("key_file_valid", "1 if the key file can be used; if it is 0 the keys read before are in force."),
		reviews:  desc("key_reviews_total", "Looks at whether the keys of all sessions and commands are still valid."),
		revoked:  desc("sessions_revoked_total", "Sessions that were ended since their keys were not valid any more."),
		draining: desc("draining", "1 while the daemon is stopping."),
		reloadOK: desc("config_last_reload_successful", "1 if the configuration and the keys were in order when they "+
			"were read last."),
		reloaded: desc("config_last_reload_success_timestamp_seconds", "Unix time of the last time that they were."),
	}
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{r.connections, r.accepted, r.running, r.bytes, r.keys, r.keyFile, r.reviews,
		r.revoked, r.draining, r.reloadOK, r.reloaded} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	s := r.snapshot()
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { send(d, prometheus.GaugeValue, v, labels...) }
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		send(d, prometheus.CounterValue, float64(v), labels...)
	}
	for transport, n := range s.Unproven {
		gauge(r.connections, float64(n), transport, "unproven")
	}
	for transport, n := range s.Sessions {
		gauge(r.connections, float64(n), transport, "session")
	}
	for transport, n := range s.Accepted {
		count(r.accepted, n, transport)
	}
	gauge(r.running, float64(s.Running))
	count(r.bytes, s.Stdin, "stdin")
	count(r.bytes, s.Stdout, "stdout")
	count(r.bytes, s.Stderr, "stderr")
	gauge(r.keys, float64(s.Keys))
	gauge(r.keyFile, truth(s.KeyFileValid))
	count(r.reviews, s.Reviews)
	count(r.revoked, s.Revoked)
	gauge(r.draining, truth(s.Draining))
	gauge(r.reloadOK, truth(s.ReloadOK))
	gauge(r.reloaded, float64(s.Reloaded.UnixNano())/1e9)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
