package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Identity is who a server is: the ID that its keys are for, and the private key of its self-signed
// certificate.
type Identity struct {
	ID  ServerID
	Key ed25519.PrivateKey
}

// Format writes the server's ID for every verb, so that no log shows the private key.
func (id Identity) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("server " + id.ID.String())) }

const (
	identityName    = "identity"
	identityLimit   = 4 << 10
	identityComment = `# The identity of this server. Whoever reads it can pose as this server; whoever loses it must
# enroll every client again. Never copy it to another server.
`
)

// OpenIdentity reads the identity in a state directory. It is fs.ErrNotExist if there is none, and a
// *FileError if it is there but must not be used.
func OpenIdentity(dir string) (Identity, error) {
	if err := checkDir(dir); err != nil {
		return Identity{}, fmt.Errorf("opening the state directory: %w", err)
	}
	path := filepath.Join(dir, identityName)
	text, _, err := readSecret(path, identityLimit)
	if err != nil {
		return Identity{}, fmt.Errorf("opening the server's identity: %w", err)
	}
	return parseIdentity(path, string(text))
}

// CreateIdentity makes the identity of a new server, and the state directory if need be. If there is
// an identity, also one that another process makes at the same time, it returns that one: an identity
// is made once and never replaced.
func CreateIdentity(dir string) (Identity, error) {
	if err := makeDir(dir); err != nil {
		return Identity{}, fmt.Errorf("making the state directory: %w", err)
	}
	if id, err := OpenIdentity(dir); !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	id, err := newIdentity()
	if err != nil {
		return Identity{}, fmt.Errorf("making the server's identity: %w", err)
	}
	err = createFile(filepath.Join(dir, identityName), []byte(id.text()))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Identity{}, fmt.Errorf("making the server's identity: %w", err)
	}
	return OpenIdentity(dir)
}

func newIdentity() (Identity, error) {
	var id Identity
	if _, err := rand.Read(id.ID[:]); err != nil {
		return Identity{}, err
	}
	seed, err := NewSecret() // the same bytes are refused in both
	if err != nil {
		return Identity{}, err
	}
	id.Key = ed25519.NewKeyFromSeed(seed.bytes())
	return id, nil
}

func (id Identity) text() string {
	return identityComment + "id " + id.ID.String() + "\nkey " +
		base64.StdEncoding.EncodeToString(id.Key.Seed()) + "\n"
}

// parseIdentity takes a line "id" and a line "key", once each, comments and blank lines.
func parseIdentity(path, text string) (Identity, error) {
	bad := func(line int, msg string) (Identity, error) {
		return Identity{}, &FileError{path, line, msg, "restore it from a copy"}
	}
	var id Identity
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, _ := strings.Cut(line, " ")
		switch {
		case name == "id" && id.ID == ServerID{}:
			var err error
			if id.ID, err = ParseServerID(value); err != nil {
				return bad(n, err.Error())
			}
		case name == "key" && id.Key == nil:
			seed, err := base64.StdEncoding.Strict().DecodeString(value)
			if err != nil || len(seed) != ed25519.SeedSize || weakness(seed) != "" {
				return bad(n, "the key is damaged")
			}
			id.Key = ed25519.NewKeyFromSeed(seed)
		default:
			return bad(n, "neither id nor key, or one of them twice")
		}
	}
	if id.Key == nil || id.ID == (ServerID{}) {
		return bad(0, "the id or the key is missing")
	}
	return id, nil
}
