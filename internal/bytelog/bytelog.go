// Package bytelog is an append-only log of bytes with 64-bit offsets, of which a moving window is
// kept in memory: what lies between an execution's output (or input) and whoever still has to
// acknowledge it.
//
// It owns the segments and their reuse. It does not lock, block or know what the bytes are: its user
// guards it with a mutex, and may fill Tail's and read View's slices outside of that mutex under the
// rules stated there. It imports the standard library only.
package bytelog

import "sync"

// Segment sizes. A log begins with a small segment, since most commands print little, and goes on
// with large ones once it was filled in one read.
const (
	smallSegment = 16 << 10
	LargeSegment = 256 << 10
	// bulk is the size of an append that tells a stream from a trickle.
	bulk = 4 << 10
)

// pools hold unused segments of the two sizes; they are the package's only shared state.
var (
	smallPool = sync.Pool{New: func() any { return newSegment(smallSegment) }} //nolint:gochecknoglobals // a pool is shared by nature
	largePool = sync.Pool{New: func() any { return newSegment(LargeSegment) }} //nolint:gochecknoglobals // as above
)

type segment struct {
	buf   []byte
	start uint64 // offset of buf[0]
	n     int    // bytes filled
}

func newSegment(size int) *segment { return &segment{buf: make([]byte, size)} }

func (s *segment) end() uint64 { return s.start + uint64(s.n) }

func (s *segment) free() {
	s.n = 0
	if len(s.buf) == smallSegment {
		smallPool.Put(s)
	} else {
		largePool.Put(s)
	}
}

// Log holds the bytes from Base to Head. The zero value is empty and begins at offset 0.
type Log struct {
	segments   []*segment
	base, head uint64
	large      bool // the last segment was filled at once: more is coming
}

// Base is the offset of the first byte that is kept, Head that of the next to be appended.
func (l *Log) Base() uint64 { return l.base }

// Head is the offset of the next byte to be appended.
func (l *Log) Head() uint64 { return l.head }

// Len is the number of bytes kept.
func (l *Log) Len() int { return int(l.head - l.base) }

// Tail returns free space of at least one byte behind Head. The one producer may fill it without the
// lock; Commit makes it part of the log. It is valid until Park, Commit or Discard.
func (l *Log) Tail() []byte {
	if n := len(l.segments); n > 0 {
		if s := l.segments[n-1]; s.n < len(s.buf) {
			return s.buf[s.n:]
		}
	}
	var s *segment
	if l.large {
		s = largePool.Get().(*segment)
	} else {
		s = smallPool.Get().(*segment)
	}
	s.start, s.n = l.head, 0
	l.segments = append(l.segments, s)
	return s.buf
}

// Commit appends the first n bytes of Tail.
func (l *Log) Commit(n int) {
	s := l.segments[len(l.segments)-1]
	s.n += n
	l.head += uint64(n)
	l.large = n >= bulk && s.n == len(s.buf)
}

// Park gives unused memory back while the producer waits for input. Tail must be called anew.
func (l *Log) Park() {
	if n := len(l.segments); n > 0 && l.segments[n-1].start >= l.base && l.segments[n-1].n == 0 {
		l.segments[n-1].free()
		l.segments = l.segments[:n-1]
	}
	if l.base == l.head {
		l.Discard()
	}
}

// View returns up to limit bytes at offset, which lies between Base and Head, as far as they lie
// together. The reader may use them without the lock until it releases them.
func (l *Log) View(offset uint64, limit int) []byte {
	for _, s := range l.segments {
		if offset < s.end() {
			b := s.buf[offset-s.start : s.n]
			return b[:min(len(b), limit)]
		}
	}
	return nil
}

// Release forgets the bytes before offset. The segment that the producer may be filling stays.
func (l *Log) Release(offset uint64) {
	l.base = max(l.base, min(offset, l.head))
	for len(l.segments) > 1 && l.segments[0].end() <= l.base {
		l.segments[0].free()
		l.segments[0] = nil
		l.segments = l.segments[1:]
	}
	if len(l.segments) == 1 && l.segments[0].n == len(l.segments[0].buf) && l.base == l.head {
		l.Discard()
	}
}

// Discard forgets everything; the log goes on at Head. The producer must not be filling Tail.
func (l *Log) Discard() {
	for _, s := range l.segments {
		s.free()
	}
	l.segments = nil
	l.base = l.head
}
