package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"rexec/internal/proto"
)

// The labels keep the two proofs apart from each other and from any other use of the same secret:
// a proof sent back to its sender verifies nowhere.
const (
	clientKeyLabel   = "rexec/1 client proof key"
	serverKeyLabel   = "rexec/1 server proof key"
	clientProofLabel = "rexec/1 client proof\x00"
	serverProofLabel = "rexec/1 server proof\x00"
)

// proofKeys are the keys of the two MACs, derived from one secret. They are behind pointers for the
// same reason as in Secret.
type proofKeys struct {
	client, server *[sha256.Size]byte
}

func deriveKeys(s Secret) (*proofKeys, error) {
	if s.p == nil {
		return nil, errNoSecret
	}
	client, err := hkdf.Expand(sha256.New, s.bytes(), clientKeyLabel, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the client's proof key: %w", err)
	}
	server, err := hkdf.Expand(sha256.New, s.bytes(), serverKeyLabel, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the server's proof key: %w", err)
	}
	return &proofKeys{(*[sha256.Size]byte)(client), (*[sha256.Size]byte)(server)}, nil
}

// clientMAC covers the channel and the client's message as it was sent, without its MAC.
func (k *proofKeys) clientMAC(binding *[32]byte, unsigned []byte) (mac [proto.MACLen]byte) {
	b := make([]byte, 0, len(clientProofLabel)+len(binding)+4+len(unsigned))
	b = append(b, clientProofLabel...)
	b = append(b, binding[:]...)
	b = appendSized(b, unsigned)
	sum(k.client[:], b, &mac)
	return mac
}

// serverMAC covers the channel, the client's whole message and the server's without its MAC.
func (k *proofKeys) serverMAC(binding *[32]byte, client, unsigned []byte) (mac [proto.MACLen]byte) {
	b := make([]byte, 0, len(serverProofLabel)+len(binding)+4+len(client)+4+len(unsigned))
	b = append(b, serverProofLabel...)
	b = append(b, binding[:]...)
	b = appendSized(b, client)
	b = appendSized(b, unsigned)
	sum(k.server[:], b, &mac)
	return mac
}

func appendSized(b, part []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(part))), part...)
}

func sum(key, message []byte, mac *[proto.MACLen]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	h.Sum(mac[:0])
}

// splitMAC divides a message, as sent, into what the MAC covers and the MAC. Of one that is too
// short it returns the whole and a MAC that equals none.
func splitMAC(message []byte) (unsigned, mac []byte) {
	at := len(message) - proto.MACLen
	if at < 0 {
		return message, nil
	}
	return message[:at], message[at:]
}
