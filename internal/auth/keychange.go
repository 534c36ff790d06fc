package auth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ChangeKey lets change alter the key with this ID in a key file and returns it as it is then. Comments and
// other lines stay as they are. A file with a bad line is refused, and so is a change that would make one.
func ChangeKey(path, id string, change func(*Key) error) (Key, error) {
	var k Key
	err := editStore(path, func(text []byte) ([]byte, error) {
		keys, err := parseKeys(path, text)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(keys, func(k Key) bool { return k.ID == id })
		if at < 0 {
			return nil, ErrUnknownKey
		}
		k = keys[at]
		if err := change(&k); err != nil {
			return nil, err
		}
		return withKey(path, text, &k)
	})
	if err != nil {
		return Key{}, fmt.Errorf("changing key %s: %w", id, err)
	}
	return k, nil
}

// withKey puts a key in the place of the line that it was read from.
func withKey(path string, text []byte, k *Key) ([]byte, error) {
	line, err := formatKey(*k)
	if err == nil {
		_, err = parseKey(line) // the error of checkStore would name a line that nobody will see
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	n := 0
	for old := range bytes.Lines(text) {
		if n++; n == k.Line {
			old = append(line, '\n')
		}
		b.Write(old)
	}
	return b.Bytes(), checkStore(path, b.Bytes())
}

// Rotation says how to rotate a key.
type Rotation struct {
	Now  time.Time
	Keep time.Duration // how long the present secret stays good; zero: it goes at once
	// Address is asked for the address to put into the new token, given the one that is known, or an empty
	// string.
	Address func(known string) (string, error)
}

// RotateKey gives the key with this ID a new secret. The present one stays good for a time; one that is still
// good from an earlier rotation goes in any case.
func RotateKey(path, id string, r Rotation) (Key, error) {
	if r.Keep < 0 {
		return Key{}, errors.New("an old secret cannot be kept for less than no time")
	}
	fresh, err := NewSecret()
	if err != nil {
		return Key{}, err
	}
	return ChangeKey(path, id, func(k *Key) (err error) {
		now := r.Now.UTC().Truncate(time.Second)
		k.Old = nil
		if r.Keep > 0 {
			k.Old = &OldSecret{Secret: k.Secret, Until: now.Add(r.Keep)}
		}
		k.Secret, k.Rotated = fresh, now
		if r.Address != nil {
			k.Address, err = r.Address(k.Address)
		}
		return err
	})
}
