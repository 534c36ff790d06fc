package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

// QUICOptions are what a listener may tune.
type QUICOptions struct {
	Options
	// ResetKey makes the tokens by which a peer learns at once that this end was restarted (RFC 9000
	// 10.3). It must outlive the process. Zero: none are sent.
	ResetKey [32]byte
	// MaxPending bounds the connections whose handshake or first stream is still to come; from an eighth
	// of it on, addresses have to be proved first (Retry), and from half of it on a new one may take the
	// place of one that says nothing, more likely the more there are. Default 512.
	MaxPending int
	// HandshakeTimeout is how long a connection may take from its first packet until it is admitted.
	// Default 10 s.
	HandshakeTimeout time.Duration
	// Failed is told of each connection that ended before it had a stream, with its peer's address. Default:
	// nobody is.
	Failed func(peer net.Addr, err error)
	// Slow is told, once each, why UDP is slower on this system than it could be. Default: nobody is.
	Slow func(reason error)
}

func (o QUICOptions) withDefaults() QUICOptions {
	if o.MaxPending == 0 {
		o.MaxPending = 512
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.Failed == nil {
		o.Failed = func(net.Addr, error) {}
	}
	if o.Slow == nil {
		o.Slow = func(error) {}
	}
	return o
}

// QUICListener accepts QUIC connections and returns each as its first stream.
type QUICListener struct {
	udp     *net.UDPConn
	tr      *quic.Transport
	ln      *quic.Listener
	options QUICOptions
	noGSO   sync.Once

	pending atomic.Int64
	mu      sync.Mutex
	silent  map[*arrival]struct{} // whose handshake is complete and whose first stream is still to come
	ready   chan net.Conn
	ctx     context.Context         //nolint:containedctx // ends with the listener, and with it all that waits
	cancel  context.CancelCauseFunc // with what Accept is to return
	wg      sync.WaitGroup
}

// ListenQUIC listens on a UDP address with a self-signed certificate for key.
func ListenQUIC(ctx context.Context, address string, key ed25519.PrivateKey, o QUICOptions) (*QUICListener, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	l, err := WrapQUIC(pc.(*net.UDPConn), key, o)
	if err != nil {
		_ = pc.Close()
		return nil, err
	}
	return l, nil
}

// WrapQUIC makes a QUICListener of a bound socket.
func WrapQUIC(udp *net.UDPConn, key ed25519.PrivateKey, o QUICOptions) (*QUICListener, error) {
	cert, err := selfSigned(key)
	if err != nil {
		return nil, err
	}
	l := &QUICListener{udp: udp, options: o.withDefaults(), ready: make(chan net.Conn), silent: map[*arrival]struct{}{}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	var slow error
	if l.tr, slow = newTransport(udp); slow != nil {
		l.options.Slow(slow)
	}
	l.tr.VerifySourceAddress, l.tr.ConnContext = l.mustVerify, l.begin
	if o.ResetKey != ([32]byte{}) {
		reset := quic.StatelessResetKey(o.ResetKey)
		l.tr.StatelessResetKey = &reset
	}
	settings := o.tls()
	settings.Certificates = []tls.Certificate{cert}
	if l.ln, err = l.tr.Listen(settings, quicConfig()); err != nil {
		return nil, err
	}
	if err := smallBuffer(udp); err != nil {
		l.options.Slow(err)
	}
	l.wg.Go(l.accept)
	return l, nil
}

// mustVerify asks for a Retry while many handshakes are under way: their sources may be forged, and
// each of them gets an answer three times its size.
func (l *QUICListener) mustVerify(net.Addr) bool {
	return l.pending.Load() >= int64(l.options.MaxPending)/8
}

// arrival is how a connection began.
type arrival struct {
	at     time.Time
	over   func() // it has a stream, or has ended
	giveUp func() // ends the wait for its stream
	stream atomic.Bool
}

type arrivalKey struct{}

// begin counts a connection until it has a stream or ends.
func (l *QUICListener) begin(ctx context.Context, from *quic.ClientInfo) (context.Context, error) {
	limit := int64(l.options.MaxPending)
	if rand.Int64N(limit) < 2*l.pending.Load()-limit && !l.evict() {
		err := errors.New("too many handshakes at a time")
		l.options.Failed(from.RemoteAddr, err)
		return ctx, err
	}
	l.pending.Add(1)
	a := &arrival{at: time.Now(), over: sync.OnceFunc(func() { l.pending.Add(-1) })}
	context.AfterFunc(ctx, func() {
		a.over()
		if !a.stream.Load() {
			l.options.Failed(from.RemoteAddr, explainQUIC(context.Cause(ctx)))
		}
	})
	return context.WithValue(ctx, arrivalKey{}, a), nil
}

// evict gives up a connection that has said nothing yet, any one of them. Who means well opens a stream right
// behind the handshake, so that it hardly ever is theirs.
func (l *QUICListener) evict() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a := range l.silent {
		delete(l.silent, a)
		a.over()
		a.giveUp()
		return true
	}
	return false
}

// wait waits for a connection's first stream, unless the connection is evicted before.
func (l *QUICListener) wait(ctx context.Context, conn *quic.Conn, a *arrival) (*quic.Stream, error) {
	defer a.over()
	ctx, a.giveUp = context.WithCancel(ctx)
	defer a.giveUp()
	l.mu.Lock()
	l.silent[a] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.silent, a)
		l.mu.Unlock()
	}()
	return conn.AcceptStream(ctx)
}

// accept takes connections whose handshake is complete, until the listener is closed.
func (l *QUICListener) accept() {
	for {
		conn, err := l.ln.Accept(l.ctx)
		if err != nil {
			l.cancel(err)
			return
		}
		l.wg.Go(func() { l.first(conn) })
	}
}

// first waits for a connection's first stream, hands it out, and guards the connection until the peer has
// proved itself.
func (l *QUICListener) first(conn *quic.Conn) {
	a := conn.Context().Value(arrivalKey{}).(*arrival)
	ctx, cancel := context.WithDeadline(l.ctx, a.at.Add(l.options.HandshakeTimeout))
	defer cancel()
	st, err := l.wait(ctx, conn, a)
	if err != nil {
		reason := "a newer connection took its place"
		switch {
		case l.ctx.Err() != nil:
			reason = "the listener is closed"
		case errors.Is(err, context.DeadlineExceeded):
			reason = "nothing was said in time"
		}
		_ = conn.CloseWithError(quicAborted, reason)
		return
	}
	a.stream.Store(true)
	if !conn.ConnectionState().GSO {
		l.noGSO.Do(func() { l.options.Slow(errors.New("the kernel does not cut large writes into packets (GSO, udp(7))")) })
	}
	s := &shared{Conn: conn, alpn: l.options.ALPN, proved: cancel, guarded: make(chan struct{})}
	select {
	case l.ready <- newQUICConn(s, st):
		s.guard(ctx)
	case <-ctx.Done():
		_ = conn.CloseWithError(quicAborted, "")
	}
}

// Accept returns a *QUICConn, or why there will be none any more: net.ErrClosed after Close.
func (l *QUICListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	}
}

// Addr is the socket's address.
func (l *QUICListener) Addr() net.Addr { return l.udp.LocalAddr() }

// Close stops accepting. Connections that were accepted go on; Release ends them.
func (l *QUICListener) Close() error {
	l.cancel(net.ErrClosed)
	err := l.ln.Close()
	l.wg.Wait()
	return err
}

// Release ends what is left of the connections, once nobody uses them, and closes the socket.
func (l *QUICListener) Release() {
	_ = l.Close()
	_ = errors.Join(l.tr.Close(), l.udp.Close())
}
