package auth

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// storeLimit is the largest key file in bytes, some thousand keys.
const storeLimit = 1 << 20

// Store holds the keys of a server's key file in memory. It may be used by many goroutines at once.
type Store struct {
	path string
	keys atomic.Pointer[keySet]

	mu   sync.Mutex // one Refresh at a time
	seen version
	bad  error // why the file as it was seen last cannot be used
}

// entry is one key with what every proof needs of it.
type entry struct {
	key   Key
	proof *proofKeys
	old   *proofKeys // of the key's old secret; nil without one
}

type keySet map[string]*entry

// version is what Refresh knows of the file that it last looked at, good or bad.
type version struct {
	missing bool
	id      fileID
	content [sha256.Size]byte
	problem string // of stat or open; problems of the content come with the content
	// fresh means that the file had just been written, so that another write could leave the same
	// times behind.
	fresh bool
}

// OpenStore reads a key file. A missing file holds no keys; a bad one is an error that names the line
// and the fix.
func OpenStore(path string) (*Store, error) {
	s := &Store{path: path}
	s.keys.Store(&keySet{})
	if _, err := s.Refresh(); err != nil {
		return nil, err
	}
	return s, nil
}

// Refresh reads the file again if it changed since the last time, which costs one stat otherwise, and
// reports whether there are new keys to go by. If the new file is bad, the old keys stay and the error
// is returned once. A file that was removed holds no keys.
func (s *Store) Refresh() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What kept the file from being read may go away without a trace in the file.
	if !s.seen.fresh && s.seen.problem == "" && s.seen == s.look() {
		return false, nil
	}
	keys, now, err := s.load()
	before := s.seen
	s.seen, s.bad = now, err
	if now.content == before.content && now.problem == before.problem && now.missing == before.missing {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.keys.Store(keys)
	return true, nil
}

// Problem is why the key file, as Refresh saw it last, cannot be used; nil if it can.
func (s *Store) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad
}

// look is a version by stat alone: it takes the content for that of the last look.
func (s *Store) look() version {
	info, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return version{missing: true}
	case err != nil:
		return version{problem: err.Error()}
	}
	return version{id: identify(info), content: s.seen.content}
}

func (s *Store) load() (*keySet, version, error) {
	began := time.Now()
	text, info, err := readSecret(s.path, storeLimit)
	if err == nil {
		err = checkDir(filepath.Dir(s.path))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &keySet{}, version{missing: true}, nil
	}
	var now version
	if info == nil {
		info, _ = os.Lstat(s.path) // of a link, which was not opened
	}
	if info != nil {
		now.id = identify(info)
		now.fresh = began.Sub(info.ModTime()) < freshFor
	}
	if err != nil {
		now.problem = err.Error()
		return nil, now, err
	}
	now.content = sha256.Sum256(text)
	keys, err := parseKeys(s.path, text)
	if err != nil {
		return nil, now, err
	}
	set, err := newKeySet(keys)
	return set, now, err
}

// freshFor exceeds the coarsest clock of file times in use, FAT's 2 s.
const freshFor = 2500 * time.Millisecond

func newKeySet(keys []Key) (*keySet, error) {
	set := make(keySet, len(keys))
	for _, k := range keys {
		e := &entry{key: k}
		var err error
		if e.proof, err = deriveKeys(k.Secret); err != nil {
			return nil, err
		}
		if k.Old != nil {
			if e.old, err = deriveKeys(k.Old.Secret); err != nil {
				return nil, err
			}
		}
		set[k.ID] = e
	}
	return &set, nil
}

// Keys returns all keys, sorted by ID. What their slices point to must not be changed.
func (s *Store) Keys() []Key {
	set := *s.keys.Load()
	keys := make([]Key, 0, len(set))
	for _, e := range set {
		keys = append(keys, e.key)
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return keys
}

// Path is the key file.
func (s *Store) Path() string { return s.path }

// Where returns the place of a key of this store, as file:line.
func (s *Store) Where(k Key) string { return fmt.Sprintf("%s:%d", s.path, k.Line) }

// entry returns nil for an unknown ID.
func (s *Store) entry(id string) *entry { return (*s.keys.Load())[id] }
