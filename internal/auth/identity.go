package auth

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Identity is who a server is: the ID that its keys are for, and the private key of its self-signed
// certificate.
type Identity struct {
	ID  ServerID
	Key ed25519.PrivateKey
	// machine is a mark of the machine that it was made on; empty = unknown.
	machine string
}

// Format writes the server's ID for every verb, so that no log shows the private key.
func (id Identity) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("server " + id.ID.String())) }

// ResetKey makes the stateless reset tokens of QUIC (RFC 9000 10.3.2). It is derived from the private
// key, so that it outlives the process as that does and there is no further secret to keep.
func (id Identity) ResetKey() [32]byte {
	key, err := hkdf.Key(sha256.New, id.Key.Seed(), id.ID[:], "rexec/1 stateless reset", 32)
	if err != nil {
		panic("internal error: " + err.Error()) // only for a length that SHA-256 does not give
	}
	return [32]byte(key)
}

const (
	identityName    = "identity"
	identityLimit   = 4 << 10
	machineComment  = "# The machine that it was made on. Without this line nobody warns of a clone.\n"
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
	path := IdentityPath(dir)
	text, _, err := readSecret(path, identityLimit)
	if err != nil {
		return Identity{}, fmt.Errorf("opening the server's identity: %w", err)
	}
	return parseIdentity(path, string(text))
}

// IdentityPath is the file of the identity in a state directory.
func IdentityPath(dir string) string { return filepath.Join(dir, identityName) }

// CreateIdentity makes the identity of a new server, and the state directory if need be. If there is
// an identity, also one that another process makes at the same time, it returns that one: an identity
// is made once, and only ResetIdentity replaces it.
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
	id.machine = machineMark(machineIDPath, id.ID)
	err = createFile(IdentityPath(dir), []byte(id.text()))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return Identity{}, fmt.Errorf("making the server's identity: %w", err)
	}
	return OpenIdentity(dir)
}

// ResetIdentity makes another identity in the place of the one in a state directory, which no daemon may use at
// the time. No key works any more until its client has a new token.
func ResetIdentity(dir string) (Identity, error) {
	id, err := newIdentity()
	if err == nil {
		err = checkDir(dir)
	}
	if err == nil {
		id.machine = machineMark(machineIDPath, id.ID)
		err = replaceFile(IdentityPath(dir), []byte(id.text()))
	}
	if err != nil {
		return Identity{}, fmt.Errorf("replacing the server's identity: %w", err)
	}
	return id, nil
}

// Moved reports whether this is another machine than the one that the identity was made on, as the copy of a
// virtual machine is. It is false if either is not known.
func (id Identity) Moved() bool { return id.moved(machineIDPath) }

func (id Identity) moved(path string) bool {
	now := machineMark(path, id.ID)
	return id.machine != "" && now != "" && id.machine != now
}

const machineIDPath = "/etc/machine-id"

// machineMark tells machines apart without giving away their machine-id, as machine-id(5) wants it. It is empty
// where there is none.
func machineMark(path string, id ServerID) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	machine, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(machine) != 16 {
		return "" // not made yet
	}
	h := hmac.New(sha256.New, machine)
	h.Write([]byte("rexec/1 machine\x00"))
	h.Write(id[:])
	return hex.EncodeToString(h.Sum(nil)[:markLen])
}

const markLen = 16

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
	text := identityComment + "id " + id.ID.String() + "\nkey " +
		base64.StdEncoding.EncodeToString(id.Key.Seed()) + "\n"
	if id.machine != "" {
		text += machineComment + "machine " + id.machine + "\n"
	}
	return text
}

// parseIdentity takes a line "id" and a line "key", once each, a line "machine" at most once, comments and blank
// lines.
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
		case name == "machine" && id.machine == "":
			if b, err := hex.DecodeString(value); err != nil || len(b) != markLen {
				return Identity{}, &FileError{path, n, "the mark of the machine is damaged", "remove the line"}
			}
			id.machine = value
		default:
			return bad(n, "neither id, key nor machine, or one of them twice")
		}
	}
	if id.Key == nil || id.ID == (ServerID{}) {
		return bad(0, "the id or the key is missing")
	}
	return id, nil
}
