// Package persist keeps an authenticated connection in a background process of the user, from which later
// invocations of the same client get conversations behind the proof, over a Unix socket.
//
// It owns that process: who may ask it, how it is found, started, replaced and ended, and the copying of
// bytes between both sides, which must make nothing of a connection that breaks but a connection that
// breaks. Secrets do not cross the socket. What is said in a conversation it does not know, but for where
// frames begin. It is the client's: it must not import anything of the daemon's.
package persist

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// Target is what a background process holds a connection for. Two invocations share one if all of it is
// equal.
type Target struct {
	Key       auth.ClientKey
	Address   string // host:port
	Transport client.Transport
	Version   string // of the program
}

// ID is the identity of a target: equal for equal ones, and no guide to what it holds.
type ID [sha256.Size]byte

// name is what the target's files are called: short, for there is little room in the path of a socket.
func (id ID) name() string { return hex.EncodeToString(id[:10]) }

// ID returns the identity. A home directory that several machines share holds a process for each of them.
func (t Target) ID() (ID, error) {
	mark, err := t.Key.Mark()
	if err != nil {
		return ID{}, err
	}
	host, _ := os.Hostname()
	h := sha256.New()
	for _, part := range [][]byte{
		[]byte(magic), mark[:], t.Key.Server[:], []byte(t.Key.KeyID), []byte(t.Address),
		{byte(t.Transport), proto.Version}, []byte(t.Version), []byte(host),
	} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(part)))
		h.Write(part)
	}
	return ID(h.Sum(nil)), nil
}

// Why there is no conversation to be had. Nothing was sent to the server then.
var (
	// ErrNone means that there is no background process.
	ErrNone = errors.New("no background process holds a connection")
	// ErrHung means that there is one that does not answer: it is to be replaced.
	ErrHung = errors.New("the background process does not answer")
	// ErrBusy means that there is one that has no conversation free for the moment.
	ErrBusy = errors.New("the background process has no conversation free")
	// ErrUnsupported means that there are none on this system.
	ErrUnsupported = errors.New("background processes that hold connections are not supported on this system")
)
