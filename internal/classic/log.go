package classic

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// reportEvery is how often it is said how much was left out of the log.
	reportEvery = 10 * time.Second
	// inFull is how many events of a kind are logged one by one between two reports.
	inFull = 5
)

// tally keeps strangers from filling the log: it counts what they do by kinds, of which there are few.
type tally struct {
	log    *zap.Logger
	mu     sync.Mutex
	counts map[string]int // since the last report
}

// add counts an event, and reports whether it is to be logged by itself.
func (t *tally) add(kind string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[kind]++
	return t.counts[kind] <= inFull
}

// report says how many there were that were not logged.
func (t *tally) report() {
	t.mu.Lock()
	counts := t.counts
	t.counts = map[string]int{}
	t.mu.Unlock()
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		if more := counts[kind] - inFull; more > 0 {
			t.log.Warn("more of the same from classic clients", zap.String("kind", kind), zap.Int("count", more))
		}
	}
}

// clean makes a text that others had a part in safe for a log that people read in terminals.
func clean(text string) string {
	q := strconv.QuoteToASCII(text)
	return q[1 : len(q)-1]
}

// guard keeps a programmer's mistake in one conversation from ending all others.
func (s *Server) guard() {
	if p := recover(); p != nil {
		s.log.Error("internal error: panic in a classic conversation", zap.Any("panic", p), zap.Stack("stack"))
	}
}

// retry waits before a listener is asked again after an error, and reports whether it makes sense to.
type retry struct{ wait time.Duration }

func (r *retry) after(ctx context.Context, log *zap.Logger, err error) bool {
	if !passing(err) {
		return false
	}
	r.wait = min(max(2*r.wait, 5*time.Millisecond), time.Second)
	log.Warn("taking classic clients", zap.Error(err), zap.Duration("retry", r.wait))
	t := time.NewTimer(r.wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return true
}

// passing reports whether an error of accept(2) or recvfrom(2) ends by itself: the limits on files and
// memory, a peer that left before it was accepted, or word of a peer that an earlier answer did not reach.
func passing(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNREFUSED,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
