package server_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/server"
)

// recorder keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	attempts []server.Attempt
	notRun   []proto.Cause
}

func (r *recorder) Attempt(a server.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (a.Took > 0) != (a.Outcome == "accepted") {
		a.Reason = "measured wrongly"
	}
	a.Took = 0
	r.attempts = append(r.attempts, a)
}

func (r *recorder) NotRun(x *proto.Exit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notRun = append(r.notRun, x.Cause)
}

// want waits for the attempts, and forgets them.
func (r *recorder) want(t *testing.T, want ...server.Attempt) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		same := slices.Equal(r.attempts, want)
		if same || time.Now().After(deadline) {
			if !same {
				t.Errorf("told %+v, want %+v", r.attempts, want)
			}
			r.attempts = nil
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
	}
}

func TestObserver(t *testing.T) {
	r := new(recorder)
	d := newDaemon(t, job.Options{}, server.Options{MaxConnections: 2, MaxUnauthenticated: 1, Observer: r})
	accepted := server.Attempt{Transport: "tcp", Outcome: "accepted"}
	c := d.proven()
	r.want(t, accepted)

	silent := d.connect()
	d.connect() // a third one
	r.want(t, server.Attempt{Transport: "tcp", Outcome: "dropped", Reason: "max_connections"})
	silent.conn.Close()
	r.want(t, server.Attempt{Transport: "tcp", Outcome: "closed"})

	request := request(1)
	request.Timeout, request.Shell = 0, nil // says nothing of what to run
	c.send(request)
	c.await(proto.TypeExit)
	r.mu.Lock()
	if !slices.Equal(r.notRun, []proto.Cause{proto.CauseInvalid}) {
		t.Errorf("not run: %v", r.notRun)
	}
	r.mu.Unlock()

	sessions := d.server.Sessions()
	if len(sessions) != 1 || sessions[0].KeyID != "test" || sessions[0].Transport != "tcp" ||
		sessions[0].Peer != "127.0.0.1:1" || time.Since(sessions[0].Since).Abs() > time.Minute {
		t.Errorf("%+v", sessions)
	}
	// The observer is told of an attempt before it gives up its place.
	want := server.Counts{Sessions: server.PerTransport{TCP: 1}, Accepted: server.PerTransport{TCP: 3}}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := d.server.Counts()
		got.Reviews = 0
		if got == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	if n, closing := d.server.Serving(); n != 1 || closing {
		t.Errorf("%d listeners are served, closing: %v", n, closing)
	}
	d.shutdown(patience)
	if n, closing := d.server.Serving(); n != 0 || !closing {
		t.Errorf("after the end %d listeners are served, closing: %v", n, closing)
	}
}

// TestObserverOfRefusals: what a stranger has wrong tells the observer no more than it tells the stranger.
func TestObserverOfRefusals(t *testing.T) {
	r := new(recorder)
	d := newDaemon(t, job.Options{}, server.Options{MaxUnauthenticated: 1, Observer: r})
	other, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []auth.ClientKey{
		{Server: d.key.Server, KeyID: "nobody", Secret: other}, {Server: d.key.Server, KeyID: d.key.KeyID, Secret: other},
	} {
		c := d.connect()
		proof, err := auth.NewProof(key, proto.TransportTCP, binding, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.send(proof.Message())
		c.await(proto.TypeRefused)
		c.conn.Close()
		r.want(t, server.Attempt{Transport: "tcp", Outcome: "refused", Reason: "proof"})
	}
	c := d.connect()
	c.send(&proto.Ping{})
	c.await(proto.TypeRefused)
	c.conn.Close()
	r.want(t, server.Attempt{Transport: "tcp", Outcome: "refused", Reason: "malformed"})

	d.connect()
	d.connect() // takes its place
	r.want(t, server.Attempt{Transport: "tcp", Outcome: "dropped", Reason: "max_unauthenticated"})
}
