package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// groReads is how many buffers are filled by one system call, each with up to groBuffer bytes of
	// packets of one sender.
	groReads  = 4
	groBuffer = 64 << 10
	// groControl has room for what the kernel says beside a packet: GRO, ECN and the address it came to.
	groControl = 128
)

// groConn is a UDP socket that takes many packets of one sender in one piece (UDP_GRO, udp(7)) and hands
// them to quic-go one by one. quic-go knows only the other direction, and the kernel's way of cutting
// them apart costs more than all the rest of receiving.
type groConn struct {
	*net.UDPConn
	socket *ipv4.PacketConn // for IPv6, too

	// Of the one goroutine that reads.
	pieces []ipv4.Message // as the kernel filled them
	n, at  int            // how many are filled, and which one is being cut
	offset int            // in it
}

// coalescing makes a socket take packets in pieces. The error says why it does not; the socket works as it is.
func coalescing(udp *net.UDPConn) (net.PacketConn, error) {
	rc, err := udp.SyscallConn()
	if err != nil {
		return udp, err
	}
	var optErr error
	err = rc.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	if err == nil {
		err = optErr
	}
	if err != nil {
		return udp, fmt.Errorf("the kernel does not join small packets (GRO, udp(7)): %w", err)
	}
	c := &groConn{UDPConn: udp, socket: ipv4.NewPacketConn(udp), pieces: make([]ipv4.Message, groReads)}
	for i := range c.pieces {
		c.pieces[i].Buffers = [][]byte{make([]byte, groBuffer)}
		c.pieces[i].OOB = make([]byte, groControl)
	}
	return c, nil
}

// WriteMsgUDP takes a packet without a route for one that is lost on the way. A machine that changes its network has
// none for a moment; if that lasts, the silence tells. quic-go would end the connection at once.
func (c *groConn) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = c.UDPConn.WriteMsgUDP(b, oob, to)
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN} {
		if errors.Is(err, e) {
			return len(b), len(oob), nil
		}
	}
	return n, oobn, err
}

// ReadBatch fills messages with one packet each, and returns how many. It is what quic-go reads with
// where a connection has it.
func (c *groConn) ReadBatch(messages []ipv4.Message, flags int) (int, error) {
	if c.at == c.n {
		for i := range c.pieces {
			c.pieces[i].OOB = c.pieces[i].OOB[:groControl]
		}
		n, err := c.socket.ReadBatch(c.pieces, flags)
		c.n, c.at, c.offset = max(n, 0), 0, 0
		if err != nil {
			c.n = 0
			return 0, err
		}
	}
	filled := 0
	for ; filled < len(messages) && c.at < c.n; filled++ {
		c.cut(&messages[filled])
	}
	return filled, nil
}

// cut moves the next packet into a message.
func (c *groConn) cut(m *ipv4.Message) {
	piece := &c.pieces[c.at]
	control := piece.OOB[:piece.NN]
	data := piece.Buffers[0][c.offset:piece.N]
	if size := segmentSize(control); size > 0 && size < len(data) {
		data = data[:size]
	}
	m.N = copy(m.Buffers[0], data)
	m.NN = copy(m.OOB[:cap(m.OOB)], control)
	m.Addr, m.Flags = piece.Addr, piece.Flags
	if c.offset += len(data); c.offset >= piece.N {
		c.at, c.offset = c.at+1, 0
	}
}

// segmentSize is the size of the packets in a piece, of which the last one may be smaller; 0 if it is one
// packet.
func segmentSize(control []byte) int {
	for len(control) > 0 {
		h, body, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(body) == 4 {
			return int(binary.NativeEndian.Uint32(body))
		}
		control = rest
	}
	return 0
}
