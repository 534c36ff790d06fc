package classic

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// challengeLen is the size of a challenge in bytes.
const challengeLen = 32

var errMAC = errors.New("wrong answer to the challenge")

// challenge lets a client show that it knows the secret. It says nothing about what was wrong.
func challenge(rw io.ReadWriter, a Auth, secret []byte) error {
	var sum func() hash.Hash
	switch a {
	case NoAuth:
		return nil
	case HMACMD5:
		sum = md5.New // existing clients speak it; in an HMAC it is not broken
	default:
		sum = sha256.New
	}
	question := make([]byte, challengeLen)
	if _, err := rand.Read(question); err != nil {
		return fmt.Errorf("making a challenge: %w", err)
	}
	if _, err := rw.Write(question); err != nil {
		return fmt.Errorf("writing the challenge: %w", err)
	}
	mac := hmac.New(sum, secret)
	_, _ = mac.Write(question) // never fails (hash.Hash)
	answer := make([]byte, mac.Size())
	if _, err := io.ReadFull(rw, answer); err != nil {
		return fmt.Errorf("reading the answer to the challenge: %w", err)
	}
	if !hmac.Equal(answer, mac.Sum(nil)) {
		return errMAC
	}
	return nil
}
