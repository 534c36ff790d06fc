package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/server"
)

// patience is more than anything takes that does not hang, on a machine that has much else to do.
const patience = time.Minute

// binding is what both ends of every channel here agree on.
var binding = [32]byte{1, 2, 3}

// channel is a connection without TLS: the server must not see the difference.
type channel struct{ *net.UnixConn }

func (channel) Kind() uint8                               { return proto.TransportTCP }
func (channel) Bind(context.Context) ([32]byte, error)    { return binding, nil }
func (channel) RemoteAddr() net.Addr                      { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c channel) WriteVec(head, body []byte) (int, error) { return c.Write(append(head, body...)) }

// socketPair returns the two ends of a connection.
func socketPair(t *testing.T) (a, b channel) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	end := func(fd int) channel {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return channel{c.(*net.UnixConn)}
	}
	return end(fds[0]), end(fds[1])
}

// listener hands connections to Serve.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// privileged verifies proofs for real and starts what the test wants.
type privileged struct {
	*auth.Verifier
	starts    atomic.Int64
	start     func(*proto.Run) (*job.Process, error)
	authorize func() error
}

func (p *privileged) Authorize(g *auth.Grant, a netip.Addr) error {
	if p.authorize != nil {
		return p.authorize()
	}
	_, err := p.Verifier.Authorize(g, a)
	return err
}

func (p *privileged) Start(_ context.Context, _ *auth.Grant, _ job.Peer, m *proto.Run) (*job.Process, error) {
	p.starts.Add(1)
	if p.start == nil {
		return nil, errors.New("this test starts nothing")
	}
	return p.start(m)
}

// daemon is a server over memory.
type daemon struct {
	t      *testing.T
	server *server.Server
	table  *job.Table
	half   *privileged
	key    auth.ClientKey
	ln     *listener
	ended  chan error
}

func newDaemon(t *testing.T, jobs job.Options, o server.Options) *daemon {
	t.Helper()
	id, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, half: new(privileged), ended: make(chan error, 1),
		ln: &listener{conns: make(chan net.Conn), closed: make(chan struct{})}}
	d.key = auth.ClientKey{Server: auth.ServerID{7}, KeyID: "test", Secret: id}
	path := filepath.Join(t.TempDir(), "state", "keys")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := auth.AddKey(path, auth.Key{ID: "test", Secret: id}); err != nil {
		t.Fatal(err)
	}
	store, err := auth.OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if d.half.Verifier, err = auth.NewVerifier(d.key.Server, store, nil); err != nil {
		t.Fatal(err)
	}
	d.table = job.NewTable(jobs)
	d.server = server.New(d.half, d.table, o)
	go func() { d.ended <- d.server.Serve(context.Background(), d.ln) }()
	t.Cleanup(func() {
		d.shutdown(patience)
		if err := <-d.ended; !errors.Is(err, server.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

// shutdown ends the daemon now, and fails the test if that takes longer than limit.
func (d *daemon) shutdown(limit time.Duration) {
	d.t.Helper()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	within(d.t, limit, "shutting down", func() { d.server.Shutdown(now) })
}

func within(t *testing.T, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s takes more than %s", what, limit)
	}
}

// client is a peer that says whatever the test wants.
type client struct {
	t    *testing.T
	conn channel
	in   *proto.Reader
	out  *proto.Writer
}

func (d *daemon) connect() *client {
	d.t.Helper()
	ours, theirs := socketPair(d.t)
	d.t.Cleanup(func() { ours.Close() })
	d.ln.conns <- theirs
	_ = ours.SetDeadline(time.Now().Add(patience))
	return &client{d.t, ours, proto.NewReader(ours), proto.NewWriter(ours)}
}

// proven is a client whose proof was accepted.
func (d *daemon) proven() *client {
	d.t.Helper()
	c := d.connect()
	proof, err := auth.NewProof(d.key, proto.TransportTCP, binding, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	c.send(proof.Message())
	typ, payload := c.next()
	if _, _, err := proof.Check(typ, payload); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (c *client) send(m ...proto.Message) {
	c.t.Helper()
	if err := c.out.Write(m...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() (proto.Type, []byte, error) {
	typ, _, err := c.in.Next()
	if err != nil {
		return 0, nil, err
	}
	b, err := c.in.Payload()
	return typ, b, err
}

func (c *client) next() (proto.Type, []byte) {
	c.t.Helper()
	typ, b, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return typ, b
}

// await reads on to a message of a type.
func (c *client) await(want proto.Type) []byte {
	c.t.Helper()
	for {
		typ, b := c.next()
		if typ == want {
			return b
		}
		if typ == proto.TypeError {
			m, _ := proto.ParseError(b)
			c.t.Logf("the daemon says: %v", m)
		}
	}
}

// sleeper is a program that prints what it was given and runs until it is told to end.
type sleeper struct {
	out, err *os.File
	over     chan struct{}
	once     sync.Once
	code     int
}

func newSleeper(output string) (*sleeper, *job.Process, error) {
	s := &sleeper{over: make(chan struct{})}
	r0, w0, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	r1, w1, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	s.out, s.err = w0, w1
	_, err = io.WriteString(w0, output)
	return s, &job.Process{PID: 42, Stdout: r0, Stderr: r1, Handle: s}, err
}

func (s *sleeper) end(code int) {
	s.once.Do(func() {
		s.out.Close()
		s.err.Close()
		s.code = code
		close(s.over)
	})
}

func (s *sleeper) Wait() exec.Status {
	<-s.over
	return exec.Status{Code: s.code, Ended: time.Now()}
}
func (s *sleeper) Signal(string) error      { return nil }
func (s *sleeper) Stop(time.Duration) []int { s.end(143); return nil }

// sleep is a start function whose programs run until they are stopped.
func sleep(*proto.Run) (*job.Process, error) {
	_, p, err := newSleeper("")
	return p, err
}

// request is a valid request without stdin, ended with its client.
func request(id byte) *proto.Run {
	return &proto.Run{ID: proto.ExecID{id}, Shell: []byte("x"), NoStdin: true, OnDisconnect: proto.DisconnectKill}
}

// pause lets time pass where time itself is the matter, not an event that could be awaited.
func pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
