package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
)

const pinLimit = 1 << 10

// Pin returns what SetPin stored for a server. ok is false if there is nothing, and also if the file
// is not for us alone to write: a command may be sent early to whoever holds the pinned key, and a
// missing pin costs no more than a round trip.
func (c *ClientStore) Pin(id ServerID) (sum [32]byte, ok bool) {
	if checkDir(c.dir) != nil || checkDir(filepath.Join(c.dir, pinsName)) != nil {
		return sum, false
	}
	text, _, err := readSecret(c.pinPath(id), pinLimit)
	if err != nil {
		return sum, false
	}
	b, err := hex.DecodeString(strings.TrimSuffix(string(text), "\n"))
	if err != nil || len(b) != sha256.Size {
		return sum, false
	}
	return [32]byte(b), true
}

// SetPin stores the SHA-256 of the public key in a server's certificate, to be called only after that
// server's proof held on the same connection. It writes only what changed.
func (c *ClientStore) SetPin(id ServerID, sum [32]byte) error {
	if have, ok := c.Pin(id); ok && have == sum {
		return nil
	}
	for _, dir := range []string{c.dir, filepath.Join(c.dir, pinsName)} {
		if err := makeDir(dir); err != nil {
			return fmt.Errorf("storing a pin: %w", err)
		}
	}
	if err := replaceFile(c.pinPath(id), []byte(hex.EncodeToString(sum[:])+"\n")); err != nil {
		return fmt.Errorf("storing a pin: %w", err)
	}
	return nil
}

const pinsName = "pins"

func (c *ClientStore) pinPath(id ServerID) string { return filepath.Join(c.dir, pinsName, id.String()) }
