//go:build linux

package rexectest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// KeepPort finds a free TCP port of the loopback interface. The file is a socket that only has its number: who connects
// is refused, who listens there may (SO_REUSEADDR, which the listeners of package net have), and nobody is given it who
// asks for any port.
func KeepPort() (*os.File, string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("a socket that keeps a port: %w", err)
	}
	f := os.NewFile(uintptr(fd), "port")
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, nameErr := unix.Getsockname(fd)
	if err := errors.Join(err, nameErr); err != nil {
		f.Close()
		return nil, "", fmt.Errorf("keeping a port: %w", err)
	}
	return f, fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

// NewProxies starts a proxy for TCP and one for UDP on the same port, which end with the test.
func NewProxies(t testing.TB, target string) (*Proxy, *UDPProxy) {
	t.Helper()
	for {
		port, address, err := KeepPort()
		if err != nil {
			t.Fatal(err)
		}
		var lc net.ListenConfig
		udp, err := lc.ListenPacket(t.Context(), "udp4", address)
		if err == nil {
			return newProxy(t, target, port, address), newUDPProxy(t, udp.(*net.UDPConn), target)
		}
		port.Close()
		if !errors.Is(err, unix.EADDRINUSE) { // some program's UDP may have the number that is free for TCP
			t.Fatal(err)
		}
	}
}
