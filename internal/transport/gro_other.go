//go:build !linux

package transport

import "net"

// coalescing is of Linux only.
func coalescing(udp *net.UDPConn) (net.PacketConn, error) { return udp, nil }
