package proto

// Ping asks for a Pong with the same token.
type Ping struct{ Token uint64 }

// Append appends the message.
func (m Ping) Append(b []byte) []byte { return appendU64(append(b, byte(TypePing)), m.Token) }

// ParsePing parses a payload.
func ParsePing(b []byte) (Ping, error) {
	c := cursor{b: b}
	m := Ping{Token: c.u64()}
	return m, c.end(TypePing)
}

// Pong answers a Ping.
type Pong struct {
	Token  uint64
	Uptime uint64 // of the daemon in milliseconds, as in Choice; 0 from a client
}

// Append appends the message.
func (m Pong) Append(b []byte) []byte {
	return appendU64(appendU64(append(b, byte(TypePong)), m.Token), m.Uptime)
}

// ParsePong parses a payload.
func ParsePong(b []byte) (Pong, error) {
	c := cursor{b: b}
	m := Pong{Token: c.u64(), Uptime: c.u64()}
	return m, c.end(TypePong)
}
