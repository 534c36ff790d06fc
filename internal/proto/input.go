package proto

// EOF ends stdin: Length bytes were sent in all.
type EOF struct{ Length uint64 }

// Append appends the message.
func (m EOF) Append(b []byte) []byte { return appendU64(append(b, byte(TypeEOF)), m.Length) }

// ParseEOF parses a payload.
func ParseEOF(b []byte) (EOF, error) {
	c := cursor{b: b}
	m := EOF{Length: c.u64()}
	return m, c.end(TypeEOF)
}

// Signal asks for a signal to the command's whole tree. Names travel rather than numbers, which
// differ between systems: "INT", "TERM", "USR1".
type Signal struct{ Name string }

// maxSignal is longer than any signal's name.
const maxSignal = 16

// Append appends the message.
func (m Signal) Append(b []byte) []byte { return append(append(b, byte(TypeSignal)), m.Name...) }

// ParseSignal parses a payload.
func ParseSignal(b []byte) (Signal, error) {
	if len(b) == 0 || len(b) > maxSignal {
		return Signal{}, malformed("signal name of %d bytes", len(b))
	}
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '-' {
			return Signal{}, malformed("signal name")
		}
	}
	return Signal{Name: string(b)}, nil
}
