package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"rexec/internal/proto"
)

// Token is all that a client needs to reach one server, in one line that can be copied.
type Token struct {
	Address string // host:port in the form of CanonicalAddress
	Key     ClientKey
}

const (
	tokenPrefix   = "rexec:"
	tokenVersion  = 1
	tokenLabel    = "rexec token\x00"
	tokenChecksum = 4
	tokenLimit    = 4 << 10 // bytes of text; a real one has at most 505
)

// ErrToken is returned by ParseToken for text that was not copied as it was.
var ErrToken = errors.New("the token is damaged (checksum): copy the whole line again, from rexec: to its end")

// Encode returns the token as text: "rexec:" and unpadded base64url of version 1, server ID, secret,
// length and key ID, length and address, and four bytes of SHA-256 over all that. It is as secret as
// the key. A token with an invalid key ID or address is a programmer's mistake.
func (t Token) Encode() string {
	if err := t.check(); err != nil {
		panic("internal error: encoding a token: " + err.Error())
	}
	b := append([]byte{tokenVersion}, t.Key.Server[:]...)
	b = append(b, t.Key.Secret.bytes()...)
	b = append(append(b, byte(len(t.Key.KeyID))), t.Key.KeyID...)
	b = append(append(b, byte(len(t.Address))), t.Address...)
	b = append(b, checksum(b)...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func checksum(b []byte) []byte {
	sum := sha256.Sum256(append([]byte(tokenLabel), b...))
	return sum[:tokenChecksum]
}

// ParseToken reads what Encode returns. White space around it is ignored. Damage of any kind is
// ErrToken, before anything else is looked at.
func ParseToken(s string) (Token, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), tokenPrefix)
	if !ok || len(text) > tokenLimit {
		return Token{}, ErrToken
	}
	b, ok := decodeBase64(text)
	if !ok || len(b) <= tokenChecksum {
		return Token{}, ErrToken
	}
	b, sum := b[:len(b)-tokenChecksum], b[len(b)-tokenChecksum:]
	if string(sum) != string(checksum(b)) { // guards against slips, not against attackers
		return Token{}, ErrToken
	}
	if b[0] != tokenVersion {
		return Token{}, fmt.Errorf("the token has version %d, and this rexec knows %d: update rexec", b[0], tokenVersion)
	}
	t, err := parseTokenBody(b[1:])
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return Token{}, fmt.Errorf("reading the token: %w", err)
	}
	return t, nil
}

// TokenCut reports whether text is the begin of a token of which the rest is missing, as the first of several lines is.
func TokenCut(text string) bool {
	if strings.HasPrefix(tokenPrefix, text) {
		return true
	}
	text, ok := strings.CutPrefix(text, tokenPrefix)
	have := base64.RawURLEncoding.DecodedLen(len(text))
	b, valid := decodeBase64(text[:len(text)/4*4]) // what follows the last whole group says no length
	need := 1 + proto.IDLen + SecretLen + 1
	for range 2 { // key ID and address, each behind its length
		if len(b) < need {
			break
		}
		need += int(b[need-1]) + 1
	}
	need += tokenChecksum - 1
	return ok && valid && have < need
}

func parseTokenBody(b []byte) (t Token, err error) {
	const fixed = proto.IDLen + SecretLen
	if len(b) < fixed {
		return t, errTokenForm
	}
	copy(t.Key.Server[:], b)
	if t.Key.Secret, err = ParseSecret(b[proto.IDLen:fixed]); err != nil {
		return t, err
	}
	var ok1, ok2 bool
	t.Key.KeyID, b, ok1 = cutSized(b[fixed:])
	t.Address, b, ok2 = cutSized(b)
	if !ok1 || !ok2 || len(b) != 0 {
		return t, errTokenForm
	}
	return t, nil
}

var errTokenForm = errors.New("its parts do not fit: make a new one with: rexecd key add")

// cutSized takes a length byte and as many bytes off the front.
func cutSized(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

func (t *Token) check() error {
	if t.Key.Server == (ServerID{}) {
		return errServerID
	}
	if t.Key.Secret.p == nil {
		return errNoSecret
	}
	if !proto.ValidKeyID(t.Key.KeyID) {
		return errors.New(keyIDRule)
	}
	if a, err := CanonicalAddress(t.Address, 0); err != nil || a != t.Address {
		return errors.New("its address is not host:port in plain form")
	}
	return nil
}
