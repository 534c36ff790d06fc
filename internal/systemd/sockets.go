package systemd

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets are what the service manager listens on in the daemon's place, in the order of the socket
// unit. They belong to the caller.
type Sockets struct {
	TCP []net.Listener
	UDP []*net.UDPConn
}

// None reports whether the service manager has handed over no socket.
func (s Sockets) None() bool { return len(s.TCP)+len(s.UDP) == 0 }

// Close closes what is left in s. The service manager keeps its own copies.
func (s Sockets) Close() {
	for _, l := range s.TCP {
		l.Close()
	}
	for _, c := range s.UDP {
		_ = c.Close()
	}
}

// Inherit takes over the sockets. It can be called once: the environment variables that announce them
// are gone after it. A socket that is neither TCP nor UDP is an error that names it.
//
// The descriptors are read once and sorted by what they are, since activation.Listeners and
// activation.PacketConns each use up all of them.
func Inherit() (Sockets, error) { return sorted(activation.Files(true)) }

// sorted closes files, of which the listeners have copies.
func sorted(files []*os.File) (s Sockets, err error) {
	for _, f := range files {
		if err == nil {
			err = s.add(f)
		}
		f.Close()
	}
	if err != nil {
		s.Close()
		return Sockets{}, err
	}
	return s, nil
}

func (s *Sockets) add(f *os.File) error {
	if waits, err := syscall.GetsockoptInt(int(f.Fd()), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && waits != 0 {
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("taking over the socket %s that was handed over: %w", f.Name(), err)
		}
		if _, ok := l.(*net.TCPListener); ok {
			s.TCP = append(s.TCP, l)
			return nil
		}
		l.Close()
	} else if c, err := net.FilePacketConn(f); err == nil {
		if udp, ok := c.(*net.UDPConn); ok {
			s.UDP = append(s.UDP, udp)
			return nil
		}
		_ = c.Close()
	}
	return fmt.Errorf("%s, which was handed over, is no socket to listen on: want ListenStream= and ListenDatagram= "+
		"with a port, and Accept=no", f.Name())
}
