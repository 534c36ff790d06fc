package auth

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"rexec/internal/proto"
)

// SecretLen is the size of a secret in bytes.
const SecretLen = 32

// Secret is what client and server share: 32 random bytes. The zero value holds none.
//
// It prints as "[secret]" everywhere. fmt ignores the methods of unexported fields and follows one
// pointer in them, hence two: a struct that holds a Secret shows an address at most.
type Secret struct{ p **[SecretLen]byte }

func secretOf(b [SecretLen]byte) Secret {
	p := &b
	return Secret{&p}
}

// bytes must not be called on a Secret that holds none.
func (s Secret) bytes() []byte { return (*s.p)[:] }

const redacted = "[secret]"

// String returns a placeholder.
func (Secret) String() string { return redacted }

// GoString returns a placeholder.
func (Secret) GoString() string { return redacted }

// Format writes a placeholder for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns a placeholder; encoding/json uses it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary refuses, because nothing that reads the bytes back could notice a placeholder.
func (Secret) MarshalBinary() ([]byte, error) {
	return nil, errors.New("a secret is not written this way")
}

var errNoSecret = errors.New("the key has no secret")

// Equal reports whether both hold the same secret, in a time that does not depend on it. A Secret
// that holds none equals nothing.
func (s Secret) Equal(o Secret) bool {
	return s.p != nil && o.p != nil && subtle.ConstantTimeCompare(s.bytes(), o.bytes()) == 1
}

// NewSecret makes a secret from the system's random numbers.
func NewSecret() (Secret, error) {
	for range 3 { // a random secret looks weak less than once in 10^9 times
		var b [SecretLen]byte
		if _, err := rand.Read(b[:]); err != nil {
			return Secret{}, fmt.Errorf("making a secret: %w", err)
		}
		if s, err := ParseSecret(b[:]); err == nil {
			return s, nil
		}
	}
	return Secret{}, errors.New("making a secret: the system's random numbers are not random")
}

// ParseSecret takes 32 bytes and refuses those that somebody thought up: whoever answers in the
// server's place gets a proof to test guesses against, so only a random secret is safe.
func ParseSecret(b []byte) (Secret, error) {
	if len(b) != SecretLen {
		return Secret{}, fmt.Errorf("a secret has %d bytes, not %d", SecretLen, len(b))
	}
	if why := weakness(b); why != "" {
		return Secret{}, errors.New("the secret is not random: " + why)
	}
	return secretOf([SecretLen]byte(b)), nil
}

// minDistinct is the least number of different bytes in a secret. 32 random ones have 30 on average,
// and fewer than 16 with a probability far below 2^-32.
const minDistinct = 16

// weakness says why b was not made by a random generator, or "".
func weakness(b []byte) string {
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	switch text := b[:end]; {
	case end == 0:
		return "it is all zero"
	case hasPeriod(b, 1):
		return "it is one byte repeated"
	case hasPeriod(b, len(b)/2):
		return "it repeats itself"
	case hasStep(b):
		return "it counts"
	case isHex(text):
		return "it is hexadecimal text"
	case isText(text):
		return "it is text"
	case distinct(b) < minDistinct:
		return "it has few different bytes"
	}
	return ""
}

// hasPeriod reports whether b is a piece of at most limit bytes again and again.
func hasPeriod(b []byte, limit int) bool {
	for p := 1; p <= limit; p++ {
		same := true
		for i := p; i < len(b) && same; i++ {
			same = b[i] == b[i-p]
		}
		if same {
			return true
		}
	}
	return false
}

// hasStep reports whether the bytes go up or down by one fixed step, as in published test vectors.
func hasStep(b []byte) bool {
	for i := 2; i < len(b); i++ {
		if b[i]-b[i-1] != b[1]-b[0] {
			return false
		}
	}
	return true
}

func isHex(b []byte) bool { return strings.Trim(string(b), "0123456789abcdefABCDEF") == "" }

// isText reports whether b is printable UTF-8, which random bytes are once in 10^11 times.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n < 2 || !strconv.IsPrint(r) && r != '\t' && r != '\n' && r != '\r' {
			return false
		}
		b = b[n:]
	}
	return true
}

func distinct(b []byte) int {
	var seen [256]bool
	n := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// ForServer derives the secret that one server gets from a secret that the client keeps for a whole
// fleet, so that a stolen key file opens no other server (HKDF, RFC 5869).
func (s Secret) ForServer(id ServerID, keyID string) (Secret, error) {
	if s.p == nil {
		return Secret{}, errNoSecret
	}
	if !proto.ValidKeyID(keyID) {
		return Secret{}, errors.New(keyIDRule)
	}
	info := append(append(id[:], byte(len(keyID))), keyID...)
	b, err := hkdf.Key(sha256.New, s.bytes(), []byte("rexec/1 per-server key"), string(info), SecretLen)
	if err != nil {
		return Secret{}, fmt.Errorf("deriving a secret: %w", err)
	}
	return ParseSecret(b)
}

const keyIDRule = "a key ID is 1 to 64 of a-z 0-9 . _ @ -, the first a letter or digit"

func (s Secret) base64() string { return base64.RawURLEncoding.EncodeToString(s.bytes()) }

// decodeBase64 reads unpadded base64url and nothing else: the standard decoder would skip line
// breaks and, unless strict, ignore the last bits.
func decodeBase64(s string) ([]byte, bool) {
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' {
			return nil, false
		}
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}
