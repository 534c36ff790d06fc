package persist

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// What is said on the Unix socket. The invocation begins:
//
//	magic(8) op(1) identity(32) idle(8, milliseconds)
//
// and the background process answers:
//
//	magic(8) status(1) pid(4) transport(1) uptime(8) age(8) length(2) choice
//
// where choice is the extension of the server's proof (PROTOCOL.md), and age tells how many milliseconds ago
// the daemon had that uptime. After the status ready the conversation with the server follows in both
// directions, frame by frame, in the client's with one frame more at its end: bye. Without it the client was
// lost, and its conversation with the server is broken off. Numbers are big-endian.
const (
	magic     = "rexecbg1"
	helloLen  = len(magic) + 1 + len(ID{}) + 8
	headerLen = len(magic) + 1 + 4 + 1 + 8 + 8 + 2
)

// op is what an invocation asks for.
type op uint8

const (
	opUse   op = 1 // a conversation
	opCheck op = 2 // whether there is a process
	opStop  op = 3 // to take nobody any more, and to end with the last conversation
	opExit  op = 4 // to end now
)

type status uint8

const (
	statusReady status = 1
	statusBusy  status = 2 // no conversation is free
	statusOther status = 3 // it is for another target
)

// typeBye is a frame of the client's that never reaches the server, with one byte: what becomes of the
// conversation. Frames of the protocol have other types.
const typeBye proto.Type = 0x7f

const (
	byeEnd   = 0 // it ends in order
	byeReuse = 1 // somebody else may have it
)

// byeLen is the whole frame.
const byeLen = frameHead + 1

// frameHead is what a frame begins with: its length and its type.
const frameHead = 5

func appendBye(b []byte, what byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, 2), byte(typeBye), what)
}

type hello struct {
	op   op
	id   ID
	idle time.Duration
}

func (h hello) append(b []byte) []byte {
	b = append(append(append(b, magic...), byte(h.op)), h.id[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(h.idle.Milliseconds()))
}

var errForeign = errors.New("something else than a background process of this version is there")

func readHello(r io.Reader) (hello, error) {
	var h hello
	b := make([]byte, helloLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, err
	}
	if string(b[:len(magic)]) != magic {
		return h, errForeign
	}
	b = b[len(magic):]
	h.op = op(b[0])
	copy(h.id[:], b[1:])
	idle := binary.BigEndian.Uint64(b[1+len(h.id):])
	h.idle = time.Duration(min(idle, uint64(maxIdle.Milliseconds()))) * time.Millisecond
	return h, nil
}

// maxIdle bounds what an idle time may be.
const maxIdle = 365 * 24 * time.Hour

type header struct {
	status status
	pid    int
	kind   uint8
	uptime uint64
	age    time.Duration
	choice *proto.Choice // nil without a conversation
}

func (h header) append(b []byte) []byte {
	b = append(append(b, magic...), byte(h.status))
	b = append(binary.BigEndian.AppendUint32(b, uint32(h.pid)), h.kind)
	b = binary.BigEndian.AppendUint64(b, h.uptime)
	b = binary.BigEndian.AppendUint64(b, uint64(h.age.Milliseconds()))
	var choice []byte
	if h.choice != nil {
		choice = h.choice.Append(nil)
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(choice))), choice...)
}

func readHeader(r io.Reader) (header, error) {
	var h header
	b := make([]byte, headerLen)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, err
	}
	if string(b[:len(magic)]) != magic {
		return h, errForeign
	}
	b = b[len(magic):]
	h.status, h.pid, h.kind = status(b[0]), int(binary.BigEndian.Uint32(b[1:])), b[5]
	h.uptime = binary.BigEndian.Uint64(b[6:])
	h.age = time.Duration(min(binary.BigEndian.Uint64(b[14:]), uint64(maxIdle.Milliseconds()))) * time.Millisecond
	n := binary.BigEndian.Uint16(b[22:])
	if h.status != statusReady {
		return h, nil
	}
	if n > proto.MaxExt {
		return h, errForeign
	}
	choice := make([]byte, n)
	if _, err := io.ReadFull(r, choice); err != nil {
		return h, err
	}
	var err error
	h.choice, err = proto.ParseChoice(choice)
	return h, err
}

// proven is the conversation that a header introduces.
func (h header) proven(ch client.Channel) *client.Proven {
	return &client.Proven{Channel: ch, Choice: h.choice, Uptime: h.uptime, Told: time.Now().Add(-h.age)}
}
