package auth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watched is a server whose clock the test moves, with a key that ends an hour from the start, one that ends a year from
// then and one without an end.
type watched struct {
	*Verifier
	t     *testing.T
	path  string
	start time.Time
	now   time.Time
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := &watched{t: t, start: start, now: start}
	w.Verifier = newTestVerifier(t, ServerID{1}, func() time.Time { return w.now },
		Key{ID: "brief", Secret: newTestSecret(t), NotAfter: start.Add(time.Hour)},
		Key{ID: "long", Secret: newTestSecret(t), NotAfter: start.AddDate(1, 0, 0)},
		Key{ID: "endless", Secret: newTestSecret(t)})
	w.path = filepath.Join(filepath.Dir(w.store.path), "clock")
	w.restart()
	return w
}

// restart is what a new process knows.
func (w *watched) restart() {
	w.t.Helper()
	c, err := OpenClock(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Watch(c)
}

func (w *watched) save() {
	w.t.Helper()
	if err := w.clock.Save(w.store); err != nil {
		w.t.Fatal(err)
	}
}

// good lists the keys that may be used at a time.
func (w *watched) good(now time.Time) string {
	w.t.Helper()
	w.now = now
	var good []string
	for _, k := range w.store.Keys() {
		_, err := w.Vouch(k.ID, netip.MustParseAddr("192.0.2.1"))
		if denied := new(DeniedError); err != nil && !errors.As(err, &denied) {
			w.t.Fatal(err)
		}
		if err == nil {
			good = append(good, k.ID)
		}
	}
	return strings.Join(good, " ")
}

func (w *watched) want(now time.Time, want string) {
	w.t.Helper()
	if got := w.good(now); got != want {
		w.t.Errorf("at %s: good are %q, want %q", date(now), got, want)
	}
}

// TestClockSetBack: what has ended stays so, whatever the clock says later, also for the next process.
func TestClockSetBack(t *testing.T) {
	w := newWatched(t)
	w.want(w.start, "brief endless long")
	w.save()
	w.want(w.start.Add(2*time.Hour), "endless long")
	w.save()
	for _, earlier := range []time.Time{w.start.Add(2*time.Hour - time.Minute), w.start, w.start.AddDate(-10, 0, 0), time.Unix(0, 0)} {
		w.want(earlier, "endless long")
		w.restart()
		w.want(earlier, "endless long")
	}
	_, err := w.Vouch("brief", netip.MustParseAddr("192.0.2.1"))
	want := "key brief expired on 2026-03-01 01:00:00 UTC; make a new one with: rexecd key add " +
		"(the server's clock says 1970-01-01 00:00:00 UTC, but it has said 2026-03-01 02:00:00 UTC before, which counts)"
	if err == nil || err.Error() != want {
		t.Errorf("told  %v\nwant  %s", err, want)
	}
	// A correction of seconds is not worth a word.
	w.now = w.start.Add(2*time.Hour - time.Minute)
	if _, err := w.Vouch("brief", netip.MustParseAddr("192.0.2.1")); err == nil || strings.Contains(err.Error(), "has said") {
		t.Errorf("after a small correction: %v", err)
	}
	w.want(w.start.AddDate(10, 0, 0), "endless")
}

// TestClockOldSecret: the end of a rotation is an end as well.
func TestClockOldSecret(t *testing.T) {
	r := newRotating(t)
	c, err := OpenClock(filepath.Join(filepath.Dir(r.path), "clock"))
	if err != nil {
		t.Fatal(err)
	}
	r.Watch(c)
	before, start := r.handshake, r.clock
	r.rotate(time.Hour)
	if v, err := r.try(before); err != nil || v.Grant == nil {
		t.Fatalf("%+v, %v", v, err)
	}
	r.clock = start.Add(2 * time.Hour)
	if v, _ := r.try(before); v.Grant != nil {
		t.Error("good after its end")
	}
	r.clock = start
	v, err := r.try(before)
	if v.Grant != nil || err == nil || !strings.Contains(err.Error(), "which counts") {
		t.Errorf("the clock was set back: %+v, %v", v, err)
	}
	if !strings.HasSuffix(v.Reason, "; if the clock was wrong before: rm "+c.path) {
		t.Errorf("the operator is told %q", v.Reason)
	}
}

// TestClockFromTheFuture: a clock that was ten years ahead ends keys early, until the file is removed.
func TestClockFromTheFuture(t *testing.T) {
	w := newWatched(t)
	w.want(w.start.AddDate(10, 0, 0), "endless")
	w.save()
	w.restart()
	w.want(w.start, "endless")
	w.clock.look(w.now)
	w.want(w.start, "endless")
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.clock.look(w.now)
	w.want(w.start, "brief endless long")
	w.save()
	w.restart()
	w.want(w.start, "brief endless long")
}

// TestClockLosesItsDirectory: that is nobody's decision about the time, and the file that comes back with it counts.
func TestClockLosesItsDirectory(t *testing.T) {
	w := newWatched(t)
	w.want(w.start.Add(2*time.Hour), "endless long")
	w.save()
	dir := filepath.Dir(w.path)
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(dir, dir+".away")
	w.clock.look(w.start)
	w.want(w.start, "endless long")
	w.restart() // as a new process that finds nothing
	w.want(w.start, "brief endless long")
	move(dir+".away", dir)
	w.clock.look(w.start)
	w.want(w.start, "endless long")
}

// TestClockSavesWhatMatters: the end of a key at once, and otherwise seldom.
func TestClockSavesWhatMatters(t *testing.T) {
	w := newWatched(t)
	for _, step := range []struct {
		at    time.Duration
		saved bool
		why   string
	}{
		{0, true, "there was no file"},
		{time.Minute, false, "nothing has ended"},
		{time.Hour, true, "a key has ended"},
		{time.Hour + 30*time.Minute, false, "it had ended before"},
		{2*time.Hour + time.Second, true, "an hour has gone by"},
	} {
		before, _ := os.ReadFile(w.path)
		w.good(w.start.Add(step.at))
		w.save()
		if after, _ := os.ReadFile(w.path); (string(after) != string(before)) != step.saved {
			t.Errorf("after %s, when %s: written %v", step.at, step.why, !step.saved)
		}
	}
}

// TestClockKeep: a clock that is behind is told of once each time, and the last save comes at the end.
func TestClockKeep(t *testing.T) {
	w := newWatched(t)
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var offset atomic.Int64 // of the clock, nanoseconds
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.clock.Keep(ctx, Keeping{Now: func() time.Time { return w.start.Add(time.Since(began) + time.Duration(offset.Load())) },
				Every: 5 * time.Second, Store: w.store, Problem: func(err error) { told = append(told, err.Error()) }})
		}()
		for _, by := range []time.Duration{0, -20 * time.Minute, 0, -20 * time.Minute, 0} {
			offset.Store(int64(by))
			<-time.After(time.Minute)
			synctest.Wait()
		}
		cancel()
		<-ended
		if len(told) != 2 || !strings.Contains(told[0], "the clock was set back: it has said 2026-03-01 00:0") ||
			!strings.HasSuffix(told[0], "if that time was wrong: rm "+w.path) {
			t.Errorf("told %q", told)
		}
		c, err := OpenClock(w.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.latest.Sub(w.start); got < 5*time.Minute || got > 5*time.Minute+time.Second {
			t.Errorf("saved %s after the start", got)
		}
	})
}

func TestBadClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	for text, want := range map[string]string{
		"":                   "does not say a time (fix: remove it)",
		"# only a comment\n": "does not say a time (fix: remove it)",
		"tomorrow\n":         "does not say a time (fix: remove it)",
		"2026-03-01T00:00:00Z\n2027-03-01T00:00:00Z\n": "does not say a time (fix: remove it)",
		strings.Repeat("#", clockLimit+1):              "is larger than 4096 bytes",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenClock(path); err == nil || !strings.Contains(err.Error(), path+": "+want) {
			t.Errorf("%.30q: %v, want %s", text, err, want)
		}
	}
}
