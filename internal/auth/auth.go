// Package auth decides who may run commands, and proves to each end that the other one holds the
// same key: both halves of the handshake, the server's identity and key file, tokens, and the key
// files and pins of a client.
//
// It owns every secret and every comparison of one. It does not dial, listen, speak TLS, log or read
// configuration: callers hand it channel bindings, payloads and paths, and frame what it returns.
// It imports the standard library and internal/proto, nothing heavy, for every start of the client
// pays for it.
package auth

import (
	"encoding/hex"
	"errors"

	"rexec/internal/proto"
)

// ServerID names one server for good: 16 random bytes made at its first start. It is part of every
// proof, so that a proof meant for one server is worth nothing at another one with the same key.
type ServerID [proto.IDLen]byte

// String returns 32 hexadecimal digits.
func (id ServerID) String() string { return hex.EncodeToString(id[:]) }

// ParseServerID reads what String returns. Zero is refused: it names no server.
func ParseServerID(s string) (ServerID, error) {
	var id ServerID
	if len(s) != hex.EncodedLen(len(id)) {
		return ServerID{}, errServerID
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id == (ServerID{}) || id.String() != s {
		return ServerID{}, errServerID
	}
	return id, nil
}

var errServerID = errors.New("a server ID is 32 hexadecimal digits in lower case, not all zero")
