package lineedit

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"time"
)

// Keyboard reads a terminal ahead of who wants the keys, so that none is lost between an editor and the programs that
// run in turn with it: whoever is next begins with what the one before did not take. Its Read from the terminal ends
// with the process.
type Keyboard struct {
	mu      sync.Mutex
	waiting []byte        // read and not taken
	err     error         // why no more come
	inKey   bool          // what waits is the begin of one key, as of a paste
	changed chan struct{} // closed and made anew at every change
}

// maxAhead is how far a Keyboard reads ahead, in bytes: more than anybody types.
const maxAhead = 4 << 20

// NewKeyboard begins to read.
func NewKeyboard(r io.Reader) *Keyboard {
	k := &Keyboard{changed: make(chan struct{})}
	go k.read(r)
	return k
}

func (k *Keyboard) read(r io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		k.mu.Lock()
		k.waiting = append(k.waiting, buf[:n]...)
		k.err = err
		k.change()
		for len(k.waiting) > maxAhead && !k.inKey {
			changed := k.changed
			k.mu.Unlock()
			<-changed
			k.mu.Lock()
		}
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// change wakes who waits. It is called with the lock held.
func (k *Keyboard) change() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// Unread puts bytes back in front of those that wait.
func (k *Keyboard) Unread(b []byte) {
	if len(b) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = slices.Concat(b, k.waiting)
	k.change()
}

// look calls see with what waits, under the lock, and returns what is closed when there is more. Its error says that
// there will never be anything.
func (k *Keyboard) look(see func(waiting []byte)) (changed <-chan struct{}, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	see(k.waiting)
	if len(k.waiting) == 0 {
		err = k.err
	}
	return k.changed, err
}

// take removes bytes that were looked at.
func (k *Keyboard) take(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = k.waiting[n:]
	k.change()
}

// Wait returns nil once a key waits to be taken, or none will ever come, and else ctx's error.
func (k *Keyboard) Wait(ctx context.Context) error {
	return k.await(ctx, func(waiting []byte) bool { return len(waiting) > 0 })
}

// AwaitAny waits until one of some control characters is among what waits, as that of an interrupt while nobody reads,
// and returns it; everything that waits is dropped then, as a terminal does (termios(3), NOFLSH).
func (k *Keyboard) AwaitAny(ctx context.Context, chars string) (byte, error) {
	var found byte
	err := k.await(ctx, func(waiting []byte) bool {
		i := bytes.IndexAny(waiting, chars)
		if i >= 0 {
			found = waiting[i]
		}
		return i >= 0
	})
	if err == nil && found == 0 {
		err = io.EOF
	}
	if err == nil {
		k.discard()
	}
	return found, err
}

func (k *Keyboard) await(ctx context.Context, enough func([]byte) bool) error {
	for {
		found := false
		changed, err := k.look(func(waiting []byte) { found = enough(waiting) })
		if found || err != nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *Keyboard) discard() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waiting = nil
	k.change()
}

// escapeTime is how long the rest of a sequence may take behind its first byte, which alone is the key Esc.
const escapeTime = 50 * time.Millisecond

// pasteTime is how long a paste may pause before its end: what came too late would be taken for typed, and run. Ctrl-C
// gives it up.
const pasteTime = time.Hour

// key waits for a key.
func (k *Keyboard) key(ctx context.Context, decode Decode) (key, error) {
	for {
		var pressed key
		var n int
		var more time.Duration
		changed, err := k.look(func(waiting []byte) {
			pressed, n, more = cut(waiting, decode)
			if before := k.inKey; before != (more > 0) {
				k.inKey = !before
				k.change() // the reading may go on
			}
		})
		if err != nil {
			return key{}, err
		}
		if n > 0 && more == 0 {
			k.take(n)
			return pressed, nil
		}
		var late <-chan time.Time
		if more > 0 {
			late = time.After(more)
		}
		select {
		case <-changed:
		case <-late:
			k.take(n)
			return pressed, nil
		case <-ctx.Done():
			return key{}, ctx.Err()
		}
	}
}

// Loan hands keys to a program that runs, until it is ended. It is an [io.Reader].
type Loan struct {
	k     *Keyboard
	mu    sync.Mutex // held while bytes are handed out
	ended chan struct{}
	once  sync.Once
}

// Lend begins to hand keys to a program.
func (k *Keyboard) Lend() *Loan { return &Loan{k: k, ended: make(chan struct{})} }

// Read implements [io.Reader]. After End it takes nothing, and returns [io.EOF].
func (l *Loan) Read(b []byte) (int, error) {
	for {
		n, changed, err := l.hand(b)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-l.ended:
			return 0, io.EOF
		}
	}
}

func (l *Loan) hand(b []byte) (n int, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ended:
		return 0, nil, io.EOF
	default:
	}
	changed, err = l.k.look(func(waiting []byte) { n = copy(b, waiting) })
	if n > 0 {
		l.k.take(n)
	}
	return n, changed, err
}

// End ends the loan: once it has returned, no Read takes another byte.
func (l *Loan) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once.Do(func() { close(l.ended) })
}
