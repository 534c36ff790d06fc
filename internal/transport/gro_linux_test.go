package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// TestCoalescing sends packets alone and many at once, from two senders, and demands each as it was, in the
// order of its sender.
func TestCoalescing(t *testing.T) {
	udp := loopback(t)
	pc, err := coalescing(udp)
	if err != nil {
		t.Skip(err)
	}
	senders := []*net.UDPConn{loopback(t), loopback(t)}
	want := map[string][][]byte{}
	send := func(from *net.UDPConn, size, segment int) {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i * 31 >> 3)
		}
		if _, _, err := from.WriteMsgUDP(b, segmented(segment), udp.LocalAddr().(*net.UDPAddr)); err != nil {
			t.Fatal(err)
		}
		name := from.LocalAddr().String()
		for segment > 0 && len(b) > segment {
			want[name] = append(want[name], b[:segment])
			b = b[segment:]
		}
		want[name] = append(want[name], b)
	}
	for i, from := range []int{0, 1, 0, 0, 1} {
		send(senders[from], 5300+i, 1000)
		send(senders[from], 17+i, 0)
		send(senders[from], 0, 0)
		send(senders[from], 1452*20, 1452)
	}
	got := map[string][][]byte{}
	_ = udp.SetReadDeadline(time.Now().Add(10 * time.Second))
	for left := len(want[senders[0].LocalAddr().String()]) + len(want[senders[1].LocalAddr().String()]); left > 0; {
		messages := make([]ipv4.Message, 8)
		for i := range messages {
			messages[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 1500)}, OOB: make([]byte, 128)}
		}
		n, err := pc.(*groConn).ReadBatch(messages, 0)
		if err != nil {
			t.Fatalf("%d packets are missing: %v", left, err)
		}
		left -= n
		for _, m := range messages[:n] {
			got[m.Addr.String()] = append(got[m.Addr.String()], m.Buffers[0][:m.N])
		}
	}
	for name, packets := range want {
		if len(got[name]) != len(packets) {
			t.Fatalf("%d packets of %s, want %d", len(got[name]), name, len(packets))
		}
		for i, p := range packets {
			if !bytes.Equal(got[name][i], p) {
				t.Errorf("packet %d of %s: %d bytes, want %d", i, name, len(got[name][i]), len(p))
			}
		}
	}
}

func loopback(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// segmented is the control message that makes the kernel cut what is written (UDP_SEGMENT, udp(7)).
func segmented(size int) []byte {
	if size == 0 {
		return nil
	}
	b := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

// TestPacketWithoutRoute sends from a network namespace that leads nowhere.
func TestPacketWithoutRoute(t *testing.T) {
	var plain, ours error
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			plain = err
			return
		}
		udp, err := net.ListenUDP("udp", nil)
		if err != nil {
			plain = err
			return
		}
		defer udp.Close()
		to := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}
		_, _, plain = udp.WriteMsgUDP([]byte("x"), nil, to)
		_, _, ours = (&groConn{UDPConn: udp}).WriteMsgUDP([]byte("x"), nil, to)
	})
	wg.Wait()
	switch {
	case errors.Is(plain, unix.EPERM):
		t.Skip("network namespaces need root")
	case !errors.Is(plain, unix.ENETUNREACH):
		t.Fatalf("a plain socket says %v", plain)
	case ours != nil:
		t.Errorf("a packet without a route is not lost, but: %v", ours)
	}
}
