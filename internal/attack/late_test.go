//go:build linux

package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// retain is how long a daemon remembers that forgets quickly what has ended: it is also the time that a request has to
// get there after the proof, on a busy machine.
const retain = 3 * time.Second

func short() rexectest.Options {
	return rexectest.Options{Jobs: job.Options{Grace: 100 * time.Millisecond, Retain: retain}}
}

// forgotten waits until the daemon knows nothing of an execution any more.
func forgotten(t *testing.T, d *rexectest.Daemon, id proto.ExecID) {
	t.Helper()
	until(t, time.Minute, "the daemon to forget", func() bool { return d.Table().Find("test", id) == nil })
}

// TestRequestDeliveredTwice: an attacker without any key holds a request back until the client has come over another
// connection, got its outcome, and the daemon has forgotten the execution; then it lets the first one through.
func TestRequestDeliveredTwice(t *testing.T) {
	d := rexectest.New(t, short())
	ran := newRuns(t)
	m := shell("%s", ran.count())
	m.ID = client.NewID()

	// The client's first connection, as far as the daemon sees it: a proof, and no request yet.
	first := d.Peer(t)
	m.StartBy = first.Choice.Uptime + first.Choice.Retain // what the client puts into its first request

	// The second one, after the client gave the first up.
	again := d.Peer(t)
	if o := again.Run(m); o.Exit.State != proto.StateExited {
		t.Fatalf("%+v", o.Exit)
	}
	forgotten(t, d, m.ID)
	first.Send(&m)
	if o := first.Outcome(); o.Exit.State != proto.StateLost {
		t.Errorf("the late request was answered with %+v", o.Exit)
	}
	ran.want(1)
}

// TestHeldRequest is the same with the real client over a network that holds its first request back.
func TestHeldRequest(t *testing.T) {
	d := rexectest.New(t, short())
	ran := newRuns(t)
	m := shell("%s", ran.count())
	m.ID = client.NewID()
	n, result := heldRequest(t, d, m)
	got := <-result
	forgotten(t, d, m.ID)
	n.deliver()
	until(t, time.Minute, "the late request's answer", func() bool {
		return ran.n() > 1 || slices.ContainsFunc(d.Logs(), func(line string) bool { return strings.Contains(line, "knows nothing") })
	})
	if err := got.safe(ran.n()); err != nil {
		t.Error(err)
	}
	if got.failure != nil || got.result.State != proto.StateExited {
		t.Errorf("%+v, %v; want the outcome of the second request", got.result, got.failure)
	}
}

// TestHeldRequestWhileItRuns: one that comes while the command of the second one runs does not take it from its client.
func TestHeldRequestWhileItRuns(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	ran, gate := newRuns(t), filepath.Join(t.TempDir(), "gate")
	m := shell("%suntil test -e %s; do sleep 0.05; done; exit 3", ran.count(), gate)
	m.ID = client.NewID()
	n, result := heldRequest(t, d, m)
	until(t, time.Minute, "the command's start", func() bool { return ran.n() > 0 })
	n.deliver()
	until(t, time.Minute, "the late request's answer", func() bool {
		return slices.ContainsFunc(d.Logs(), func(line string) bool { return strings.Contains(line, "another connection") })
	})
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	(<-result).exited(t, 3)
	ran.want(1)
}

// heldRequest sends a request whose end the network holds back, until the client has given up the connection and comes again.
func heldRequest(t *testing.T, d *rexectest.Daemon, m proto.Run) (*network, <-chan *output) {
	t.Helper()
	// What follows the handshake and the proof is held: about 1,400 bytes of hello with a hybrid key share, Finished
	// and a proof. The request is 8 KiB, so that the limit lies inside it.
	n := newNetwork(t, d.Address(), plan{holdAfter: 4_000}, plan{})
	m.Shell = fmt.Appendf(nil, ": %08192d; %s", 0, m.Shell)
	o := d.ClientOptions()
	o.Address = n.address()
	links := make(chan client.Channel, 4)
	plain := dialing(o, func(int) {}).Dial
	o.Dial = func(ctx context.Context, address string) (client.Channel, error) {
		ch, err := plain(ctx, address)
		if err == nil {
			links <- ch
		}
		return ch, err
	}
	ctx, result := limited(t, time.Minute), make(chan *output, 1)
	go func() { result <- run(ctx, rexectest.NewClient(t, o), client.Command{Run: m}) }()
	first := <-links
	until(t, time.Minute, "the request on its way", n.holds)
	first.Abort() // what the client does after 20 s of silence
	return n, result
}

// TestIdleConnection: a command on a connection that was idle for longer than the daemon remembers ended executions is
// a first request like any other.
func TestIdleConnection(t *testing.T) {
	d := rexectest.New(t, short())
	c := d.Client(t)
	run(t.Context(), c, client.Command{Run: shell("true")}).exited(t, 0)
	pause(retain + 500*time.Millisecond) // at a prompt, the user thinks
	got := run(t.Context(), c, client.Command{Run: shell("true")})
	if got.failure != nil || got.result.State != proto.StateExited {
		t.Errorf("after an idle time: %+v, %v", got.result, got.failure)
	}
}

// TestIdleConnectionAfterRestart: the daemon was restarted while nothing ran; the next command was never sent to the
// old instance in a way that it could have run.
func TestIdleConnectionAfterRestart(t *testing.T) {
	for name, restart := range map[string]func(d *rexectest.Daemon){
		"in order": (*rexectest.Daemon).Restart,
		"crash":    func(d *rexectest.Daemon) { d.Crash(); d.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{})
			ran := newRuns(t)
			c := d.Client(t)
			run(t.Context(), c, client.Command{Run: shell("true")}).exited(t, 0)
			restart(d)
			pause(100 * time.Millisecond) // the old connection's end has arrived
			got := run(limited(t, 20*time.Second), c, client.Command{Run: shell("%sexit 3", ran.count())})
			if err := got.safe(ran.n()); err != nil {
				t.Error(err)
			}
			if got.failure != nil {
				t.Errorf("a command that was not even sent before the restart: %v", got.failure)
			}
		})
	}
}

// TestDeniedEarlyCommand: with a pin the command rides with the proof. When the server then says, under its MAC, that
// the key does not hold, it is certain that nothing was run.
func TestDeniedEarlyCommand(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	known := pinned(t, d)
	expired := d.AddKey(auth.Key{ID: "expired", NotAfter: time.Now().Add(-time.Hour)})
	unknown := expired
	unknown.KeyID = "revoked"
	ran := newRuns(t)
	for _, key := range []auth.ClientKey{expired, unknown} {
		t.Run(key.KeyID, func(t *testing.T) {
			o := d.ClientOptions()
			o.Pins, o.Key = known, key
			got := run(limited(t, 10*time.Second), rexectest.NewClient(t, o), client.Command{Run: shell("%s", ran.count())})
			var lost *client.LostError
			if got.failure == nil || errors.As(got.failure, &lost) {
				t.Errorf("%v; want an error that says that nothing was run", got.failure)
			}
		})
	}
	ran.want(0)
}

// TestForgedEnd: anybody on the path can end a TCP stream in order. It must not pass for the client's own good-bye, or
// the daemon throws away the output that the client comes back for.
func TestForgedEnd(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	ran, dir := newRuns(t), t.TempDir()
	for _, size := range []int{30_000, 200_000, 900_000} {
		for _, at := range []int64{2_600, 5_000, 20_000} {
			n := newNetwork(t, d.Address(), plan{finAfter: at}, plan{})
			o := d.ClientOptions()
			o.Address = n.address()
			got := run(limited(t, 20*time.Second), rexectest.NewClient(t, o),
				client.Command{Run: shell("%shead -c %d /dev/urandom | tee %s/out", ran.count(), size, dir)})
			if got.failure != nil || got.result.State != proto.StateExited {
				t.Errorf("%d bytes ended at %d: %+v, %v", size, at, got.result, got.failure)
				continue
			}
			if got.result.Missing != [2]uint64{} || sum(got.out.Bytes()) != fileSum(t, filepath.Join(dir, "out")) {
				t.Errorf("%d bytes ended at %d: %d arrived, %d are said to be missing", size, at, got.out.Len(), got.result.Missing[0])
			}
		}
	}
	ran.want(9)
}

// TestUploadIsProgress: a client whose upload moves on is not losing its patience.
func TestUploadIsProgress(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	p := rexectest.NewProxy(t, d.Address())
	o := dialing(through(d, p), func(int) { p.CutAfterSent(400_000) })
	began := time.Now()
	got := run(limited(t, 60*time.Second), rexectest.NewClient(t, o),
		client.Command{Run: shell("cat > /dev/null"), Stdin: zeros(4_000_000)})
	got.exited(t, 0)
	// A dozen connections at full speed take far less; with a pause that grows before each it is half a minute.
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("4 MB over connections of 400 kB took %s", took.Round(time.Second))
	}
}
