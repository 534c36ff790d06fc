package proto

// Started answers a Run whose execution exists now: started by it, or found (Attached).
type Started struct {
	PID      uint64 // on the server; 0 if the execution has ended already
	Attached bool   // the execution existed before this request
	// StdinFrom is the offset from which the daemon wants stdin, StdinWindow the bytes that it takes
	// beyond what it has acknowledged.
	StdinFrom, StdinWindow uint64
	// StdoutFrom and StderrFrom are where the output continues. Larger than asked: the bytes between
	// are not held any more.
	StdoutFrom, StderrFrom uint64
	Uptime                 uint64 // of the daemon in milliseconds, as in Choice
	// Banner is a text of the operator's for people, in UTF-8, with the first line of a prompt; shown escaped.
	Banner string
	Extra  []Field
}

const (
	startedPID         uint16 = 1
	startedAttached    uint16 = 2
	startedStdinFrom   uint16 = 3
	startedStdinWindow uint16 = 4
	startedStdoutFrom  uint16 = 5
	startedStderrFrom  uint16 = 6
	startedUptime      uint16 = 7
	startedBanner      uint16 = 8
)

// Append appends the message.
func (m *Started) Append(b []byte) []byte {
	w := fieldWriter{b: append(b, byte(TypeStarted)), extra: m.Extra}
	w.u64(startedPID, m.PID)
	w.flag(startedAttached, m.Attached)
	w.u64(startedStdinFrom, m.StdinFrom)
	w.u64(startedStdinWindow, m.StdinWindow)
	w.u64(startedStdoutFrom, m.StdoutFrom)
	w.u64(startedStderrFrom, m.StderrFrom)
	w.u64(startedUptime, m.Uptime)
	w.text(startedBanner, m.Banner)
	return w.end()
}

// ParseStarted parses a payload.
func ParseStarted(b []byte) (*Started, error) {
	m := new(Started)
	var err error
	m.Extra, err = parseOwnFields(TypeStarted, b, func(f Field) (bool, error) {
		numbers := map[uint16]*uint64{
			startedPID: &m.PID, startedStdinFrom: &m.StdinFrom, startedStdinWindow: &m.StdinWindow,
			startedStdoutFrom: &m.StdoutFrom, startedStderrFrom: &m.StderrFrom, startedUptime: &m.Uptime,
		}
		var err error
		if p, ok := numbers[f.Tag]; ok {
			*p, err = f.u64()
			return true, err
		}
		switch f.Tag {
		case startedAttached:
			m.Attached, err = f.flag()
		case startedBanner:
			m.Banner, err = f.text(MaxText)
		default:
			return false, nil
		}
		return true, err
	})
	return m, err
}
