//go:build linux

package attack

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// TestOutputSurvivesCuts breaks the connection some fifty times in 20 MB of stdout and stderr.
func TestOutputSurvivesCuts(t *testing.T) {
	r := random(t)
	d := rexectest.New(t, rexectest.Options{})
	p := rexectest.NewProxy(t, d.Address())
	ran, dir := newRuns(t), t.TempDir()
	cuts := 0
	o := dialing(through(d, p), func(n int) {
		cuts = n
		limit := 2_000 + r.Int64N(800_000)
		if n%10 == 0 {
			limit = r.Int64N(2_500) // in the handshake, too
		}
		p.CutAfter(limit)
	})
	got := run(limited(t, 60*time.Second), rexectest.NewClient(t, o), client.Command{Run: shell("%scd %s; head -c 12000000 /dev/urandom | tee out & cd %s; head -c 8000000 /dev/urandom | tee err >&2; wait; exit 3",
		ran.count(), dir, dir)})
	got.exited(t, 3)
	ran.want(1)
	if cuts < 20 {
		t.Errorf("only %d connections", cuts)
	}
	if sum(got.out.Bytes()) != fileSum(t, filepath.Join(dir, "out")) || sum(got.err.Bytes()) != fileSum(t, filepath.Join(dir, "err")) {
		t.Errorf("the output is not what was written: %d and %d bytes", got.out.Len(), got.err.Len())
	}
	t.Logf("%d connections, resumed %d", cuts, got.result.Resumed)
}

// TestInputSurvivesCuts is the same for 10 MB of stdin, cut in both directions.
func TestInputSurvivesCuts(t *testing.T) {
	in := make([]byte, 10_000_000)
	r := random(t)
	for i := range in {
		in[i] = byte(r.Uint32())
	}
	for _, program := range []string{"sha256sum", "cat"} {
		t.Run(program, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{})
			p := rexectest.NewProxy(t, d.Address())
			ran := newRuns(t)
			cuts := 0
			o := dialing(through(d, p), func(n int) {
				cuts = n
				p.CutAfterSent(2_000 + r.Int64N(1_000_000))
				p.CutAfter(-1)
				if n%3 == 0 {
					p.CutAfter(2_200 + r.Int64N(3_000)) // behind the handshake, or there is no progress
				}
			})
			got := run(limited(t, 60*time.Second), rexectest.NewClient(t, o),
				client.Command{Run: shell("%s%s", ran.count(), program), Stdin: bytes.NewReader(in)})
			got.exited(t, 0)
			ran.want(1)
			if cuts < 10 {
				t.Errorf("only %d connections", cuts)
			}
			if program == "cat" && !bytes.Equal(got.out.Bytes(), in) {
				t.Errorf("%d bytes came back, not those that were sent", got.out.Len())
			}
			if program == "sha256sum" && got.out.String() != sum(in)+"  -\n" {
				t.Errorf("the program read something else: %q", got.out.String())
			}
		})
	}
}

// TestCutAnywhere cuts the first connection of a short command at every few bytes of either direction:
// in the handshake, around the request, started, output and exit record.
func TestCutAnywhere(t *testing.T) {
	for _, early := range []bool{false, true} {
		name := "command after the server's proof"
		if early {
			name = "command with the client's proof"
		}
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{})
			known := pinned(t, d)
			p := rexectest.NewProxy(t, d.Address())
			for _, from := range []bool{true, false} {
				for at := int64(0); at < 3_200; at += 67 {
					o := dialing(through(d, p), func(n int) {
						p.CutAfter(-1)
						p.CutAfterSent(-1)
						if n == 1 && from {
							p.CutAfter(at)
						} else if n == 1 {
							p.CutAfterSent(at)
						}
					})
					if early {
						o.Pins = known
					}
					cutOnce(t, o, at)
				}
			}
		})
	}
}

func cutOnce(t *testing.T, o client.Options, at int64) {
	t.Helper()
	ran := newRuns(t)
	got := run(limited(t, 20*time.Second), rexectest.NewClient(t, o), client.Command{Run: shell("%secho hello", ran.count())})
	if got.failure == nil && got.result.State == proto.StateExited {
		got.exited(t, 0)
		if got.out.String() != "hello\n" {
			t.Errorf("cut at %d: output %q", at, got.out.String())
		}
	}
	if err := got.safe(ran.n()); err != nil {
		t.Errorf("cut at %d: %v", at, err)
	}
}

// TestBlackhole: a network that swallows everything is noticed, also in the middle of a frame, and the
// rest comes over the next connection.
func TestBlackhole(t *testing.T) {
	t.Parallel()
	d := rexectest.New(t, rexectest.Options{})
	hole, way := rexectest.NewProxy(t, d.Address()), rexectest.NewProxy(t, d.Address())
	ran, dir := newRuns(t), t.TempDir()
	o := d.ClientOptions()
	o.Address = hole.Address()
	c := rexectest.NewClient(t, redirect(o, hole, way))
	out := new(seen)
	go func() { // ends with the run at the latest
		for out.len() < 2_000_000 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
		hole.Blackhole()
	}()
	res, err := c.Run(limited(t, 45*time.Second), &client.Command{
		Run: shell("%shead -c 20000000 /dev/urandom | tee %s/out", ran.count(), dir), Stdout: out})
	if err != nil {
		t.Fatalf("after %d bytes: %v", out.len(), err)
	}
	if res.Resumed == 0 {
		t.Skip("all output was there before the hole")
	}
	if sum([]byte(out.String())) != fileSum(t, filepath.Join(dir, "out")) {
		t.Errorf("%d wrong bytes", out.len())
	}
	ran.want(1)
}

// redirect sends the first connection through one proxy and all others through another.
func redirect(o client.Options, first, others *rexectest.Proxy) client.Options {
	plain := dialing(o, func(int) {}).Dial
	var mu sync.Mutex
	n := 0
	o.Dial = func(ctx context.Context, _ string) (client.Channel, error) {
		mu.Lock()
		n++
		to := others.Address()
		if n == 1 {
			to = first.Address()
		}
		mu.Unlock()
		return plain(ctx, to)
	}
	return o
}

// TestRestart: a client never runs a command on two instances.
func TestRestart(t *testing.T) {
	for name, end := range map[string]func(*rexectest.Daemon){
		"crash": (*rexectest.Daemon).Crash,
	} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{})
			ran := newRuns(t)
			c := d.Client(t)
			done := make(chan *output, 1)
			ctx := limited(t, 40*time.Second)
			go func() { done <- run(ctx, c, client.Command{Run: shell("%ssleep 30", ran.count())}) }()
			until(t, time.Minute, "the command's start", func() bool { return ran.n() == 1 })
			end(d)
			d.Start()
			got := <-done
			var lost *client.LostError
			if !errors.As(got.failure, &lost) || !errors.Is(got.failure, client.ErrRestarted) {
				t.Errorf("%v, want a loss by restart", got.failure)
			}
			ran.want(1)
		})
	}
}

// TestGraceExpiry: what nobody comes back for is ended with its whole tree.
func TestGraceExpiry(t *testing.T) {
	for name, limit := range map[string]struct {
		policy proto.Disconnect
		grace  time.Duration
	}{
		"grace": {proto.DisconnectGrace, 300 * time.Millisecond},
		"kill":  {proto.DisconnectKill, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{Jobs: job.Options{
				Grace: limit.grace, Retain: 2 * time.Hour, StopGrace: 200 * time.Millisecond}})
			p := rexectest.NewProxy(t, d.Address())
			ran := newRuns(t)
			m := shell("%strap '' HUP TERM; (setsid sh -c 'trap \"\" HUP TERM; sleep 60; :' &); sleep 60; :", ran.count())
			m.OnDisconnect = limit.policy
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan *output, 1)
			go func() { done <- run(ctx, rexectest.NewClient(t, through(d, p)), client.Command{Run: m}) }()
			until(t, time.Minute, "the command's start", func() bool { return ran.n() == 1 && len(rexectest.Processes()) >= 3 })
			p.Refuse()
			p.Cut()
			cancel()
			var lost *client.LostError
			if got := <-done; !errors.As(got.failure, &lost) {
				t.Errorf("%v, want a loss", got.failure)
			}
			gone(t, time.Minute)
		})
	}
}

// TestTwoClientsOneID: the command runs once; one client has its end, the other is told that it was taken over
// and does not fight back.
func TestTwoClientsOneID(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for round := range 8 {
		ran := newRuns(t)
		m := shell("%shead -c 30000000 /dev/zero; sleep 0.2; exit 5", ran.count())
		m.ID = client.NewID()
		m.StdoutFrom = 0
		ctx := limited(t, 30*time.Second)
		results := make(chan *output, 2)
		for range 2 {
			c := d.Client(t)
			go func() { results <- run(ctx, c, client.Command{Run: m}) }()
		}
		ended, told := 0, 0
		for range 2 {
			got := <-results
			var said *proto.Error
			switch {
			case got.failure == nil && got.result.State == proto.StateExited && got.result.Code == 5:
				ended++
				if n := uint64(got.out.Len()) + got.result.Missing[0]; n != 30_000_000 {
					t.Errorf("round %d: %d bytes with those missing", round, n)
				}
			case errors.As(got.failure, &said) && said.Code == proto.ErrorTakenOver:
				told++
			default:
				t.Errorf("round %d: %+v, %v", round, got.result, got.failure)
			}
		}
		if ended < 1 {
			t.Errorf("round %d: %d ended, %d told of the takeover", round, ended, told)
		}
		ran.want(1)
	}
}

// TestTakeoverIsTold: a client in the middle of its output, with acknowledgements on the way, learns why its
// connection ended; a reset would make it come back and take over in turn.
func TestTakeoverIsTold(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for round := range 10 {
		m := shell("exec yes")
		m.ID = client.NewID()
		out := new(seen)
		first, second := make(chan error, 1), make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		c1, c2 := d.Client(t), d.Client(t)
		go func() {
			_, err := c1.Run(ctx, &client.Command{Run: m, Stdout: out})
			first <- err
		}()
		until(t, time.Minute, "output", func() bool { return out.len() > 1<<20 })
		go func() {
			_, err := c2.Run(ctx, &client.Command{Run: m})
			second <- err
		}()
		select {
		case err := <-first:
			var said *proto.Error
			if !errors.As(err, &said) || said.Code != proto.ErrorTakenOver {
				t.Errorf("round %d: the older client got %v", round, err)
			}
		case err := <-second:
			t.Errorf("round %d: the newer client was thrown out: %v", round, err)
			second <- err
		case <-time.After(10 * time.Second):
			t.Errorf("round %d: nobody gives way", round)
		}
		cancel()
		<-second
	}
}

// TestTakeoverUnheard: a client whose network stood still while it was taken over is told when it comes back, and the
// later client keeps the command.
func TestTakeoverUnheard(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	hole := rexectest.NewProxy(t, d.Address())
	gate := filepath.Join(t.TempDir(), "gate")
	m := shell("echo begun; until test -e %s; do sleep 0.05; done; exit 7", gate)
	m.ID = client.NewID()
	ctx := limited(t, time.Minute)
	begun, attached := new(seen), make(chan struct{})
	older, newer := make(chan error, 1), make(chan *output, 1)
	go func() {
		_, err := rexectest.NewClient(t, through(d, hole)).Run(ctx, &client.Command{Run: m, Stdout: begun})
		older <- err
	}()
	until(t, time.Minute, "output", func() bool { return begun.len() > 0 })
	hole.Blackhole()
	c := d.Client(t)
	go func() { newer <- run(ctx, c, client.Command{Run: m, Started: func() { close(attached) }}) }()
	<-attached
	hole.Cut()
	hole.Forward()
	var said *proto.Error
	if err := <-older; !errors.As(err, &said) || said.Code != proto.ErrorTakenOver {
		t.Errorf("the older client got %v", err)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-newer; got.failure != nil || got.result.Code != 7 || got.result.Resumed != 0 {
		t.Errorf("the newer client got %+v, %v", got.result, got.failure)
	}
}

func TestConflict(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	ran, other := newRuns(t), newRuns(t)
	m := shell("%s", ran.count())
	m.ID = client.NewID()
	run(t.Context(), d.Client(t), client.Command{Run: m}).exited(t, 0)
	m.Shell = []byte(other.count())
	got := run(t.Context(), d.Client(t), client.Command{Run: m})
	if got.failure != nil || got.result.State != proto.StateRefused || got.result.Cause != proto.CauseConflict {
		t.Errorf("%+v, %v; want a conflict", got.result, got.failure)
	}
	other.want(0)
	ran.want(1)
}

// TestEndOfInputIsNotLost: everything but the end of stdin had arrived when the network broke.
func TestEndOfInputIsNotLost(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	hole, way := rexectest.NewProxy(t, d.Address()), rexectest.NewProxy(t, d.Address())
	c := rexectest.NewClient(t, redirect(d.ClientOptions(), hole, way))
	in, out := newGate(), new(seen)
	done := make(chan error, 1)
	ctx := limited(t, 20*time.Second)
	go func() {
		res, err := c.Run(ctx, &client.Command{Run: shell("cat; exit 4"), Stdin: in, Stdout: out})
		if err == nil && res.Code != 4 {
			err = errors.New("wrong code")
		}
		done <- err
	}()
	if _, err := in.w.Write([]byte("all there is\n")); err != nil {
		t.Fatal(err)
	}
	until(t, time.Minute, "the echo", func() bool { return out.len() == 13 })
	pause(50 * time.Millisecond) // the acknowledgement of stdin comes right behind
	hole.Blackhole()
	in.w.Close()
	pause(50 * time.Millisecond) // the end of stdin goes into the hole
	hole.Cut()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("after coming back: %v; the command waits for an end of stdin that is never sent again", err)
		}
	case <-time.After(25 * time.Second):
		t.Error("the client hangs")
	}
	if out.String() != "all there is\n" {
		t.Errorf("%q", out.String())
	}
}

// TestCutsWhileSignalling mixes signals, stdin and cuts; whatever happens, the outcome is known.
func TestManyShortCommandsOverBadNetwork(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	seed := random(t).Uint64()
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			p := rexectest.NewProxy(t, d.Address())
			o := dialing(through(d, p), func(n int) {
				p.CutAfter(1_400 + r.Int64N(4_000))
				if n > 4 {
					p.CutAfter(-1)
				}
			})
			for range 10 {
				ran := newRuns(t)
				c := client.New(o)
				got := run(limited(t, 30*time.Second), c, client.Command{Run: shell("%sseq 1000", ran.count())})
				_ = c.Close()
				if err := got.safe(ran.n()); err != nil {
					t.Error(err)
				}
				if got.failure == nil && got.result.State == proto.StateExited && got.out.Len() != 3893 {
					t.Errorf("%d bytes of seq 1000", got.out.Len())
				}
			}
		})
	}
	wg.Wait()
}
