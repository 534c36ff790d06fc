//go:build unix

package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// readBuffer is the size of a socket's receive buffer, in the bytes that were asked for.
func readBuffer(udp *net.UDPConn) (int, error) {
	rc, err := udp.SyscallConn()
	if err != nil {
		return 0, err
	}
	n := 0
	var optErr error
	err = rc.Control(func(fd uintptr) { n, optErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	if err == nil {
		err = optErr
	}
	return n, err
}
