//go:build !unix

package transport

import (
	"errors"
	"net"
)

// readBuffer cannot be asked here.
func readBuffer(*net.UDPConn) (int, error) { return 0, errors.ErrUnsupported }
