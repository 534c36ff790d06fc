package proto

// ErrorCode classifies an Error.
type ErrorCode uint16

// The error codes. After any but ErrorIgnored the sender closes the conversation.
const (
	ErrorProtocol  ErrorCode = 1 // the peer sent what the protocol does not allow
	ErrorTakenOver ErrorCode = 2 // another connection attached to the execution
	ErrorShutdown  ErrorCode = 3 // the daemon is going down
	ErrorInternal  ErrorCode = 4
	ErrorRevoked   ErrorCode = 5 // the key is not valid any more
	ErrorIgnored   ErrorCode = 6 // a message had no effect, and the conversation goes on
	ErrorFlood     ErrorCode = 7 // too many messages that move nothing on
)

// Error says why a conversation ends, or that a message was ignored.
type Error struct {
	Code ErrorCode
	Text string // shown escaped
}

// Append appends the message.
func (m *Error) Append(b []byte) []byte {
	b = appendU16(append(b, byte(TypeError)), uint16(m.Code))
	return append(b, m.Text[:min(len(m.Text), MaxText)]...)
}

// ParseError parses a payload.
func ParseError(b []byte) (*Error, error) {
	c := cursor{b: b}
	m := &Error{Code: ErrorCode(c.u16())}
	if c.short {
		return nil, c.end(TypeError)
	}
	if len(c.b) > MaxText {
		return nil, malformed("error text of %d bytes", len(c.b))
	}
	m.Text = string(c.b)
	return m, nil
}

// Error makes the message usable as a Go error.
func (m *Error) Error() string { return "server: " + m.Text }
