package transport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
)

// KindQUIC is QUIC, of which one bidirectional stream is one connection here.
const KindQUIC Kind = 2

const (
	// quicKeepAlive holds the mappings of NATs open (RFC 4787 REQ-5 wants two minutes of them, many forget a
	// UDP flow after half a minute). More than half of quicIdle it cannot be.
	quicKeepAlive = 15 * time.Second
	// quicIdle is when a silent peer is given up: unlike TCP, UDP does not tell that the program at the other
	// end was killed. A command goes on over the next connection.
	quicIdle = 30 * time.Second
	// quicHandshake bounds a handshake; quic-go gives up at twice this.
	quicHandshake = 5 * time.Second
	// A peer that has not proved itself can fill no more than these. They grow while data is taken.
	firstStreamWindow = 64 << 10
	firstConnWindow   = 128 << 10
	maxStreamWindow   = 16 << 20
	maxConnWindow     = 24 << 20
	// maxStreams bounds the commands that run over one connection at a time.
	maxStreams = 128
	// socketBuffer is what a fast link needs of a UDP socket (quic-go's wiki, "UDP Buffer Sizes").
	socketBuffer = 7 << 20
)

// Codes with which a connection or a stream is closed.
const (
	quicDone    = 0 // everything was said
	quicAborted = 1 // something is missing
)

func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: quicHandshake, MaxIdleTimeout: quicIdle,
		InitialStreamReceiveWindow: firstStreamWindow, InitialConnectionReceiveWindow: firstConnWindow,
		MaxStreamReceiveWindow: maxStreamWindow, MaxConnectionReceiveWindow: maxConnWindow,
		MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: -1,
	}
}

// newTransport is quic-go's over a socket. It asks the kernel for buffers of socketBuffer itself, but
// would write to the standard logger, which is nobody's here, when it gets less.
//
// The error says why receiving is slower than it could be; the transport works.
func newTransport(udp *net.UDPConn) (*quic.Transport, error) {
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	conn, err := coalescing(udp)
	return &quic.Transport{Conn: conn}, err
}

// smallBuffer says what is wrong with the receive buffer of a socket that is in use; nil if nothing is.
func smallBuffer(udp *net.UDPConn) error {
	got, err := readBuffer(udp)
	if err != nil || got >= socketBuffer {
		return nil //nolint:nilerr // what cannot be asked cannot be told
	}
	return fmt.Errorf("the UDP receive buffer is %d KiB; for fast links raise it: sysctl -w net.core.rmem_max=%d",
		got>>10, socketBuffer)
}

// shared is one QUIC connection. On the side that dialled it ends with the last of its streams, on the
// other one so does a stranger's; that of a peer who was admitted may be without a stream for a moment.
type shared struct {
	*quic.Conn
	alpn    string
	client  bool
	streams atomic.Int64
	torn    atomic.Bool // a stream was aborted, which the end of the connection overtakes
	end     func()      // frees the socket; nil on the side that listens
	peerKey [sha256.Size]byte

	// Of the side that listens.
	proved  context.CancelFunc         // ends guard
	guarded chan struct{}              // closed when guard has ended
	idle    atomic.Pointer[time.Timer] // ends it when it is without a stream; nil until the peer is admitted
}

const (
	// betweenStreams is how long a connection may stay without a stream.
	betweenStreams = 10 * time.Second
	// farewell is what a stranger gets to read the last answer: the end of a connection overtakes it.
	farewell = time.Second
)

// guard ends a connection whose peer opens a second stream before it has proved itself, or does not prove
// itself within ctx.
func (s *shared) guard(ctx context.Context) {
	defer close(s.guarded)
	_, err := s.AcceptStream(ctx)
	switch {
	case err == nil:
		_ = s.CloseWithError(quicAborted, "a second stream before the proof")
	case errors.Is(err, context.DeadlineExceeded):
		_ = s.CloseWithError(quicAborted, "no proof in time")
	}
}

// closeWith ends the connection.
func (s *shared) closeWith(code quic.ApplicationErrorCode) {
	_ = s.CloseWithError(code, "")
	if s.end != nil {
		s.end()
	}
}

// QUICConn is one stream of a QUIC connection.
type QUICConn struct {
	*quic.Stream
	shared *shared
	once   sync.Once
	vec    []byte // of WriteVec, never much
	// writing counts the writes that go on, after which the stream cannot end in order.
	writing atomic.Int32
	wrote   atomic.Bool // anything at all
}

func newQUICConn(s *shared, st *quic.Stream) *QUICConn {
	s.streams.Add(1)
	return &QUICConn{Stream: st, shared: s}
}

// Kind says what carries the connection.
func (c *QUICConn) Kind() Kind { return KindQUIC }

// PeerKey is as of Conn.
func (c *QUICConn) PeerKey() [sha256.Size]byte { return c.shared.peerKey }

// LocalAddr is this side's address.
func (c *QUICConn) LocalAddr() net.Addr { return c.shared.LocalAddr() }

// RemoteAddr is the peer's address as it is now: it changes when the peer moves to another network.
func (c *QUICConn) RemoteAddr() net.Addr { return c.shared.RemoteAddr() }

// Bind returns the channel binding of the connection, which is the same for all of its streams. The
// handshake is complete when there is a stream.
func (c *QUICConn) Bind(ctx context.Context) (binding [32]byte, err error) {
	select {
	case <-c.shared.HandshakeComplete():
	case <-ctx.Done():
		return binding, ctx.Err()
	case <-c.shared.Context().Done():
		return binding, context.Cause(c.shared.Context())
	}
	state := c.shared.ConnectionState()
	if state.Used0RTT {
		return binding, errors.New("QUIC data came before the handshake, which is never offered")
	}
	return bind(state.TLS, c.shared.alpn)
}

// Read reads from the stream. The end of the stream, and the peer's orderly end of the connection, are
// io.EOF: both are authenticated.
func (c *QUICConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	var app *quic.ApplicationError
	switch {
	case !errors.As(err, &app):
	case app.Remote && app.ErrorCode == quicDone:
		err = io.EOF
	case !app.Remote && app.ErrorMessage != "": // what guard says; quic-go's error is also a net.ErrClosed
		err = errors.New(app.ErrorMessage)
	}
	return n, err
}

// Write writes to the stream. It is not done when the peer has the bytes, nor are they lost when the
// stream is closed behind it.
func (c *QUICConn) Write(p []byte) (int, error) {
	c.wrote.Store(true)
	c.writing.Add(1)
	defer c.writing.Add(-1)
	return c.Stream.Write(p)
}

// joined is the largest body in bytes that WriteVec copies behind its head. It fills a few packets; behind a
// larger one a small packet more makes no difference, and an idle connection would keep the copy's memory.
const joined = 4 << 10

// WriteVec writes head and body as one.
func (c *QUICConn) WriteVec(head, body []byte) (int, error) {
	c.writing.Add(1) // also between the two
	defer c.writing.Add(-1)
	if len(body) <= joined {
		c.vec = append(append(c.vec[:0], head...), body...)
		return c.Write(c.vec)
	}
	n, err := c.Write(head)
	if err != nil {
		return n, err
	}
	m, err := c.Write(body)
	return n + m, err
}

// CloseWrite ends this side's half of the stream.
func (c *QUICConn) CloseWrite() error { return c.Stream.Close() }

// Close ends both halves of the stream, and with the last one the connection. Under a write that goes on
// it is Abort: the peer would take what it has for everything.
func (c *QUICConn) Close() error {
	if c.writing.Load() > 0 {
		c.Abort()
		return nil
	}
	c.once.Do(func() {
		_ = c.Stream.Close()
		c.CancelRead(quicDone)
		c.leave(quicDone)
	})
	return nil
}

// Abort is Close without a good-bye: the peer cannot take it for an orderly end.
func (c *QUICConn) Abort() {
	c.once.Do(func() {
		c.CancelWrite(quicAborted)
		c.CancelRead(quicAborted)
		c.shared.torn.Store(true)
		c.leave(quicAborted)
	})
}

// Admit says that the peer has proved itself: from now on its connection may carry further streams. It
// is called before the peer is told so, once, on the side that listens.
func (c *QUICConn) Admit() {
	s := c.shared
	s.proved()
	<-s.guarded
	idle := time.AfterFunc(betweenStreams, func() {
		if s.streams.Load() == 0 {
			s.closeWith(quicDone)
		}
	})
	s.idle.Store(idle)
	context.AfterFunc(s.Context(), func() { idle.Stop() }) // it holds on to all of the connection
}

// Expel ends the connection, with all of its streams.
func (c *QUICConn) Expel() { c.shared.closeWith(quicAborted) }

func (c *QUICConn) leave(code quic.ApplicationErrorCode) {
	s := c.shared
	if s.streams.Add(-1) > 0 {
		return
	}
	if s.torn.Load() {
		code = quicAborted
	}
	idle := s.idle.Load()
	switch {
	case s.Context().Err() != nil: // it is over, and no timer may hold on to it
		s.closeWith(code)
	case idle != nil:
		idle.Reset(betweenStreams)
	case s.client || code != quicDone || !c.wrote.Load():
		s.closeWith(code)
	default:
		time.AfterFunc(farewell, func() { s.closeWith(code) })
	}
}

// Quiet is as of Conn, but for a moment that it waits: behind a deadline that has passed, quic-go does
// not look for data.
func (c *QUICConn) Quiet() bool {
	const moment = 100 * time.Microsecond
	if c.shared.Context().Err() != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(moment))
	defer c.SetReadDeadline(time.Time{}) //nolint:errcheck // it never fails
	n, err := c.Peek(make([]byte, 1))
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
}

// OpenStream opens a further stream of the connection. What the first one has proved holds for it.
func (c *QUICConn) OpenStream(ctx context.Context) (*QUICConn, error) {
	st, err := c.shared.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return newQUICConn(c.shared, st), nil
}

// AcceptStream waits for a further stream that the peer opens.
func (c *QUICConn) AcceptStream(ctx context.Context) (net.Conn, error) {
	st, err := c.shared.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return newQUICConn(c.shared, st), nil
}

// Cut reports whether an error is that of a connection which the peer has cut off, in or after its
// handshake, without a reason of the protocols.
func Cut(err error) bool {
	var app *quic.ApplicationError
	var t *quic.TransportError
	switch {
	case errors.As(err, &app):
		return app.Remote
	case errors.As(err, &t):
		return t.Remote && t.ErrorCode == quic.ConnectionRefused
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// explainQUIC is explain for QUIC, whose alerts have numbers (RFC 9001 4.8).
func explainQUIC(err error) error {
	const alertNoALPN = 0x100 + 120
	var t *quic.TransportError
	var alert tls.AlertError
	if errors.As(err, &t) && t.ErrorCode == alertNoALPN || errors.As(err, &alert) && alert == 120 {
		return fmt.Errorf("%w (%w)", ErrALPN, err)
	}
	return err
}
