// Package proto is the wire: frames, messages and their limits, as PROTOCOL.md beside this file
// describes them.
//
// It turns values into bytes and bytes into values, and nothing else: pure functions over slices, but
// for Reader and Writer, which alone touch io. It knows no sockets, clocks, keys or processes and
// imports the standard library only. Every parser is strict: what it accepts re-encodes to the same
// bytes, and trailing bytes are an error.
package proto

import (
	"errors"
	"fmt"
)

// ALPN is the application protocol that both ends demand of TLS, exactly.
const ALPN = "rexec/1"

// Version is the protocol version spoken after the proof.
const Version = 1

// Transports, as named in a client's proof.
const (
	TransportTCP  uint8 = 1
	TransportQUIC uint8 = 2
)

// Type is the first byte of every message.
type Type uint8

// The messages. C is the client, S the server. Values are frozen by a test.
const (
	TypeClientProof Type = 0x01 // C: version, transport, server ID, key ID, nonce, ext, MAC
	TypeServerProof Type = 0x02 // S: status, nonce, session ID, ext, text, MAC
	TypeRefused     Type = 0x03 // S: 63 constant bytes

	TypeRun     Type = 0x10 // C: fields
	TypeStarted Type = 0x11 // S: fields
	TypeStdout  Type = 0x12 // S: u64 offset, bytes
	TypeStderr  Type = 0x13 // S: u64 offset, bytes
	TypeStdin   Type = 0x14 // C: u64 offset, bytes
	TypeEOF     Type = 0x15 // C: u64 length of stdin
	TypeAck     Type = 0x16 // both: u8 stream, u64 offset, u32 window
	TypeSignal  Type = 0x17 // C: name
	TypeWindow  Type = 0x18 // C: u16 rows, columns, width, height
	TypeExit    Type = 0x19 // S: fields
	TypeError   Type = 0x1a // S: u16 code, text
	TypePing    Type = 0x1b // both: u64 token
	TypePong    Type = 0x1c // both: u64 token, u64 uptime

	TypeStdoutText Type = 0x1d // S: u64 offset, u32 length, 16 bytes of state, text
	TypeStderrText Type = 0x1e // S: u64 offset, u32 length, 16 bytes of state, text
)

// Ignorable marks types that a peer who does not know them skips; any other unknown type is an error.
const Ignorable Type = 0x80

// name is the message's name; empty for a type that is not defined.
func (t Type) name() string {
	switch t {
	case TypeClientProof:
		return "client proof"
	case TypeServerProof:
		return "server proof"
	case TypeRefused:
		return "refused"
	case TypeRun:
		return "run"
	case TypeStarted:
		return "started"
	case TypeStdout:
		return "stdout"
	case TypeStderr:
		return "stderr"
	case TypeStdin:
		return "stdin"
	case TypeEOF:
		return "end of stdin"
	case TypeAck:
		return "ack"
	case TypeSignal:
		return "signal"
	case TypeWindow:
		return "window size"
	case TypeExit:
		return "exit"
	case TypeError:
		return "error"
	case TypePing:
		return "ping"
	case TypePong:
		return "pong"
	case TypeStdoutText:
		return "stdout text"
	case TypeStderrText:
		return "stderr text"
	}
	return ""
}

// String is the message's name in errors and logs.
func (t Type) String() string {
	if s := t.name(); s != "" {
		return s
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

// Known reports whether this version of the protocol defines t.
func (t Type) Known() bool { return t.name() != "" }

// Limits, in bytes of a frame's length field (type byte and payload) unless said otherwise.
const (
	// MaxUnproven bounds a frame before the proof: a proof is at most 2,134 bytes, so this is ample
	// and still nothing that a stranger could fill memory with.
	MaxUnproven = 4 << 10
	// MaxData is the bytes of one data frame and the text of a converted one: larger writes gain
	// nothing in throughput, smaller ones cost a system call and a record each.
	MaxData = 256 << 10
	// MaxRun bounds a request. Linux gives all arguments and the environment a quarter of the stack
	// limit, which is 2 MiB by default; half of it leaves the command room for its own.
	MaxRun = 1 << 20
	// MaxState bounds a shell's state, which is what fits in one argument of execve(2) for each of its variables, and
	// leaves most of a request to the command.
	MaxState = 128 << 10
	// MaxUnread bounds what was typed and nobody has read: twice what a terminal of Linux holds with what is on its way
	// into it.
	MaxUnread = 128 << 10
	// MaxSmall bounds every other message.
	MaxSmall = 64 << 10
	// MaxArgs and MaxEnv bound the counts inside a request, since a count of empty strings costs
	// more memory than its bytes.
	MaxArgs = 65_536
	MaxEnv  = 4_096
	// MaxName bounds the name of an execution (rexec --id), MaxText a reason.
	MaxName = 1_024
	MaxText = 4 << 10
	// maxCharset is longer than any charset's name.
	maxCharset = 32
)

// maxFrame is the largest length that a frame of type t may claim.
func maxFrame(t Type) int {
	switch t {
	case TypeStdin, TypeStdout, TypeStderr:
		return 1 + 8 + MaxData
	case TypeStdoutText, TypeStderrText:
		return 1 + textHeader + MaxData
	case TypeRun:
		return 1 + MaxRun
	case TypeExit:
		return MaxSmall + MaxState + MaxUnread
	default:
		return MaxSmall
	}
}

// ErrMalformed is wrapped by every error of a parser: the bytes are not of the message's form.
var ErrMalformed = errors.New("malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
