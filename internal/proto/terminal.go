package proto

// Window is the size of the client's terminal: cells, and pixels where known.
type Window struct{ Rows, Columns, Width, Height uint16 }

// Append appends the message.
func (m Window) Append(b []byte) []byte { return m.appendSize(append(b, byte(TypeWindow))) }

func (m Window) appendSize(b []byte) []byte {
	for _, v := range [...]uint16{m.Rows, m.Columns, m.Width, m.Height} {
		b = appendU16(b, v)
	}
	return b
}

// ParseWindow parses a payload.
func ParseWindow(b []byte) (Window, error) {
	c := cursor{b: b}
	m := c.window()
	return m, c.end(TypeWindow)
}

func (c *cursor) window() Window {
	return Window{Rows: c.u16(), Columns: c.u16(), Width: c.u16(), Height: c.u16()}
}

// Mode is one setting of a terminal with the opcode that RFC 4254 (section 8) gives it: a special
// character, of which 255 means that there is none, or a flag, 0 or 1.
type Mode struct {
	Opcode uint8
	Value  uint32
}

// maxOpcode is the largest opcode that has an argument (RFC 4254 8); a mode takes five bytes.
const (
	maxOpcode = 159
	modeLen   = 5
)

// maxTerminal is longer than the name of any terminal, in bytes.
const maxTerminal = 128

// validTerminal keeps what is not the name of any terminal away from programs that look it up as a file.
func validTerminal(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return len(name) <= maxTerminal && (len(name) == 0 || name[0] != '.')
}

func (w *fieldWriter) window(tag uint16, v Window) {
	if v != (Window{}) {
		w.bytes(tag, v.appendSize(nil))
	}
}

func (w *fieldWriter) modes(tag uint16, modes []Mode) {
	b := make([]byte, 0, modeLen*len(modes))
	for _, m := range modes {
		b = appendU32(append(b, m.Opcode), m.Value)
	}
	w.bytes(tag, b)
}

func (f Field) window() (v Window, err error) {
	c := cursor{b: f.Value}
	if v = c.window(); c.short || len(c.b) > 0 {
		return v, malformed("field 0x%04x has %d bytes, want 8", f.Tag, len(f.Value))
	}
	if v == (Window{}) {
		err = malformed("field 0x%04x is zero", f.Tag)
	}
	return v, err
}

// modes reads opcodes in ascending order, each once. There is no limit besides: those are 159.
func (f Field) modes() ([]Mode, error) {
	if len(f.Value) == 0 || len(f.Value)%modeLen != 0 {
		return nil, malformed("field 0x%04x has %d bytes, want 5 for each mode", f.Tag, len(f.Value))
	}
	c := cursor{b: f.Value}
	var modes []Mode
	last := uint8(0)
	for len(c.b) > 0 {
		m := Mode{Opcode: c.u8(), Value: c.u32()}
		if m.Opcode <= last || m.Opcode > maxOpcode {
			return nil, malformed("field 0x%04x: mode %d out of order", f.Tag, m.Opcode)
		}
		last = m.Opcode
		modes = append(modes, m)
	}
	return modes, nil
}
