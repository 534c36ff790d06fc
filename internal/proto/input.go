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

// Window is the size of the client's terminal: cells, and pixels where known.
type Window struct{ Rows, Columns, Width, Height uint16 }

// Append appends the message.
func (m Window) Append(b []byte) []byte {
	b = append(b, byte(TypeWindow))
	for _, v := range [...]uint16{m.Rows, m.Columns, m.Width, m.Height} {
		b = appendU16(b, v)
	}
	return b
}

// ParseWindow parses a payload.
func ParseWindow(b []byte) (Window, error) {
	c := cursor{b: b}
	m := Window{Rows: c.u16(), Columns: c.u16(), Width: c.u16(), Height: c.u16()}
	return m, c.end(TypeWindow)
}
