package auth

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Use is when a secret was last used, and from where. The zero value is: never, as far as is known.
type Use struct {
	At   time.Time  `json:"at"`
	From netip.Addr `json:"from"`
}

// Uses remembers the last use of every secret in a file of its own, for the administrator: nothing is decided by
// it, so that its loss harms nobody. It may be used by many goroutines at once, and none of them ever waits for
// the disk.
type Uses struct {
	path string

	mu    sync.Mutex
	last  map[string]Use // by useName
	dirty bool
}

// OpenUses reads a file of uses. With an error, which is for the log, none are known.
func OpenUses(path string) (*Uses, error) {
	u := &Uses{path: path, last: map[string]Use{}}
	text, _, err := readSecret(path, 2*storeLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return u, fmt.Errorf("reading when keys were last used: %w", err)
	}
	read := map[string]Use{}
	if json.Unmarshal(text, &read) != nil || read == nil { // whose error would quote the file
		return u, &FileError{Path: path, Msg: "does not say when keys were last used", Fix: "remove it"}
	}
	u.last = read
	return u, nil
}

// useName stands for a secret in the file: a later secret of the same key has another one.
func useName(s Secret) string {
	b, err := hkdf.Expand(sha256.New, s.bytes(), "rexec/1 last use", 16)
	if err != nil {
		panic("internal error: " + err.Error()) // only for a length that SHA-256 does not give
	}
	return hex.EncodeToString(b)
}

func (u *Uses) record(s Secret, at time.Time, from netip.Addr) {
	name := useName(s)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[name] = Use{at.UTC().Truncate(time.Second), from.Unmap()}
	u.dirty = true
}

// Last returns the last use of a secret.
func (u *Uses) Last(s Secret) Use {
	name := useName(s)
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[name]
}

// Save writes what has changed, and forgets what is not about a secret in the store.
func (u *Uses) Save(s *Store) error {
	last := u.changed()
	if last == nil {
		return nil
	}
	present := map[string]Use{}
	for _, k := range s.Keys() {
		for _, secret := range k.secrets() {
			name := useName(secret)
			if use, ok := last[name]; ok {
				present[name] = use
				delete(last, name)
			}
		}
	}
	text, err := json.MarshalIndent(present, "", " ")
	if err == nil {
		err = replaceFile(u.path, text)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for name := range last {
		delete(u.last, name)
	}
	if err != nil {
		u.dirty = true
		return fmt.Errorf("writing when keys were last used: %w", err)
	}
	return nil
}

// changed returns a copy of what is known, nil if it is written already. The lock is held for no longer than that
// takes, since every login needs it.
func (u *Uses) changed() map[string]Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty {
		return nil
	}
	u.dirty = false
	return maps.Clone(u.last)
}

// Keep saves at most once in this time until ctx ends, and then a last time. It tells problem of an error once.
func (u *Uses) Keep(ctx context.Context, every time.Duration, s *Store, problem func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := ""
	save := func() {
		err := u.Save(s)
		if err != nil && err.Error() != told {
			told = err.Error()
			problem(err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			save()
			return
		case <-tick.C:
			save()
		}
	}
}

// secrets are those that the holder of a key may have.
func (k *Key) secrets() []Secret {
	if k.Old == nil {
		return []Secret{k.Secret}
	}
	return []Secret{k.Secret, k.Old.Secret}
}
