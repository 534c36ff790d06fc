package proto

import "fmt"

// State is how an execution ended.
type State uint8

// The states of an exit record.
const (
	StateExited   State = 1 // Code is the command's own
	StateSignaled State = 2 // Signal ended it; nobody of ours sent it on purpose
	StateTimeout  State = 3 // its time was up and the daemon ended the tree
	StateKilled   State = 4 // the daemon ended the tree: client gone, key revoked, shutdown
	StateLost     State = 5 // it may have run; its outcome is unknown
	StateRefused  State = 6 // it was not started
)

// String is the state's name in machine-readable records.
func (s State) String() string {
	switch s {
	case StateExited:
		return "exited"
	case StateSignaled:
		return "signaled"
	case StateTimeout:
		return "timeout"
	case StateKilled:
		return "killed"
	case StateLost:
		return "lost"
	case StateRefused:
		return "refused"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Cause classifies a refusal or a loss for programs; Reason says it to people.
type Cause uint8

// The causes.
const (
	CauseNone        Cause = 0
	CauseInvalid     Cause = 1  // the request makes no sense
	CausePolicy      Cause = 2  // the key may not do this
	CauseNotFound    Cause = 3  // no such program
	CauseCannotExec  Cause = 4  // the program is there and cannot be executed
	CauseDirectory   Cause = 5  // the working directory cannot be entered
	CauseAccount     Cause = 6  // the account cannot be used
	CauseConflict    Cause = 7  // the execution ID stands for another command
	CauseUnknown     Cause = 8  // nothing is known of the execution
	CauseShutdown    Cause = 9  // the daemon is going down
	CauseLimit       Cause = 10 // a limit of the server
	CauseUnsupported Cause = 11
	CauseInternal    Cause = 12
	CauseClientGone  Cause = 13 // killed: the client did not come back
	CauseRevoked     Cause = 14 // killed: the key is not valid any more
	CauseMemory      Cause = 15 // the kernel ended processes of it for lack of memory; in any state in which it ran
)

// String is the cause's name in counts and for people.
func (c Cause) String() string {
	names := [...]string{"none", "invalid", "policy", "not_found", "cannot_exec", "directory", "account", "conflict",
		"unknown", "shutdown", "limit", "unsupported", "internal", "client_gone", "revoked", "memory"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("cause %d", uint8(c))
}

// Exit is the exit record: the one message that says how an execution ended. It follows the last
// byte of its output.
type Exit struct {
	State  State
	Code   uint8  // what a client exits with; 128+n after signal n
	Signal string // name without SIG, as in "KILL"
	Cause  Cause
	Reason string // why it was refused, killed or lost, or what the cause means; shown escaped

	Start, End           int64  // Unix time in nanoseconds; 0 if it never started
	UserTime, SystemTime uint64 // CPU time in microseconds, of all its processes where the server can tell
	MaxRSS               uint64 // the most memory in bytes: of all its processes together or of one, as the server can tell
	StdinBytes           uint64 // that the command took
	StdoutBytes          uint64
	StderrBytes          uint64
	CoreDumped           bool
	Truncated            bool // output was lost, and how much cannot be told from the offsets
	Background           bool // a child in the background still held the output at the end
	Replayed             bool // the record of an earlier request with the same ID; no output follows

	// ShellState is what a Run with Lasting ended with, see ParseState; empty: it did not say. It is there with
	// StateRefused, too, if the directory of Run.State is gone: what to go on with instead.
	ShellState         []byte
	ShellStateTooLarge bool // it has more than MaxState bytes or MaxEnv variables, and is not told

	// Unread is what a Run with Lasting leaves in its terminal that nobody has read, as the terminal has made it of the
	// last bytes of stdin. StdinBytes is without as many.
	Unread []byte

	// Charset and ConvertedLines are about the conversation in which the record is sent, not about the
	// execution.
	Charset        string // what the output was taken for: "utf-8", "gbk", "gb18030", "raw"; empty: not converted
	ConvertedLines uint64
	Extra          []Field
}

const (
	exitState      uint16 = 1
	exitCode       uint16 = 2
	exitSignal     uint16 = 3
	exitCause      uint16 = 4
	exitReason     uint16 = 5
	exitStart      uint16 = 6
	exitEnd        uint16 = 7
	exitUser       uint16 = 8
	exitSystem     uint16 = 9
	exitMaxRSS     uint16 = 10
	exitStdin      uint16 = 11
	exitStdout     uint16 = 12
	exitStderr     uint16 = 13
	exitCore       uint16 = 14
	exitTruncated  uint16 = 15
	exitBackground uint16 = 16
	exitReplayed   uint16 = 17
	exitCharset    uint16 = 18
	exitConverted  uint16 = 19
	exitShellState uint16 = 20
	exitTooLarge   uint16 = 21
	exitUnread     uint16 = 22
)

// Append appends the message.
func (m *Exit) Append(b []byte) []byte {
	w := fieldWriter{b: append(b, byte(TypeExit)), extra: m.Extra}
	w.u64(exitState, uint64(m.State))
	w.u64(exitCode, uint64(m.Code))
	w.text(exitSignal, m.Signal)
	w.u64(exitCause, uint64(m.Cause))
	w.text(exitReason, m.Reason[:min(len(m.Reason), MaxText)])
	w.u64(exitStart, uint64(m.Start))
	w.u64(exitEnd, uint64(m.End))
	w.u64(exitUser, m.UserTime)
	w.u64(exitSystem, m.SystemTime)
	w.u64(exitMaxRSS, m.MaxRSS)
	w.u64(exitStdin, m.StdinBytes)
	w.u64(exitStdout, m.StdoutBytes)
	w.u64(exitStderr, m.StderrBytes)
	w.flag(exitCore, m.CoreDumped)
	w.flag(exitTruncated, m.Truncated)
	w.flag(exitBackground, m.Background)
	w.flag(exitReplayed, m.Replayed)
	w.text(exitCharset, m.Charset)
	w.u64(exitConverted, m.ConvertedLines)
	w.bytes(exitShellState, m.ShellState)
	w.flag(exitTooLarge, m.ShellStateTooLarge)
	w.bytes(exitUnread, m.Unread)
	return w.end()
}

// ParseExit parses a payload. A record without a known state is an error: an outcome that this
// client cannot name must not pass for one that it can.
func ParseExit(b []byte) (*Exit, error) {
	m := new(Exit)
	var err error
	m.Extra, err = parseOwnFields(TypeExit, b, func(f Field) (bool, error) {
		if known, err := m.setNumber(f); known {
			return true, err
		}
		return m.setOther(f)
	})
	if err == nil && (m.State < StateExited || m.State > StateRefused) {
		err = malformed("exit record of %s", m.State)
	}
	if err == nil && m.Code == 0 && m.State != StateExited {
		err = malformed("exit record: %s with code 0", m.State)
	}
	return m, err
}

func (m *Exit) setNumber(f Field) (known bool, err error) {
	var v uint64
	small := func(dst *uint8) {
		if v > 255 {
			err = malformed("field 0x%04x is %d", f.Tag, v)
		}
		*dst = uint8(v)
	}
	if f.Tag == exitState || f.Tag == exitCode || f.Tag == exitCause || f.Tag == exitConverted ||
		(f.Tag >= exitStart && f.Tag <= exitStderr) {
		if v, err = f.u64(); err != nil {
			return true, err
		}
	}
	switch f.Tag {
	case exitState:
		small((*uint8)(&m.State))
	case exitCode:
		small(&m.Code)
	case exitCause:
		small((*uint8)(&m.Cause))
	case exitStart:
		m.Start = int64(v)
	case exitEnd:
		m.End = int64(v)
	case exitUser:
		m.UserTime = v
	case exitSystem:
		m.SystemTime = v
	case exitMaxRSS:
		m.MaxRSS = v
	case exitStdin:
		m.StdinBytes = v
	case exitStdout:
		m.StdoutBytes = v
	case exitStderr:
		m.StderrBytes = v
	case exitConverted:
		m.ConvertedLines = v
	default:
		return false, nil
	}
	return true, err
}

func (m *Exit) setOther(f Field) (known bool, err error) {
	switch f.Tag {
	case exitSignal:
		if m.Signal, err = f.text(maxSignal); err == nil {
			_, err = ParseSignal(f.Value)
		}
	case exitReason:
		m.Reason, err = f.text(MaxText)
	case exitCore:
		m.CoreDumped, err = f.flag()
	case exitTruncated:
		m.Truncated, err = f.flag()
	case exitBackground:
		m.Background, err = f.flag()
	case exitReplayed:
		m.Replayed, err = f.flag()
	case exitShellState:
		m.ShellState, err = f.bytes(MaxState)
	case exitTooLarge:
		m.ShellStateTooLarge, err = f.flag()
	case exitUnread:
		m.Unread, err = f.bytes(MaxUnread)
	case exitCharset:
		m.Charset, err = f.text(maxCharset)
	default:
		return false, nil
	}
	return true, err
}
