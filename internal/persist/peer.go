//go:build unix

package persist

import (
	"context"
	"errors"
	"net"
	"os"

	"rexec/internal/unixsock"
)

var errUser = errors.New("another user's process is at the other end of the socket, so it is not used")

// samePeer is an error unless the other end is a process of this user's.
func samePeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	var asked error
	if err := raw.Control(func(fd uintptr) { uid, asked = peerUID(int(fd)) }); err != nil {
		return err
	}
	if asked != nil {
		return asked
	}
	if uid != os.Geteuid() {
		return errUser
	}
	return nil
}

// listener is the process that listens at a socket of this user's; 0 if nobody does, or it cannot be told.
func listener(ctx context.Context, path string) (pid int) {
	c, err := unixsock.Dial(ctx, path)
	if err != nil {
		return 0
	}
	defer c.Close()
	conn := c.(*net.UnixConn)
	raw, err := conn.SyscallConn()
	if err != nil || samePeer(conn) != nil {
		return 0
	}
	if raw.Control(func(fd uintptr) { pid = peerPID(int(fd)) }) != nil {
		return 0
	}
	return pid
}
