package classic

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// poll asks the kernel about a connection without reading from it; 0 if that cannot be.
func poll(c net.Conn, events int16) int16 {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	fds := []unix.PollFd{{Events: events}}
	_ = rc.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, _ = unix.Poll(fds, 0)
	})
	return fds[0].Revents
}

// What of a connection is closed, however much lies there unread.
const (
	itsSide = 1 + iota
	bothSides
)

func closed(c net.Conn) int {
	switch events := poll(c, unix.POLLRDHUP); {
	case events&(unix.POLLHUP|unix.POLLERR) != 0:
		return bothSides
	case events&unix.POLLRDHUP != 0:
		return itsSide
	}
	return 0
}
