package bytelog

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// modelled is a log beside all the bytes that were ever appended to it, with at most one view in a
// reader's hands: the way an attachment uses it.
type modelled struct {
	log   Log
	all   []byte
	seed  byte
	tail  []byte // in the producer's hands, filled but not committed
	view  []byte // in the reader's hands
	from  uint64 // offset of view
	next  uint64 // where the reader goes on
	acked uint64
}

// pattern is what byte number i of a log is; two logs differ everywhere.
func pattern(seed byte, i uint64) byte { return seed ^ byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17 }

func (m *modelled) step(t *testing.T, r *rand.Rand) {
	t.Helper()
	switch r.IntN(10) {
	case 0, 1, 2:
		m.fill(r)
	case 3, 4:
		m.commit(r)
	case 5:
		if m.tail == nil {
			m.log.Park()
		}
	case 6:
		m.read(r)
	case 7:
		m.check(t)
		m.view = nil
	default:
		// A reader releases what it was done with, and what it claims beyond that is held back.
		limit := m.next
		if m.view != nil {
			limit = m.from
		}
		if limit > m.acked {
			m.acked += r.Uint64N(limit - m.acked + 1)
		}
		m.log.Release(m.acked)
	}
	m.check(t)
}

func (m *modelled) fill(r *rand.Rand) {
	if m.tail != nil {
		return
	}
	b := m.log.Tail()
	n := 1 + r.IntN(len(b))
	if r.IntN(3) == 0 {
		n = min(n, 1+r.IntN(100))
	}
	if r.IntN(3) == 0 {
		n = len(b)
	}
	m.tail = b[:n]
	for i := range m.tail {
		m.tail[i] = pattern(m.seed, m.log.Head()+uint64(i))
	}
}

func (m *modelled) commit(r *rand.Rand) {
	if m.tail == nil {
		return
	}
	n := len(m.tail)
	if r.IntN(4) == 0 {
		n = r.IntN(n + 1)
	}
	m.all = append(m.all, m.tail[:n]...)
	m.log.Commit(n)
	m.tail = nil
}

func (m *modelled) read(r *rand.Rand) {
	if m.view != nil || m.next == m.log.Head() {
		return
	}
	m.view, m.from = m.log.View(m.next, 1+r.IntN(LargeSegment)), m.next
	m.next += uint64(len(m.view))
}

// check compares everything that somebody may look at now.
func (m *modelled) check(t *testing.T) {
	t.Helper()
	if got := m.log.Head(); got != uint64(len(m.all)) {
		t.Fatalf("head %d, want %d", got, len(m.all))
	}
	if m.log.Base() != m.acked || m.log.Len() != len(m.all)-int(m.acked) {
		t.Fatalf("base %d, %d bytes; want %d, %d", m.log.Base(), m.log.Len(), m.acked, len(m.all)-int(m.acked))
	}
	if m.view != nil && !bytes.Equal(m.view, m.all[m.from:m.from+uint64(len(m.view))]) {
		t.Fatalf("%d bytes at %d changed in the reader's hands", len(m.view), m.from)
	}
	for i := range m.tail {
		if m.tail[i] != pattern(m.seed, m.log.Head()+uint64(i)) {
			t.Fatalf("byte %d of the tail changed in the producer's hands", i)
		}
	}
}

// whole reads the kept bytes from the front.
func (m *modelled) whole(t *testing.T) {
	t.Helper()
	at := m.log.Base()
	for at < m.log.Head() {
		b := m.log.View(at, LargeSegment)
		if len(b) == 0 || !bytes.Equal(b, m.all[at:at+uint64(len(b))]) {
			t.Fatalf("%d wrong bytes at %d of %d to %d", len(b), at, m.log.Base(), m.log.Head())
		}
		at += uint64(len(b))
	}
	if b := m.log.View(at, 1); len(b) != 0 {
		t.Fatalf("%d bytes behind the head", len(b))
	}
}

// TestAgainstModel interleaves several logs over the shared pools: a segment that is given back while
// it is in use, or twice, shows up as another log's bytes.
func TestAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	logs := make([]*modelled, 4)
	for i := range logs {
		logs[i] = &modelled{seed: byte(37 * (i + 1))}
	}
	for i := range 1500 {
		m := logs[r.IntN(len(logs))]
		m.step(t, r)
		if i%50 == 0 {
			m.whole(t)
		}
		if len(m.all) > 3<<20 { // begin anew, as jobs do
			if m.tail != nil {
				m.commit(r)
			}
			m.log.Discard()
			*m = modelled{seed: m.seed + 1}
		}
	}
}

func TestDiscardGoesOnAtHead(t *testing.T) {
	var l Log
	copy(l.Tail(), "abc")
	l.Commit(3)
	l.Discard()
	if l.Base() != 3 || l.Head() != 3 || l.Len() != 0 {
		t.Fatalf("base %d, head %d, %d bytes; want 3, 3, 0", l.Base(), l.Head(), l.Len())
	}
	copy(l.Tail(), "d")
	l.Commit(1)
	if got := l.View(3, 10); string(got) != "d" {
		t.Fatalf("%q, want d", got)
	}
}

func TestReleaseBounds(t *testing.T) {
	var l Log
	copy(l.Tail(), "abcdef")
	l.Commit(6)
	l.Release(4)
	l.Release(2) // never back
	if l.Base() != 4 {
		t.Fatalf("base %d after releasing 4 and then 2", l.Base())
	}
	l.Release(1 << 60) // never beyond the head
	if l.Base() != 6 || l.Len() != 0 {
		t.Fatalf("base %d, %d bytes; want 6, 0", l.Base(), l.Len())
	}
}

// TestParkedHoldsNothing is what keeps ten thousand idle commands small.
func TestParkedHoldsNothing(t *testing.T) {
	var l Log
	for range 3 {
		b := l.Tail()
		l.Commit(len(b))
	}
	l.Tail()
	l.Release(l.Head())
	l.Park()
	if len(l.segments) != 0 {
		t.Fatalf("%d segments are held by a log without bytes", len(l.segments))
	}
}

// TestConcurrentUse fills and reads outside of the lock, as the doc comments allow, for the race
// detector to watch.
func TestConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { streamThrough(t, byte(i+1)) })
	}
	wg.Wait()
}

func streamThrough(t *testing.T, seed byte) {
	const total, window = 4 << 20, 600 << 10
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	var l Log
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		for at := uint64(0); at < total; {
			mu.Lock()
			for l.Len() >= window {
				changed.Wait()
			}
			b := l.Tail()
			room := window - l.Len()
			mu.Unlock()
			n := min(1+r.IntN(len(b)), room, total-int(at))
			for i := range b[:n] {
				b[i] = pattern(seed, at+uint64(i))
			}
			at += uint64(n)
			mu.Lock()
			l.Commit(n)
			if r.IntN(4) == 0 {
				l.Park()
			}
			changed.Broadcast()
			mu.Unlock()
		}
	})
	right := true
	for at := uint64(0); at < total; {
		mu.Lock()
		for l.Head() == at {
			changed.Wait()
		}
		b := l.View(at, LargeSegment)
		mu.Unlock()
		for i := range b {
			if right && b[i] != pattern(seed, at+uint64(i)) {
				t.Errorf("log %d: wrong byte at %d", seed, at+uint64(i))
				right = false
			}
		}
		at += uint64(len(b))
		mu.Lock()
		l.Release(at)
		changed.Broadcast()
		mu.Unlock()
	}
	wg.Wait()
}
