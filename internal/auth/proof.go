package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"rexec/internal/proto"
)

// ClientKey is what a client needs to prove itself to one server.
type ClientKey struct {
	Server ServerID
	KeyID  string
	Secret Secret
}

// ErrRefused is returned by Proof.Check for the one unauthenticated refusal. Anybody could have sent
// it, so it says nothing about the key.
var ErrRefused = errors.New("refused: no such key, or this is not the server that the key belongs to")

// ErrServerProof is returned by Proof.Check when the other end does not know the secret: somebody
// else answers at this address, or stands between.
var ErrServerProof = errors.New("this is not the server that the key belongs to")

// DeniedError is a refusal by the server that the key belongs to, with its reason.
type DeniedError struct {
	Status proto.Status
	Text   string // from the server: show it escaped
}

// Error returns the server's reason.
func (e *DeniedError) Error() string { return e.Text }

// Proof is a client's proof in flight, bound to one connection.
type Proof struct {
	keys    *proofKeys
	binding [32]byte
	message *proto.ClientProof
}

// NewProof makes the client's half of the handshake. transport is one of proto's transports, binding
// is the exporter of the finished TLS handshake (RFC 9266), offer may be nil.
func NewProof(k ClientKey, transport uint8, binding [32]byte, offer *proto.Offer) (*Proof, error) {
	p, err := newProof(k, transport, binding, offer)
	if err != nil {
		return nil, fmt.Errorf("making the proof: %w", err)
	}
	return p, nil
}

func newProof(k ClientKey, transport uint8, binding [32]byte, offer *proto.Offer) (*Proof, error) {
	switch {
	case !proto.ValidKeyID(k.KeyID):
		return nil, errors.New(keyIDRule)
	case k.Server == ServerID{}:
		return nil, errServerID
	case transport != proto.TransportTCP && transport != proto.TransportQUIC:
		return nil, fmt.Errorf("no such transport: %d", transport)
	case binding == [32]byte{}:
		return nil, errors.New("no channel binding")
	}
	m := &proto.ClientProof{Transport: transport, ServerID: k.Server, KeyID: k.KeyID}
	if offer != nil {
		m.Ext = offer.Append(nil)
	}
	if len(m.Ext) > proto.MaxExt {
		return nil, fmt.Errorf("offer of %d bytes, limit %d", len(m.Ext), proto.MaxExt)
	}
	if _, err := rand.Read(m.Nonce[:]); err != nil {
		return nil, fmt.Errorf("making a nonce: %w", err)
	}
	keys, err := deriveKeys(k.Secret)
	if err != nil {
		return nil, err
	}
	m.MAC = keys.clientMAC(&binding, m.AppendUnsigned(nil))
	return &Proof{keys, binding, m}, nil
}

// Message returns what is to be framed and sent.
func (p *Proof) Message() *proto.ClientProof { return p.message }

// Check judges the server's answer. It looks at no field of a proof before its MAC held, so nothing
// that a stranger sent is ever parsed. Its errors are ErrRefused, ErrServerProof, a *DeniedError
// (together with the server's message), or one that wraps proto.ErrMalformed if the server itself
// sends nonsense.
func (p *Proof) Check(t proto.Type, payload []byte) (*proto.ServerProof, *proto.Choice, error) {
	if t == proto.TypeRefused && proto.ParseRefused(payload) == nil {
		return nil, nil, ErrRefused
	}
	if t != proto.TypeServerProof || len(payload) > proto.MaxUnproven {
		return nil, nil, ErrServerProof
	}
	unsigned, mac := splitMAC(withType(t, payload))
	want := p.keys.serverMAC(&p.binding, p.message.Append(nil), unsigned)
	if !hmac.Equal(mac, want[:]) {
		return nil, nil, ErrServerProof
	}
	m, err := proto.ParseServerProof(payload)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the server's proof: %w", err)
	}
	if m.Status != proto.StatusAccepted {
		return m, nil, &DeniedError{m.Status, m.Text}
	}
	choice, err := proto.ParseChoice(m.Ext)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the server's choice: %w", err)
	}
	return m, choice, nil
}

// withType puts back the type byte that the reader of frames took off: the MACs cover it.
func withType(t proto.Type, payload []byte) []byte {
	return append(append(make([]byte, 0, 1+len(payload)), byte(t)), payload...)
}

// Mark tells this key from every other one, and from itself with another secret. Nobody learns the secret
// from it.
func (k ClientKey) Mark() ([32]byte, error) {
	b, err := hkdf.Expand(sha256.New, k.Secret.bytes(), "rexec/1 mark of a key "+string(k.Server[:])+k.KeyID, sha256.Size)
	if err != nil {
		return [32]byte{}, fmt.Errorf("marking a key: %w", err)
	}
	return [32]byte(b), nil
}
