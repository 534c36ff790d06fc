package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"rexec/internal/proto"
)

// Attempt is the first message of a client and where it came from.
type Attempt struct {
	Transport uint8    // the one that it really came over
	Binding   [32]byte // the exporter of the finished TLS handshake (RFC 9266)
	Remote    netip.Addr
	Type      proto.Type
	Payload   []byte // without the type byte; at most proto.MaxUnproven bytes
	Choice    []byte // an encoded proto.Choice, for the answer to a proof that holds
	// Limit refuses even a proof that holds, with this text for the client: too many connections.
	Limit string
}

// Verdict is the server's answer to an Attempt.
type Verdict struct {
	Reply  proto.Message // to be sent in any case
	Grant  *Grant        // nil unless accepted
	KeyID  string        // empty unless the MAC held
	Reason string        // for the operator's log, never for the peer; holds no secret and no control character
	Offer  *proto.Offer  // nil unless the MAC held
}

// Grant is the evidence that a client proved its key. Only Verifier.Verify makes one.
type Grant struct {
	keyID   string
	secret  Secret
	session [proto.IDLen]byte
}

// KeyID returns the key that was proved.
func (g *Grant) KeyID() string { return g.keyID }

// SessionID returns the ID that the server's proof gave the session: 16 random bytes.
func (g *Grant) SessionID() [proto.IDLen]byte { return g.session }

// Verifier checks the proofs of clients. It may be used by many goroutines at once.
type Verifier struct {
	id    ServerID
	store *Store
	now   func() time.Time
	dummy *entry
}

// NewVerifier returns the verifier of the server with this ID. now nil means time.Now.
func NewVerifier(id ServerID, store *Store, now func() time.Time) (*Verifier, error) {
	if id == (ServerID{}) {
		return nil, errServerID
	}
	if now == nil {
		now = time.Now
	}
	// Unknown key IDs are checked against this secret, so that they cost what known ones cost.
	secret, err := NewSecret()
	if err != nil {
		return nil, err
	}
	keys, err := deriveKeys(secret)
	if err != nil {
		return nil, err
	}
	return &Verifier{id, store, now, &entry{proof: keys}}, nil
}

// Verify judges a client's first message. A message that is malformed, names an unknown key or
// carries a wrong MAC gets one and the same answer, after the same work. Only a client whose MAC
// held learns anything else, under the server's MAC.
func (v *Verifier) Verify(a Attempt) Verdict {
	m, err := parseAttempt(a)
	found := v.dummy
	if err == nil {
		if e := v.store.entry(m.KeyID); e != nil {
			found = e
		}
	}
	message := withType(a.Type, a.Payload[:min(len(a.Payload), proto.MaxUnproven)])
	unsigned, mac := splitMAC(message)
	want := found.proof.clientMAC(&a.Binding, unsigned)
	held := hmac.Equal(mac, want[:])
	switch {
	case err != nil:
		return refuse(err.Error())
	case found == v.dummy:
		return refuse("unknown key " + m.KeyID)
	case !held:
		return refuse("wrong MAC for key " + m.KeyID)
	}
	offer, err := proto.ParseOffer(m.Ext)
	if err != nil {
		return refuse(err.Error())
	}
	verdict, err := v.answer(found, m, &a, message, v.deny(found, m, offer, &a))
	if err != nil {
		return refuse(err.Error())
	}
	verdict.KeyID, verdict.Offer = m.KeyID, offer
	return verdict
}

func refuse(reason string) Verdict { return Verdict{Reply: proto.Refused{}, Reason: reason} }

func parseAttempt(a Attempt) (*proto.ClientProof, error) {
	switch {
	case a.Type != proto.TypeClientProof:
		return nil, fmt.Errorf("%w: %s instead of a proof", proto.ErrMalformed, a.Type)
	case len(a.Payload) > proto.MaxUnproven:
		return nil, fmt.Errorf("%w: proof of %d bytes", proto.ErrMalformed, len(a.Payload))
	case a.Binding == [32]byte{}:
		return nil, errors.New("no channel binding")
	}
	m, err := proto.ParseClientProof(a.Payload)
	if err == nil && m.Transport != a.Transport {
		err = fmt.Errorf("%w: transport %d named over transport %d", proto.ErrMalformed, m.Transport, a.Transport)
	}
	return m, err
}

// answer makes the server's proof for a client whose MAC held, and the grant unless it is denied.
func (v *Verifier) answer(e *entry, m *proto.ClientProof, a *Attempt, message []byte, denied *DeniedError) (Verdict, error) {
	if len(a.Choice) > proto.MaxExt {
		return Verdict{}, fmt.Errorf("internal error: choice of %d bytes", len(a.Choice))
	}
	reply := &proto.ServerProof{Ext: a.Choice}
	verdict := Verdict{Reply: reply}
	if denied != nil {
		reply.Status = denied.Status
		reply.Text = denied.Text[:min(len(denied.Text), proto.MaxExt)]
		verdict.Reason = denied.Text
	}
	if _, err := rand.Read(reply.Nonce[:]); err != nil {
		return Verdict{}, fmt.Errorf("making a nonce: %w", err)
	}
	if reply.Status == proto.StatusAccepted {
		if _, err := rand.Read(reply.SessionID[:]); err != nil {
			return Verdict{}, fmt.Errorf("making a session ID: %w", err)
		}
		verdict.Grant = &Grant{m.KeyID, e.key.Secret, reply.SessionID}
	}
	reply.MAC = e.proof.serverMAC(&a.Binding, message, reply.AppendUnsigned(nil))
	return verdict, nil
}

// deny says what speaks against a client whose MAC held; nil if nothing does.
func (v *Verifier) deny(e *entry, m *proto.ClientProof, offer *proto.Offer, a *Attempt) *DeniedError {
	if id := ServerID(m.ServerID); id != v.id {
		return &DeniedError{proto.StatusWrongServer, fmt.Sprintf(
			"wrong server: this is %s, and the key belongs to %s; give each server a key of its own", v.id, id)}
	}
	if denied := e.key.deny(a.Remote, v.now()); denied != nil {
		return denied
	}
	if offer.MaxVersion != 0 && (offer.MinVersion > proto.Version || offer.MaxVersion < proto.Version) {
		return &DeniedError{proto.StatusVersion, fmt.Sprintf("this server speaks protocol version %d, the client %d to %d",
			proto.Version, offer.MinVersion, offer.MaxVersion)}
	}
	if a.Limit != "" {
		return &DeniedError{proto.StatusLimit, a.Limit}
	}
	return nil
}

// Authorize returns the present policy of a proved key, without its secret. It is asked at every
// start of a command, since a key may be revoked, changed or expired, and a client may have moved to
// another address, since the proof. The error is a *DeniedError whose text is for the client.
func (v *Verifier) Authorize(g *Grant, remote netip.Addr) (Key, error) {
	if g == nil {
		return Key{}, &DeniedError{proto.StatusDisabled, "no key was proved"}
	}
	e := v.store.entry(g.keyID)
	if e == nil || !e.key.Secret.Equal(g.secret) {
		return Key{}, &DeniedError{proto.StatusDisabled, "key " + g.keyID + " was revoked"}
	}
	if denied := e.key.deny(remote, v.now()); denied != nil {
		return Key{}, denied
	}
	k := e.key
	k.Secret = Secret{}
	return k, nil
}
