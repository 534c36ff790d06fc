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
	Class  Refusal       // of the Reason; empty with a grant
	Offer  *proto.Offer  // nil unless the MAC held
	Old    bool          // the MAC held with the secret that the key had before a rotation
}

// Grant is the right to use a key. Verifier.Verify makes one for a client that proved the key, and
// Verifier.Vouch for a peer that the daemon's own configuration lets in without a proof; nothing else does.
type Grant struct {
	keyID   string
	secret  Secret
	session [proto.IDLen]byte
}

// KeyID returns the key that was proved or vouched for.
func (g *Grant) KeyID() string { return g.keyID }

// SessionID returns the ID that the server's proof gave the session: 16 random bytes.
func (g *Grant) SessionID() [proto.IDLen]byte { return g.session }

// Verifier checks the proofs of clients. It may be used by many goroutines at once.
type Verifier struct {
	id    ServerID
	store *Store
	now   func() time.Time
	dummy *entry
	uses  *Uses  // nil: nobody wants to know
	clock *Clock // nil: what now says counts
}

// NewVerifier returns the verifier of the server with this ID. now nil means time.Now.
func NewVerifier(id ServerID, store *Store, now func() time.Time) (*Verifier, error) {
	if id == (ServerID{}) {
		return nil, errServerID
	}
	if now == nil {
		now = time.Now
	}
	// Unknown key IDs are checked against these secrets, so that they cost what known ones cost, and keys
	// without an old secret against the second one.
	dummy := &entry{}
	for _, keys := range []**proofKeys{&dummy.proof, &dummy.old} {
		secret, err := NewSecret()
		if err != nil {
			return nil, err
		}
		if *keys, err = deriveKeys(secret); err != nil {
			return nil, err
		}
	}
	return &Verifier{id: id, store: store, now: now, dummy: dummy}, nil
}

// Record makes the verifier note in u when a key is used. It must be called before the first use.
func (v *Verifier) Record(u *Uses) { v.uses = u }

// Watch makes the verifier judge the ends of keys by the latest time that c has seen. It must be called before the
// first use.
func (v *Verifier) Watch(c *Clock) { v.clock = c }

func (v *Verifier) at() instant { return v.clock.at(v.now()) }

func (v *Verifier) used(g *Grant, remote netip.Addr) {
	if v.uses != nil && g != nil {
		v.uses.record(g.secret, v.now(), remote)
	}
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
	held := v.prove(found, &a.Binding, message)
	switch {
	case err != nil:
		return refuse(RefusalMalformed, err.Error())
	case found == v.dummy:
		return refuse(RefusalProof, "unknown key "+m.KeyID)
	case held == nil:
		return refuse(RefusalProof, "wrong MAC for key "+m.KeyID)
	}
	offer, err := proto.ParseOffer(m.Ext)
	if err != nil {
		return refuse(RefusalMalformed, err.Error())
	}
	verdict, err := v.answer(held, m, &a, message, v.deny(held, m, offer, &a))
	if err != nil {
		return refuse(RefusalInternal, err.Error())
	}
	verdict.KeyID, verdict.Offer, verdict.Old = m.KeyID, offer, held.old
	v.used(verdict.Grant, a.Remote)
	return verdict
}

// proved is a key together with that of its secrets which a client has.
type proved struct {
	entry  *entry
	secret Secret
	proof  *proofKeys
	old    bool // it is the one from before a rotation
}

// prove tries a client's MAC with both secrets of a key, always both, whether or not it has two and whichever
// holds. It returns nil if neither does.
func (v *Verifier) prove(e *entry, binding *[32]byte, message []byte) *proved {
	unsigned, mac := splitMAC(message)
	old := e.old
	if old == nil {
		old = v.dummy.old
	}
	want, wantOld := e.proof.clientMAC(binding, unsigned), old.clientMAC(binding, unsigned)
	held, heldOld := hmac.Equal(mac, want[:]), hmac.Equal(mac, wantOld[:])
	switch {
	case held:
		return &proved{e, e.key.Secret, e.proof, false}
	case heldOld && e.key.Old != nil:
		return &proved{e, e.key.Old.Secret, e.old, true}
	}
	return nil
}

func refuse(class Refusal, reason string) Verdict {
	return Verdict{Reply: proto.Refused{}, Reason: reason, Class: class}
}

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
func (v *Verifier) answer(p *proved, m *proto.ClientProof, a *Attempt, message []byte, denied *DeniedError) (Verdict, error) {
	if len(a.Choice) > proto.MaxExt {
		return Verdict{}, fmt.Errorf("internal error: choice of %d bytes", len(a.Choice))
	}
	reply := &proto.ServerProof{Ext: a.Choice}
	verdict := Verdict{Reply: reply}
	if denied != nil {
		reply.Status = denied.Status
		reply.Text = denied.Text[:min(len(denied.Text), proto.MaxExt)]
		verdict.Reason = denied.Text + v.where(p.entry, denied.Status) + v.clockFault(denied.Status)
		verdict.Class = refusalOf(denied.Status)
	}
	if _, err := rand.Read(reply.Nonce[:]); err != nil {
		return Verdict{}, fmt.Errorf("making a nonce: %w", err)
	}
	if reply.Status == proto.StatusAccepted {
		if _, err := rand.Read(reply.SessionID[:]); err != nil {
			return Verdict{}, fmt.Errorf("making a session ID: %w", err)
		}
		verdict.Grant = &Grant{m.KeyID, p.secret, reply.SessionID}
	}
	reply.MAC = p.proof.serverMAC(&a.Binding, message, reply.AppendUnsigned(nil))
	return verdict, nil
}

// where points the operator to the line that makes a key be denied; empty if it is not the key's fault. Clients are
// not told.
func (v *Verifier) where(e *entry, s proto.Status) string {
	switch s {
	case proto.StatusDisabled, proto.StatusExpired, proto.StatusNotYet, proto.StatusSource:
		return " (" + v.store.Where(e.key) + ")"
	}
	return ""
}

// clockFault tells the operator what to do if it is a clock that makes a key be denied; empty if it is not.
func (v *Verifier) clockFault(s proto.Status) string {
	if s != proto.StatusExpired || v.clock == nil || !v.at().behind() {
		return ""
	}
	return "; if the clock was wrong before: rm " + v.clock.path
}

// deny says what speaks against a client whose MAC held; nil if nothing does.
func (v *Verifier) deny(p *proved, m *proto.ClientProof, offer *proto.Offer, a *Attempt) *DeniedError {
	if id := ServerID(m.ServerID); id != v.id {
		return &DeniedError{proto.StatusWrongServer, fmt.Sprintf(
			"wrong server: this is %s, and the key belongs to %s; give each server a key of its own", v.id, id)}
	}
	if denied := p.entry.key.deny(a.Remote, v.at()); denied != nil {
		return denied
	}
	if p.old {
		if denied := p.entry.key.denyOld(v.at()); denied != nil {
			return denied
		}
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

// Vouch makes a grant without a proof, for peers that the daemon's own configuration lets in as the
// holder of a key. What limits the key holds for them as for anybody who proved it: the error is a
// *DeniedError if the key is unknown, disabled, not valid at this time or not for this address. No peer
// may have a say in which key it is.
func (v *Verifier) Vouch(keyID string, remote netip.Addr) (*Grant, error) {
	e := v.store.entry(keyID)
	if e == nil {
		return nil, &DeniedError{proto.StatusDisabled, "there is no key " + keyID + " on this server"}
	}
	if denied := e.key.deny(remote, v.at()); denied != nil {
		return nil, denied
	}
	g := &Grant{keyID: keyID, secret: e.key.Secret}
	if _, err := rand.Read(g.session[:]); err != nil {
		return nil, fmt.Errorf("making a session ID: %w", err)
	}
	v.used(g, remote)
	return g, nil
}

// Use is Authorize for what counts as a use of the key.
func (v *Verifier) Use(g *Grant, remote netip.Addr) (Key, error) {
	k, err := v.Authorize(g, remote)
	if err == nil {
		v.used(g, remote)
	}
	return k, err
}

// Authorize returns the present policy of a granted key, without its secret. It is asked at every
// start of a command, since a key may be revoked, changed or expired, and a client may have moved to
// another address, since the proof. The error is a *DeniedError whose text is for the client.
func (v *Verifier) Authorize(g *Grant, remote netip.Addr) (Key, error) {
	if g == nil {
		return Key{}, &DeniedError{proto.StatusDisabled, "no key was proved"}
	}
	e := v.store.entry(g.keyID)
	if e == nil {
		return Key{}, &DeniedError{proto.StatusDisabled, "key " + g.keyID + " was revoked"}
	}
	if denied := e.key.deny(remote, v.at()); denied != nil {
		return Key{}, denied
	}
	if denied := e.key.denySecret(g.secret, v.at()); denied != nil {
		return Key{}, denied
	}
	k := e.key
	k.Secret, k.Old = Secret{}, nil
	return k, nil
}
