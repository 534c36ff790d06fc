// Package transport gives both ends an encrypted connection and its channel binding: a net.Conn with
// CloseWrite over TLS 1.3, whatever carries it.
//
// It owns the TLS settings and the checks before the exporter may be asked. It does not know who the
// peer is: nobody verifies a name here, the proof over the binding does that. It imports nothing of
// ours, and nothing else imports crypto/tls.
package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// Kind says what carries a connection; the values are those of the proof's transport byte.
type Kind = uint8

// KindTCP is TLS over TCP.
const KindTCP Kind = 1

// bindingLabel is the exporter label that RFC 9266 registers for "tls-exporter".
const bindingLabel = "EXPORTER-Channel-Binding"

// The handshake's own errors, for callers that explain them.
var (
	ErrALPN    = errors.New("the peer did not agree on the application protocol")
	ErrVersion = errors.New("TLS 1.3 is needed, and the other end does not speak it")
)

// Options are what both ends must agree on or may tune.
type Options struct {
	// ALPN is the one application protocol, demanded of the peer.
	ALPN string
	// KeepAlive is how the kernel probes a silent TCP peer. Zero: 15 s idle, every 10 s, 4 times.
	KeepAlive net.KeepAliveConfig
}

func (o Options) keepAlive() net.KeepAliveConfig {
	if o.KeepAlive == (net.KeepAliveConfig{}) {
		return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 4}
	}
	return o.KeepAlive
}

func (o Options) tls() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{o.ALPN},
		SessionTicketsDisabled: true,
		// Small first records are for browsers that render half a page; here they would only split
		// the first 128 KiB of every output into a hundred pieces.
		DynamicRecordSizingDisabled: true,
	}
}

// Conn is one encrypted connection. Bind must succeed before anything is read or written.
type Conn struct {
	*tls.Conn
	raw     *rawConn
	alpn    string
	peerKey [sha256.Size]byte
}

// Kind says what carries the connection.
func (c *Conn) Kind() Kind { return KindTCP }

// PeerKey is the SHA-256 of the public key in the peer's certificate, once Bind has succeeded. It is
// zero on the server's side.
func (c *Conn) PeerKey() [sha256.Size]byte { return c.peerKey }

// explain adds what a failed handshake means, where callers tell it apart. The TLS library does not
// export its alerts over TCP, so they are known by their texts.
func explain(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "protocol version"):
		return fmt.Errorf("%w (%w)", ErrVersion, err)
	case strings.Contains(text, "no application protocol"):
		return fmt.Errorf("%w (%w)", ErrALPN, err)
	}
	return err
}

// WriteVec writes head and body as one, with few system calls however large body is.
func (c *Conn) WriteVec(head, body []byte) (int, error) {
	c.raw.cork()
	n, err := c.Write(head)
	if err == nil {
		var m int
		m, err = c.Write(body)
		n += m
	}
	if flushErr := c.raw.uncork(); err == nil {
		err = flushErr
	}
	return n, err
}

// Abort closes the connection without TLS's closing alert, so that the peer cannot take it for an
// orderly end.
func (c *Conn) Abort() {
	if tcp, ok := c.raw.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what the kernel still holds must not arrive later
	}
	c.raw.Close()
}

// Bind completes the handshake within ctx and returns the channel binding (RFC 9266 tls-exporter). It
// asks the exporter only after every check: in Go the exporter answers before the peer's Finished was
// verified, and after a failed handshake it is nil.
func (c *Conn) Bind(ctx context.Context) (binding [32]byte, err error) {
	if err := c.HandshakeContext(ctx); err != nil {
		return binding, explain(err)
	}
	s := c.ConnectionState()
	if binding, err = bind(s, c.alpn); err != nil {
		return binding, err
	}
	if len(s.PeerCertificates) > 0 {
		c.peerKey = sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
	}
	return binding, nil
}

// bind asks the exporter, after every check.
func bind(s tls.ConnectionState, alpn string) (binding [32]byte, err error) {
	switch {
	case !s.HandshakeComplete:
		return binding, errors.New("TLS handshake not complete")
	case s.Version != tls.VersionTLS13:
		return binding, ErrVersion
	case s.NegotiatedProtocol != alpn:
		return binding, ErrALPN // Go's TLS server takes a TCP client that offers none
	case s.DidResume:
		return binding, errors.New("TLS session was resumed, which is never offered")
	}
	v, err := s.ExportKeyingMaterial(bindingLabel, nil, len(binding))
	if err != nil {
		return binding, fmt.Errorf("exporting the channel binding: %w", err)
	}
	return [32]byte(v), nil
}

// Listener accepts connections whose handshake is still to be done by Conn.Bind, so that a slow
// peer never holds up the next.
type Listener struct {
	net.Listener
	options Options
	tls     *tls.Config
}

// Listen listens on a TCP address ("host:port"; an empty host is every address) with a self-signed
// certificate for key.
func Listen(ctx context.Context, address string, key ed25519.PrivateKey, o Options) (*Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: o.keepAlive()}
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l, err := Wrap(ln, key, o)
	if err != nil {
		ln.Close()
		return nil, err
	}
	return l, nil
}

// Wrap makes a Listener of a socket that is listening already.
func Wrap(ln net.Listener, key ed25519.PrivateKey, o Options) (*Listener, error) {
	cert, err := selfSigned(key)
	if err != nil {
		return nil, err
	}
	config := o.tls()
	config.Certificates = []tls.Certificate{cert}
	return &Listener{Listener: ln, options: o, tls: config}, nil
}

// SetDeadline bounds the wait of Accept, as that of net.TCPListener does.
func (l *Listener) SetDeadline(t time.Time) error {
	ln, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return ln.SetDeadline(t)
}

// Accept returns a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &rawConn{Conn: raw}
	return &Conn{Conn: tls.Server(c, l.tls), raw: c, alpn: l.options.ALPN}, nil
}

// Dial connects to a TCP address. The caller binds the connection.
func Dial(ctx context.Context, address string, o Options) (*Conn, error) {
	d := net.Dialer{KeepAliveConfig: o.keepAlive()}
	raw, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	config := o.tls()
	// The proof over the channel binding authenticates the server; no name or chain could.
	config.InsecureSkipVerify = true
	c := &rawConn{Conn: raw}
	return &Conn{Conn: tls.Client(c, config), raw: c, alpn: o.ALPN}, nil
}

// selfSigned makes the certificate that carries key. It says nothing else, so that it is small and
// tells a scanner nothing, and its validity never ends, since nobody looks at it.
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 4.1.2.5
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the server certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
