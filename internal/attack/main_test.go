//go:build linux

package attack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/transport"
)

func TestMain(m *testing.M) { os.Exit(rexectest.Main(m)) }

// random returns a generator whose seed is in the test's log.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 5))
}

// runs counts how often a command of the test ran.
type runs struct {
	t    *testing.T
	path string
}

func newRuns(t *testing.T) runs { return runs{t, filepath.Join(t.TempDir(), "runs")} }

// count is what a command begins with.
func (r runs) count() string { return "echo x >> " + r.path + "; " }

func (r runs) n() int {
	b, _ := os.ReadFile(r.path)
	return bytes.Count(b, []byte("x"))
}

func (r runs) want(n int) {
	r.t.Helper()
	if got := r.n(); got != n {
		r.t.Errorf("the command ran %d times, want %d", got, n)
	}
}

func shell(format string, args ...any) proto.Run {
	return proto.Run{Shell: []byte(fmt.Sprintf(format, args...))}
}

// limited bounds a test's client: a hang is a failure, not a timeout of the whole binary.
func limited(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// output is what came of one command.
type output struct {
	out, err bytes.Buffer
	result   *client.Result
	failure  error
}

// run runs a command and collects it.
func run(ctx context.Context, c *client.Client, cmd client.Command) *output {
	o := new(output)
	cmd.Stdout, cmd.Stderr = &o.out, &o.err
	o.result, o.failure = c.Run(ctx, &cmd)
	return o
}

// exited fails the test unless the command exited with a code, and everything is known.
func (o *output) exited(t *testing.T, code uint8) {
	t.Helper()
	if o.failure != nil {
		t.Fatalf("not run to its end: %v", o.failure)
	}
	r := o.result
	if r.State != proto.StateExited || r.Code != code || r.Missing != [2]uint64{} {
		t.Fatalf("%s, code %d, cause %d, %q, missing %d", r.State, r.Code, r.Cause, r.Reason, r.Missing)
	}
}

// through returns the daemon's client over a proxy.
func through(d *rexectest.Daemon, p *rexectest.Proxy) client.Options {
	o := d.ClientOptions()
	o.Address = p.Address()
	return o
}

// dialing makes before run with the number of each connection, from 1, before it is made.
func dialing(o client.Options, before func(n int)) client.Options {
	var n atomic.Int64
	o.Dial = func(ctx context.Context, address string) (client.Channel, error) {
		before(int(n.Add(1)))
		ch, err := transport.Dial(ctx, address, transport.Options{ALPN: proto.ALPN})
		if err != nil {
			return nil, err
		}
		return ch, nil
	}
	return o
}

// pins remembers in memory what a user's directory would.
type pins struct {
	mu   sync.Mutex
	sums map[auth.ServerID][32]byte
}

func (p *pins) Pin(id auth.ServerID) ([32]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum, ok := p.sums[id]
	return sum, ok
}

func (p *pins) SetPin(id auth.ServerID, sum [32]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sums == nil {
		p.sums = map[auth.ServerID][32]byte{}
	}
	p.sums[id] = sum
	return nil
}

// pinned returns pins that know the daemon.
func pinned(t *testing.T, d *rexectest.Daemon) *pins {
	t.Helper()
	p := new(pins)
	o := d.ClientOptions()
	o.Pins = p
	c := rexectest.NewClient(t, o)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if _, ok := p.Pin(d.ServerID()); !ok {
		t.Fatal("the server that proved itself was not pinned")
	}
	return p
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func fileSum(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sum(b)
}

// until polls for a condition.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// gone waits until no process of any daemon here is left.
func gone(t *testing.T, limit time.Duration) {
	t.Helper()
	until(t, limit, "the end of all processes", func() bool { return len(rexectest.Processes()) == 0 })
}

// safe is what may be said of a command that ran n times, when anything can happen on the way: an
// outcome if and only if it is that of the one run, and "nothing was run" only if nothing was.
func (o *output) safe(n int) error {
	var lost *client.LostError
	switch {
	case n > 1:
		return fmt.Errorf("the command ran %d times", n)
	case errors.As(o.failure, &lost):
		return nil
	case o.failure != nil && n != 0:
		return fmt.Errorf("said to have run nothing (%w), and it ran", o.failure)
	case o.failure != nil || o.result.State == proto.StateLost:
		return nil
	case o.result.State == proto.StateRefused && n != 0:
		return fmt.Errorf("said to be refused (%s), and it ran", o.result.Reason)
	case o.result.State == proto.StateExited && n == 0:
		return errors.New("said to have exited, and it never ran")
	}
	return nil
}

// gate is stdin that a test feeds.
type gate struct {
	*io.PipeReader
	w *io.PipeWriter
}

func newGate() gate {
	r, w := io.Pipe()
	return gate{r, w}
}

// seen is stdout that a test watches.
type seen struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *seen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Len()
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// zeros is n zero bytes.
func zeros(n int64) io.Reader { return io.LimitReader(endless{}, n) }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// pause lets time pass where time itself is the matter, not an event that could be awaited.
func pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
