package proto

// Offer is the extension of a client's proof.
type Offer struct {
	MinVersion, MaxVersion uint8  // range of protocol versions; both 0 if absent
	Target                 string // the address as typed, for the server's log
	Extra                  []Field
}

// Choice is the extension of a server's proof.
type Choice struct {
	Version  uint8       // chosen protocol version
	Instance [IDLen]byte // made anew at each start of the daemon; jobs in memory live as long as it
	Uptime   uint64      // milliseconds since that start, at the time of this proof
	Retain   uint64      // milliseconds for which the daemon remembers an ended execution
	Extra    []Field
}

const (
	offerVersions uint16 = 1
	offerTarget   uint16 = 2

	choiceVersion  uint16 = 1
	choiceInstance uint16 = 2
	choiceUptime   uint16 = 3
	choiceRetain   uint16 = 4
)

// Append appends the extension, which the proof holds to MaxExt bytes.
func (m *Offer) Append(b []byte) []byte {
	w := fieldWriter{b: b, extra: m.Extra}
	if m.MaxVersion != 0 {
		w.bytes(offerVersions, []byte{m.MinVersion, m.MaxVersion})
	}
	w.text(offerTarget, m.Target)
	return w.end()
}

// ParseOffer parses a client's extension; an empty one is an offer of nothing.
func ParseOffer(b []byte) (*Offer, error) {
	m := new(Offer)
	var err error
	m.Extra, err = parseOwnFields(TypeClientProof, b, func(f Field) (bool, error) {
		var err error
		switch f.Tag {
		case offerVersions:
			var v [2]byte
			if err = f.fixed(v[:]); err == nil && v[1] == 0 {
				err = malformed("version 0")
			} else if err == nil && v[0] > v[1] {
				err = malformed("versions %d to %d", v[0], v[1])
			}
			m.MinVersion, m.MaxVersion = v[0], v[1]
		case offerTarget:
			m.Target, err = f.text(512)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}

// Append appends the extension.
func (m *Choice) Append(b []byte) []byte {
	w := fieldWriter{b: b, extra: m.Extra}
	w.u64(choiceVersion, uint64(m.Version))
	if m.Instance != [IDLen]byte{} {
		w.bytes(choiceInstance, m.Instance[:])
	}
	w.u64(choiceUptime, m.Uptime)
	w.u64(choiceRetain, m.Retain)
	return w.end()
}

// ParseChoice parses a server's extension.
func ParseChoice(b []byte) (*Choice, error) {
	m := new(Choice)
	var err error
	m.Extra, err = parseOwnFields(TypeServerProof, b, func(f Field) (bool, error) {
		var err error
		switch f.Tag {
		case choiceVersion:
			var v uint64
			if v, err = f.u64(); err == nil && v > 255 {
				err = malformed("version %d", v)
			}
			m.Version = uint8(v)
		case choiceInstance:
			if err = f.fixed(m.Instance[:]); err == nil && m.Instance == [IDLen]byte{} {
				err = malformed("zero instance")
			}
		case choiceUptime:
			m.Uptime, err = f.u64()
		case choiceRetain:
			m.Retain, err = f.u64()
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}
