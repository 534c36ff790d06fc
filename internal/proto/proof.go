package proto

// Sizes of the proof's parts, in bytes.
const (
	IDLen    = 16 // server ID, session ID, execution ID, instance
	NonceLen = 32
	MACLen   = 32 // HMAC-SHA256
	MaxKeyID = 64
	MaxExt   = 1 << 10
)

// ProofVersion is the version of the handshake in a ClientProof.
const ProofVersion = 1

// ClientProof is the client's half of the handshake. The MAC covers Append's bytes without the MAC.
type ClientProof struct {
	Transport uint8
	ServerID  [IDLen]byte // the server that the client means
	KeyID     string
	Nonce     [NonceLen]byte
	Ext       []byte // an Offer
	MAC       [MACLen]byte
}

// AppendUnsigned appends what the MAC covers.
func (m *ClientProof) AppendUnsigned(b []byte) []byte {
	b = append(b, byte(TypeClientProof), ProofVersion, m.Transport)
	b = append(b, m.ServerID[:]...)
	b = append(b, byte(len(m.KeyID)))
	b = append(b, m.KeyID...)
	b = append(b, m.Nonce[:]...)
	b = appendU16(b, uint16(len(m.Ext)))
	return append(b, m.Ext...)
}

// Append appends the message.
func (m *ClientProof) Append(b []byte) []byte { return append(m.AppendUnsigned(b), m.MAC[:]...) }

// ParseClientProof parses a payload. It checks form only: key ID syntax, version and lengths.
func ParseClientProof(b []byte) (*ClientProof, error) {
	m := new(ClientProof)
	c := cursor{b: b}
	if v := c.u8(); !c.short && v != ProofVersion {
		return nil, malformed("proof version %d", v)
	}
	m.Transport = c.u8()
	c.fill(m.ServerID[:])
	m.KeyID = string(c.take(int(c.u8())))
	c.fill(m.Nonce[:])
	n := c.u16()
	if n > MaxExt {
		return nil, malformed("extension of %d bytes", n)
	}
	m.Ext = append(m.Ext, c.take(int(n))...)
	c.fill(m.MAC[:])
	if err := c.end(TypeClientProof); err != nil {
		return nil, err
	}
	if !ValidKeyID(m.KeyID) {
		return nil, malformed("key ID")
	}
	return m, nil
}

// ValidKeyID reports whether s is a key ID: 1 to 64 of [a-z0-9._@-], the first a letter or digit.
func ValidKeyID(s string) bool {
	if s == "" || len(s) > MaxKeyID {
		return false
	}
	for i := range len(s) {
		alnum := s[i] >= 'a' && s[i] <= 'z' || s[i] >= '0' && s[i] <= '9'
		mark := s[i] == '.' || s[i] == '_' || s[i] == '@' || s[i] == '-'
		if !alnum && (i == 0 || !mark) {
			return false
		}
	}
	return true
}

// Status is a server's answer to a proof that was right: accepted, or the reason why not.
type Status uint8

// The statuses. All but StatusAccepted are refusals whose text is authenticated.
const (
	StatusAccepted    Status = 0
	StatusExpired     Status = 1
	StatusSource      Status = 2
	StatusDisabled    Status = 3
	StatusLimit       Status = 4
	StatusWrongServer Status = 5
	StatusNotYet      Status = 6
	StatusVersion     Status = 7 // no protocol version in common
)

// ServerProof is the server's half. The MAC covers the client's whole message and this one without
// its MAC.
type ServerProof struct {
	Status    Status
	Nonce     [NonceLen]byte
	SessionID [IDLen]byte
	Ext       []byte // a Choice
	Text      string // plain reason; UTF-8 by convention, shown escaped
	MAC       [MACLen]byte
}

// AppendUnsigned appends what the MAC covers of this message.
func (m *ServerProof) AppendUnsigned(b []byte) []byte {
	b = append(b, byte(TypeServerProof), byte(m.Status))
	b = append(b, m.Nonce[:]...)
	b = append(b, m.SessionID[:]...)
	b = appendU16(b, uint16(len(m.Ext)))
	b = append(b, m.Ext...)
	text := m.Text[:min(len(m.Text), MaxExt)]
	b = appendU16(b, uint16(len(text)))
	return append(b, text...)
}

// Append appends the message.
func (m *ServerProof) Append(b []byte) []byte { return append(m.AppendUnsigned(b), m.MAC[:]...) }

// ParseServerProof parses a payload.
func ParseServerProof(b []byte) (*ServerProof, error) {
	m := new(ServerProof)
	c := cursor{b: b}
	m.Status = Status(c.u8())
	c.fill(m.Nonce[:])
	c.fill(m.SessionID[:])
	n := c.u16()
	if n > MaxExt {
		return nil, malformed("extension of %d bytes", n)
	}
	m.Ext = append(m.Ext, c.take(int(n))...)
	n = c.u16()
	if n > MaxExt {
		return nil, malformed("text of %d bytes", n)
	}
	m.Text = string(c.take(int(n)))
	c.fill(m.MAC[:])
	return m, c.end(TypeServerProof)
}

// refusedText pads TypeRefused to its 64 bytes. It is one constant, so that an answer tells nothing
// about which of its reasons it had.
const refusedText = "rexec/1 refused: no such key, or the proof does not hold...\r\n\r\n"

// Refused is the one unauthenticated answer to a proof that is malformed, unknown or wrong.
type Refused struct{}

// Append appends the message.
func (Refused) Append(b []byte) []byte {
	return append(append(b, byte(TypeRefused)), refusedText...)
}

// ParseRefused accepts the one constant.
func ParseRefused(b []byte) error {
	if string(b) != refusedText {
		return malformed("refusal")
	}
	return nil
}
