package classic

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// A sealed datagram is a MAC, then what it covers: the time in milliseconds since 1970, and the command.
const (
	macLen   = sha256.Size
	stampLen = 8
	// maxSkew is how old a datagram may be, and how far in the future.
	maxSkew = 30 * time.Second
	// maxSeen bounds the datagrams that are remembered, which only holders of the secret can make: a
	// thousand a second for a minute. Beyond it nothing is taken, for it could be a second time.
	maxSeen = 1 << 16
)

// gate lets sealed datagrams through, each once.
type gate struct {
	secret   []byte
	earlier  time.Time // an earlier run may have taken what was made up to then
	remember func(time.Time) error

	mu     sync.Mutex
	seen   map[[macLen]byte]time.Time // until when the datagram would be accepted
	newest time.Time                  // of those
	swept  time.Time
}

// newGate makes no more of what an earlier run left than it could have taken by now: it may have had a
// clock that was wrong.
func newGate(o Options, now time.Time) *gate {
	g := &gate{secret: o.Secret, remember: o.Remember, seen: map[[macLen]byte]time.Time{}, earlier: o.Newest}
	if latest := now.Add(maxSkew); g.earlier.After(latest) {
		g.earlier = latest
	}
	return g
}

// sealed is a datagram whose MAC and time are right.
type sealed struct {
	mac     [macLen]byte
	made    time.Time
	command []byte
}

// open checks a datagram, or says why it is to be dropped.
func (g *gate) open(b []byte, now time.Time) (d sealed, reason string) {
	if len(b) <= macLen+stampLen {
		return d, "too short to be authenticated"
	}
	mac := hmac.New(sha256.New, g.secret)
	_, _ = mac.Write(b[macLen:]) // never fails (hash.Hash)
	if !hmac.Equal(b[:macLen], mac.Sum(nil)) {
		return d, "wrong MAC"
	}
	stamp := binary.BigEndian.Uint64(b[macLen:])
	// Compared as numbers: most of the values that fit into 64 bits are not times.
	if ms := uint64(now.UnixMilli()); stamp > ms+uint64(maxSkew.Milliseconds()) {
		return d, "from the future"
	} else if ms > stamp+uint64(maxSkew.Milliseconds()) {
		return d, "too old"
	}
	d = sealed{mac: [macLen]byte(b), made: time.UnixMilli(int64(stamp)), command: b[macLen+stampLen:]}
	if !d.made.After(g.earlier) {
		return d, "not newer than what the daemon took before it was started again"
	}
	return d, ""
}

// first reports whether a datagram is here for the first time, and remembers it.
func (g *gate) first(d *sealed, now time.Time) (ok bool, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.seen[d.mac]; ok {
		return false, "seen before"
	}
	if len(g.seen) >= maxSeen || now.Sub(g.swept) > maxSkew {
		g.sweep(now)
	}
	if len(g.seen) >= maxSeen {
		return false, "too many datagrams to remember"
	}
	if d.made.After(g.newest) {
		if g.remember(d.made) != nil {
			return false, "cannot be remembered beyond the end of the daemon"
		}
		g.newest = d.made
	}
	g.seen[d.mac] = d.made.Add(maxSkew)
	return true, ""
}

// sweep forgets what would be too old now. A second must lie between two looks at all of it.
func (g *gate) sweep(now time.Time) {
	if now.Sub(g.swept) < time.Second {
		return
	}
	g.swept = now
	for mac, until := range g.seen {
		if until.Before(now) {
			delete(g.seen, mac)
		}
	}
}
