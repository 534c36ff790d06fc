//go:build linux

package attack

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/transport"
)

// impostor answers on an address of its own with a certificate key of its choice.
type impostor struct {
	t  *testing.T
	ln *transport.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	recorded []byte // all that clients said inside TLS
}

// newImpostor serves every connection whose handshake succeeds.
func newImpostor(t *testing.T, key ed25519.PrivateKey, serve func(i *impostor, c *transport.Conn)) *impostor {
	t.Helper()
	if key == nil {
		var err error
		if _, key, err = ed25519.GenerateKey(nil); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := transport.Listen(t.Context(), "127.0.0.1:0", key, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{t: t, ln: ln}
	i.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			i.wg.Go(func() { i.accept(conn.(*transport.Conn), serve) })
		}
	})
	t.Cleanup(i.stop)
	return i
}

// stop waits until all connections have ended, which their clients did before.
func (i *impostor) stop() {
	i.ln.Close()
	i.wg.Wait()
}

// recordFrame reads one frame and keeps it as it came.
func (i *impostor) recordFrame(c io.Reader) {
	r := proto.NewUnprovenReader(c)
	typ, _, err := r.Next()
	if err != nil {
		return
	}
	if payload, err := r.Payload(); err == nil {
		i.mu.Lock()
		i.recorded = proto.AppendFrame(i.recorded, frame(append([]byte{byte(typ)}, payload...)))
		i.mu.Unlock()
	}
}

func (i *impostor) accept(c *transport.Conn, serve func(*impostor, *transport.Conn)) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Bind(context.Background()); err != nil {
		return
	}
	serve(i, c)
}

// record reads to the end and keeps it all.
func (i *impostor) record(c io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		i.mu.Lock()
		i.recorded = append(i.recorded, buf[:n]...)
		i.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (i *impostor) heard() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return bytes.Clone(i.recorded)
}

// victim is a client of the daemon that was led to the impostor.
func (i *impostor) victim(d *rexectest.Daemon, known *pins) *client.Client {
	o := d.ClientOptions()
	o.Address, o.Target, o.Timeout = i.ln.Addr().String(), "db.example:8000", time.Second
	if known != nil {
		o.Pins = known
	}
	return rexectest.NewClient(i.t, o)
}

// TestRelay: TLS is ended on both sides and everything inside is passed on unchanged.
func TestRelay(t *testing.T) {
	for _, stolen := range []bool{false, true} {
		for _, withPin := range []bool{false, true} {
			name := map[bool]string{false: "own certificate", true: "stolen certificate key"}[stolen] +
				map[bool]string{false: "", true: ", pinned server"}[withPin]
			t.Run(name, func(t *testing.T) {
				d := rexectest.New(t, rexectest.Options{})
				var key ed25519.PrivateKey
				if stolen {
					id, err := auth.OpenIdentity(d.StateDir())
					if err != nil {
						t.Fatal(err)
					}
					key = id.Key
				}
				var known *pins
				if withPin {
					known = pinned(t, d)
				}
				relay := newImpostor(t, key, func(i *impostor, c *transport.Conn) { i.relay(c, d.Address()) })
				ran := newRuns(t)
				got := run(limited(t, 20*time.Second), relay.victim(d, known), client.Command{Run: shell("%s", ran.count())})
				if !errors.Is(got.failure, auth.ErrRefused) {
					t.Errorf("%v, want the refusal", got.failure)
				}
				var lost *client.LostError
				if errors.As(got.failure, &lost) && !withPin {
					t.Errorf("%v: nothing was sent that could have run", got.failure)
				}
				ran.want(0)
				if n := d.Starts(); n != 0 {
					t.Errorf("%d starts", n)
				}
				if leaked := bytes.Contains(relay.heard(), []byte(ran.path)); leaked && !stolen {
					t.Error("the command went to somebody who proved nothing")
				}
			})
		}
	}
}

// relay passes the plaintext on to the real server and back.
func (i *impostor) relay(c *transport.Conn, target string) {
	up, err := transport.Dial(context.Background(), target, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		i.t.Error(err)
		return
	}
	defer up.Close()
	if _, err := up.Bind(context.Background()); err != nil {
		i.t.Error(err)
		return
	}
	_ = up.SetDeadline(time.Now().Add(20 * time.Second))
	var wg sync.WaitGroup
	wg.Go(func() { i.record(io.TeeReader(c, up)); _ = up.CloseWrite() })
	_, _ = io.Copy(c, up)
	_ = c.CloseWrite()
	wg.Wait()
}

// TestReroute: the connection ends at another daemon that has the same key, which may be the
// client's own.
func TestReroute(t *testing.T) {
	secret, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	a := rexectest.New(t, rexectest.Options{Key: auth.Key{Secret: secret}})
	b := rexectest.New(t, rexectest.Options{Key: auth.Key{Secret: secret}})
	ran := newRuns(t)
	for name, known := range map[string]*pins{"first contact": nil, "pinned": pinned(t, a)} {
		t.Run(name, func(t *testing.T) {
			o := a.ClientOptions()
			o.Address = b.Address()
			if known != nil {
				o.Pins = known
			}
			got := run(limited(t, 10*time.Second), rexectest.NewClient(t, o), client.Command{Run: shell("%s", ran.count())})
			var denied *auth.DeniedError
			if !errors.As(got.failure, &denied) || denied.Status != proto.StatusWrongServer {
				t.Errorf("%v, want: wrong server", got.failure)
			}
			var lost *client.LostError
			if errors.As(got.failure, &lost) {
				t.Errorf("%v: nothing was run, and that is known", got.failure)
			}
		})
	}
	ran.want(0)
	if n := a.Starts() + b.Starts(); n != 0 {
		t.Errorf("%d starts", n)
	}
}

// secrets are what a server that proved nothing must never see.
func secrets() (client.Command, []string) {
	m := shell("echo canary-command > canary-file")
	m.Env = []proto.EnvVar{{Name: []byte("CANARY_NAME"), Value: []byte("canary-value")}}
	m.Dir = []byte("/canary-dir")
	return client.Command{Run: m, Stdin: bytes.NewReader(bytes.Repeat([]byte("canary-stdin"), 1000))},
		[]string{"canary", "CANARY"}
}

// TestImpostorSeesTheProofAlone: whatever a server answers that does not know the key, it has seen
// one frame, the proof.
func TestImpostorSeesTheProofAlone(t *testing.T) {
	answers := map[string]func(i *impostor, c *transport.Conn){
		"silence": func(*impostor, *transport.Conn) {},
		"refusal": func(i *impostor, c *transport.Conn) {
			_ = proto.NewWriter(c).Write(proto.Refused{})
		},
		"refusal, then an acceptance": func(i *impostor, c *transport.Conn) {
			_ = proto.NewWriter(c).Write(proto.Refused{}, &proto.ServerProof{}, &proto.Started{PID: 1}, &proto.Exit{State: proto.StateExited})
		},
		"acceptance with a wrong MAC": func(i *impostor, c *transport.Conn) {
			choice := proto.Choice{Version: proto.Version, Instance: [16]byte{1}, Uptime: 1, Retain: 1000}
			_ = proto.NewWriter(c).Write(&proto.ServerProof{Ext: choice.Append(nil)}, &proto.Started{PID: 1},
				&proto.Exit{State: proto.StateExited})
		},
		"exit record at once": func(i *impostor, c *transport.Conn) {
			_ = proto.NewWriter(c).Write(&proto.Exit{State: proto.StateExited})
		},
		"garbage": func(i *impostor, c *transport.Conn) {
			_, _ = c.Write(bytes.Repeat([]byte{0, 0, 0, 7, 0x55}, 1000))
		},
		"frame of 4 GiB": func(i *impostor, c *transport.Conn) {
			_, _ = c.Write([]byte{0xff, 0xff, 0xff, 0xff, 2})
		},
		"echo": func(i *impostor, c *transport.Conn) { _, _ = c.Write(i.heard()) },
		"echo as a server's proof": func(i *impostor, c *transport.Conn) {
			_ = proto.NewWriter(c).Write(frame(append([]byte{byte(proto.TypeServerProof)}, i.heard()[5:]...)))
		},
	}
	d := rexectest.New(t, rexectest.Options{})
	known := pinned(t, d)
	for name, serve := range answers {
		for _, withPin := range []bool{false, true} {
			t.Run(name+map[bool]string{false: "", true: ", pinned server"}[withPin], func(t *testing.T) {
				i := newImpostor(t, nil, func(i *impostor, c *transport.Conn) {
					i.recordFrame(c)
					serve(i, c)
					i.record(c)
				})
				var k *pins
				if withPin {
					k = known
				}
				cmd, words := secrets()
				c := i.victim(d, k)
				got := run(limited(t, 20*time.Second), c, cmd)
				var lost *client.LostError
				if got.failure == nil || errors.As(got.failure, &lost) {
					t.Errorf("%+v, %v; want an error that says that nothing was run", got.result, got.failure)
				}
				_ = c.Close()
				i.stop() // it has read to the end now
				i.proofOnly(words)
				if pin, _ := known.Pin(d.ServerID()); withPin && pin == ([32]byte{}) {
					t.Error("the pin is gone")
				}
			})
		}
	}
	if n := d.Starts(); n != 0 {
		t.Errorf("%d starts", n)
	}
}

// frame is a message as it lies on the wire.
type frame []byte

func (f frame) Append(b []byte) []byte { return append(b, f...) }

// proofOnly fails the test unless the impostor heard exactly the client's proof.
func (i *impostor) proofOnly(words []string) {
	i.t.Helper()
	heard := i.heard()
	for _, w := range words {
		if bytes.Contains(heard, []byte(w)) {
			i.t.Errorf("the impostor heard %q", w)
		}
	}
	r := proto.NewReader(bytes.NewReader(heard))
	types := []proto.Type{}
	for {
		typ, _, err := r.Next()
		if err != nil {
			break
		}
		types = append(types, typ)
	}
	if len(types) != 1 || types[0] != proto.TypeClientProof {
		i.t.Errorf("the impostor heard %v", types)
	}
}

// TestReplay: what was said on one connection is worth nothing on another.
func TestReplay(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	ran := newRuns(t)
	m := shell("%s", ran.count())
	m.ID = client.NewID()
	first := rexectest.Connect(t, d.Address())
	proof := first.NewProof(d.Key())
	alone := proto.AppendFrame(nil, proof.Message())
	whole := proto.AppendFrame(bytes.Clone(alone), &m)
	if err := first.Raw(whole); err != nil {
		t.Fatal(err)
	}
	if typ, payload := first.Next(); typ != proto.TypeServerProof {
		t.Fatalf("%v %q", typ, payload)
	}
	if o := first.Outcome(); o.Exit.State != proto.StateExited {
		t.Fatalf("%+v", o.Exit)
	}
	starts := d.Starts()
	for name, flight := range map[string][]byte{"proof": alone, "proof and command": whole} {
		for range 20 {
			p := rexectest.Connect(t, d.Address())
			_ = p.Raw(flight)
			typ, payload, err := p.Read()
			if err != nil || typ != proto.TypeRefused || proto.ParseRefused(payload) != nil {
				t.Errorf("%s: %v %q, %v", name, typ, payload, err)
			}
			p.Conn.Close()
		}
	}
	ran.want(1)
	if d.Starts() != starts {
		t.Errorf("%d starts, %d before the replays", d.Starts(), starts)
	}
}

// TestOtherKeyCannotAttach sends the same request over a session of another key: it is another execution
// of another owner, which it never attaches to.
func TestOtherKeyCannotAttach(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	other := d.AddKey(auth.Key{ID: "other"})
	m := shell("echo secret; sleep 30")
	m.ID = client.NewID()
	owner := d.Peer(t)
	owner.Send(&m)
	if typ, _ := owner.Next(); typ != proto.TypeStarted {
		t.Fatal(typ)
	}
	thief := rexectest.Connect(t, d.Address())
	if err := thief.Prove(other); err != nil {
		t.Fatal(err)
	}
	m.StartBy = 1 // attach only
	o := thief.Run(m)
	if o.Started != nil || o.Exit.State != proto.StateLost || len(o.Out[0]) != 0 {
		t.Errorf("%+v, output %q", o.Exit, o.Out[0])
	}
	off := m
	off.ID[3] ^= 1
	if o := d.Peer(t).Run(off); o.Started != nil || o.Exit.State != proto.StateLost {
		t.Errorf("one bit off: %+v", o.Exit)
	}
}
