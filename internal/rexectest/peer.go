//go:build linux

package rexectest

import (
	"errors"
	"io"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/transport"
)

// Peer is a connection on which a test says what it likes, in order or not.
type Peer struct {
	t       testing.TB
	Conn    client.Channel
	Binding [32]byte
	In      *proto.Reader
	Out     *proto.Writer
	Choice  *proto.Choice // once proved
}

// patience bounds every wait for the daemon: far more than it may need, so that only a hang trips it.
const patience = 20 * time.Second

// Connect opens an encrypted connection over TCP without a proof. It is closed with the test.
func Connect(t testing.TB, address string) *Peer {
	t.Helper()
	conn, err := transport.Dial(t.Context(), address, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

// ConnectUDP is Connect over QUIC.
func ConnectUDP(t testing.TB, address string) *Peer {
	t.Helper()
	conn, err := transport.DialQUIC(t.Context(), address, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

func newPeer(t testing.TB, conn client.Channel) *Peer {
	t.Cleanup(func() { _ = conn.Close() })
	p := &Peer{t: t, Conn: conn, In: proto.NewReader(conn), Out: proto.NewWriter(conn)}
	p.patient()
	var err error
	if p.Binding, err = conn.Bind(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// Connect opens an encrypted connection over the daemon's transport without a proof.
func (d *Daemon) Connect(t testing.TB) *Peer {
	t.Helper()
	if d.options.Transport == client.UDP {
		return ConnectUDP(t, d.address)
	}
	return Connect(t, d.address)
}

// Close closes the connection, which the end of the test does too.
func (p *Peer) Close() { _ = p.Conn.Close() }

// Peer opens a connection and proves the daemon's key over it.
func (d *Daemon) Peer(t testing.TB) *Peer {
	t.Helper()
	p := d.Connect(t)
	if err := p.Prove(d.key); err != nil {
		t.Fatal(err)
	}
	return p
}

// patient bounds what comes next, and not the whole conversation.
func (p *Peer) patient() { _ = p.Conn.SetDeadline(time.Now().Add(patience)) }

// Prove proves a key and checks the answer. Its errors are those of auth.Proof.Check.
func (p *Peer) Prove(k auth.ClientKey) error {
	p.t.Helper()
	proof := p.NewProof(k)
	p.Send(proof.Message())
	typ, payload := p.Next()
	var err error
	_, p.Choice, err = proof.Check(typ, payload)
	return err
}

// NewProof makes a proof for this connection without sending it.
func (p *Peer) NewProof(k auth.ClientKey) *auth.Proof {
	p.t.Helper()
	offer := &proto.Offer{MinVersion: proto.Version, MaxVersion: proto.Version}
	proof, err := auth.NewProof(k, p.Conn.Kind(), p.Binding, offer)
	if err != nil {
		p.t.Fatal(err)
	}
	return proof
}

// Send sends messages, in one write.
func (p *Peer) Send(m ...proto.Message) {
	p.t.Helper()
	p.patient()
	if err := p.Out.Write(m...); err != nil {
		p.t.Fatal(err)
	}
}

// Raw sends bytes that need not be frames. An error is no failure: the daemon may have hung up.
func (p *Peer) Raw(b []byte) error {
	_, err := p.Conn.Write(b)
	return err
}

// Next returns the next message. The payload is valid until the next call.
func (p *Peer) Next() (proto.Type, []byte) {
	p.t.Helper()
	typ, payload, err := p.Read()
	if err != nil {
		p.t.Fatalf("reading from the daemon: %v", err)
	}
	return typ, payload
}

// Read returns the next message or how the conversation ended; io.EOF is an end in order.
func (p *Peer) Read() (proto.Type, []byte, error) {
	p.patient()
	typ, _, err := p.In.Next()
	if err != nil {
		return 0, nil, err
	}
	payload, err := p.In.Payload()
	return typ, payload, err
}

// Ended waits until the daemon ends the conversation and returns what it said before, errors included.
// The daemon must end it in order, so that a reset cannot have swallowed anything.
func (p *Peer) Ended() (said []*proto.Error, other []proto.Type) {
	p.t.Helper()
	for {
		typ, payload, err := p.Read()
		if errors.Is(err, io.EOF) {
			return said, other
		}
		if err != nil {
			p.t.Fatalf("the conversation did not end in order: %v (after %v %v)", err, said, other)
		}
		if typ != proto.TypeError {
			other = append(other, typ)
			continue
		}
		m, err := proto.ParseError(payload)
		if err != nil {
			p.t.Fatal(err)
		}
		said = append(said, m)
	}
}

// Outcome is what a peer got of one execution.
type Outcome struct {
	Started *proto.Started // nil if it was not
	Out     [2][]byte      // stdout, stderr
	Exit    *proto.Exit
	Notes   []*proto.Error
}

// Run sends a request and reads to its exit record. A zero ID is replaced by a random one.
func (p *Peer) Run(m proto.Run) *Outcome {
	p.t.Helper()
	if m.ID == (proto.ExecID{}) {
		m.ID = client.NewID()
	}
	p.Send(&m)
	return p.Outcome()
}

// Outcome reads to the next exit record.
func (p *Peer) Outcome() *Outcome {
	p.t.Helper()
	o := new(Outcome)
	for o.Exit == nil {
		typ, payload := p.Next()
		var err error
		switch typ {
		case proto.TypeStarted:
			o.Started, err = proto.ParseStarted(payload)
		case proto.TypeStdout, proto.TypeStderr:
			i := typ - proto.TypeStdout
			o.Out[i] = append(o.Out[i], payload[8:]...)
		case proto.TypeExit:
			o.Exit, err = proto.ParseExit(payload)
		case proto.TypeError:
			var e *proto.Error
			e, err = proto.ParseError(payload)
			o.Notes = append(o.Notes, e)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return o
}
