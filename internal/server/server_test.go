package server_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/server"
)

// TestShutdownWithPeerThatReadsNothing: the peer fills every buffer and stays.
func TestShutdownWithPeerThatReadsNothing(t *testing.T) {
	tests := []struct {
		name string
		act  func(t *testing.T, d *daemon, c *client)
	}{
		{"asks for pongs", func(_ *testing.T, _ *daemon, c *client) { flood(c, proto.Ping{Token: 1}) }},
		{"asks for pongs while a command runs", func(t *testing.T, d *daemon, c *client) {
			d.half.start = sleep
			c.send(request(1))
			c.await(proto.TypeStarted)
			flood(c, proto.Ping{Token: 1})
		}},
		{"has the window full of output", func(t *testing.T, d *daemon, c *client) {
			d.half.start = func(*proto.Run) (*job.Process, error) {
				s, p, err := newSleeper("")
				go func() { _, _ = s.out.Write(make([]byte, 64<<20)) }()
				return p, err
			}
			c.send(request(1))
			c.await(proto.TypeStdout)
		}},
		{"has an exit record to come", func(t *testing.T, d *daemon, c *client) {
			d.half.start = func(*proto.Run) (*job.Process, error) {
				s, p, err := newSleeper("")
				go func() { _, _ = s.out.Write(make([]byte, 300<<10)); s.end(0) }()
				return p, err
			}
			c.send(request(1))
			c.await(proto.TypeStarted)
			flood(c, proto.Ping{Token: 1})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t, job.Options{}, server.Options{})
			c := d.proven()
			tt.act(t, d, c)
			defer c.conn.Close() // lets the clean-up go on after a failure
			d.shutdown(patience)
		})
	}
}

// flood writes a message until nobody takes any more for a while. (Whoever takes all of them for ever is not stopped.)
func flood(c *client, m proto.Message) {
	frames := []byte{}
	for range 1000 {
		frames = proto.AppendFrame(frames, m)
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		_ = c.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := c.conn.Write(frames); err != nil {
			break
		}
	}
	_ = c.conn.SetWriteDeadline(time.Time{})
}

// TestFloodOfPings: pongs that nobody reads must cost the daemon no memory.
func TestFloodOfPings(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = sleep
	c := d.proven()
	c.send(request(1))
	c.await(proto.TypeStarted)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	frames := []byte{}
	for range 1000 {
		frames = proto.AppendFrame(frames, proto.Ping{Token: 1})
	}
	for range 100 {
		if _, err := c.conn.Write(frames); err != nil {
			break // it was cut off
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("100,000 pings hold %d bytes", grown)
	}
}

// TestFloodIsCutOff: who sends messages that move nothing on without an end is told, and is gone.
func TestFloodIsCutOff(t *testing.T) {
	for name, m := range map[string]proto.Message{
		"ping": proto.Ping{Token: 1}, "pong": proto.Pong{Token: 1}, "signal": proto.Signal{Name: "USR1"},
		"window": &proto.Window{}, "to be skipped": typed(0xff),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t, job.Options{}, server.Options{})
			d.half.start = sleep
			c := d.proven()
			c.send(request(1))
			c.await(proto.TypeStarted)
			frames := []byte{}
			for range 1000 {
				frames = proto.AppendFrame(frames, m)
			}
			go func() { // the slower the daemon, the more of them it forgives
				for {
					if _, err := c.conn.Write(frames); err != nil {
						return
					}
				}
			}()
			for {
				e, err := proto.ParseError(c.await(proto.TypeError))
				if err != nil {
					t.Fatal(err)
				}
				if e.Code == proto.ErrorFlood {
					return
				}
			}
		})
	}
}

// typed is a message of a type without a payload.
type typed byte

func (m typed) Append(b []byte) []byte { return append(b, byte(m)) }

// TestShutdownWithSilentStranger: who never proved anything must not hold the daemon up for longer
// than those who did.
func TestShutdownWithSilentStranger(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{HandshakeTimeout: time.Hour})
	d.connect()
	d.proven() // the stranger is in the handshake by now
	d.shutdown(patience)
}

// TestShutdownGivesAStartingCommandItsTime: the request came before the shutdown, its command is
// started, and its client must get the outcome.
func TestShutdownGivesAStartingCommandItsTime(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	starting, proceed := make(chan struct{}), make(chan struct{})
	var program *sleeper
	d.half.start = func(*proto.Run) (*job.Process, error) {
		close(starting)
		<-proceed
		s, p, err := newSleeper("done")
		program = s
		return p, err
	}
	c, idle := d.proven(), d.proven()
	m := request(1)
	m.OnDisconnect = proto.DisconnectKeep
	c.send(m)
	<-starting
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	down := make(chan struct{})
	go func() { defer close(down); d.server.Shutdown(ctx) }()
	idle.await(proto.TypeError) // the sessions are told
	late := d.proven()
	late.send(request(2))
	if x, err := proto.ParseExit(late.await(proto.TypeExit)); err != nil || x.State != proto.StateRefused || x.Cause != proto.CauseShutdown {
		t.Errorf("who comes while commands are drained: %+v, %v", x, err)
	}
	close(proceed)
	typ, _, err := c.read()
	if typ != proto.TypeStarted || err != nil {
		t.Errorf("after the start: %v, %v; want started", typ, err)
	} else {
		program.end(0)
		if x, err := proto.ParseExit(c.await(proto.TypeExit)); err != nil || x.State != proto.StateExited {
			t.Errorf("%+v, %v", x, err)
		}
	}
	program.end(0)
	<-down
}

// TestRevokedWhileDraining: a key that is revoked ends its commands although they were given time to end.
func TestRevokedWhileDraining(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = sleep
	var revoked atomic.Bool
	d.half.authorize = func() error {
		if revoked.Load() {
			return errors.New("the key was revoked")
		}
		return nil
	}
	c, idle := d.proven(), d.proven()
	c.send(request(1))
	c.await(proto.TypeStarted)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	down := make(chan struct{})
	go func() { defer close(down); d.server.Shutdown(ctx) }()
	idle.await(proto.TypeError) // the sessions are told
	revoked.Store(true)
	x, err := proto.ParseExit(c.await(proto.TypeExit))
	if err != nil || x.State != proto.StateKilled || x.Cause != proto.CauseRevoked {
		t.Errorf("%+v, %v", x, err)
	}
	<-down
	if ctx.Err() != nil {
		t.Error("it ended with the time for draining only")
	}
}

// TestRefusedMeansNotStarted: the state "refused" says that nothing ran, so nothing may run then.
func TestRefusedMeansNotStarted(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = sleep
	m := request(1)
	m.StdoutFrom = 5 // there are no 5 bytes of output that a new command could have
	c := d.proven()
	c.send(m)
	typ, payload := c.next()
	x, err := proto.ParseExit(payload)
	if typ != proto.TypeExit || err != nil {
		t.Fatalf("%v, %v", typ, err)
	}
	if n := d.half.starts.Load(); n != 0 && x.State == proto.StateRefused {
		t.Errorf("the record says %s (%s), and the command runs", x.State, x.Reason)
	}
}

// TestComingBackIsNotRefused: a command that runs must not be reported as "not started" when its
// client comes back and is not let in any more.
func TestComingBackIsNotRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *proto.Run, policy *atomic.Bool)
	}{
		{"policy changed", func(_ *proto.Run, changed *atomic.Bool) { changed.Store(true) }},
		{"offset beyond the output", func(m *proto.Run, _ *atomic.Bool) { m.StderrFrom = 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDaemon(t, job.Options{}, server.Options{})
			d.half.start = sleep
			var changed atomic.Bool
			d.half.authorize = func() error {
				if changed.Load() {
					return errors.New("not from here")
				}
				return nil
			}
			m := request(1)
			m.OnDisconnect = proto.DisconnectKeep
			first := d.proven()
			first.send(m)
			first.await(proto.TypeStarted)
			tt.change(m, &changed)
			m.StartBy = 1
			again := d.proven()
			again.send(m)
			typ, payload := again.next()
			if typ == proto.TypeExit {
				if x, err := proto.ParseExit(payload); err != nil || x.State == proto.StateRefused {
					t.Errorf("the command runs, and its record says %s: %s (%v)", x.State, x.Reason, err)
				}
			}
		})
	}
}

// TestTakenOver: the older connection is told, in order, even when it has more to say than anybody reads.
func TestTakenOver(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = func(*proto.Run) (*job.Process, error) {
		s, p, err := newSleeper("")
		go func() { _, _ = s.out.Write(make([]byte, 64<<20)) }()
		return p, err
	}
	for round := range 20 {
		m := request(byte(round + 1))
		older := d.proven()
		older.send(m)
		older.await(proto.TypeStdout)
		stop := make(chan struct{})
		go func() { // as a client that reads on and acknowledges
			defer close(stop)
			for {
				if err := older.out.Write(&proto.Ack{Stream: proto.Stdout, Window: 1 << 20}); err != nil {
					return
				}
			}
		}()
		newer := d.proven()
		m2 := *m
		m2.StdoutFrom = proto.FromRetained
		newer.send(&m2)
		told := false
		for {
			typ, payload, err := older.read()
			if err != nil {
				if !told {
					t.Errorf("round %d: the older connection ended without being told: %v", round, err)
				}
				break
			}
			if typ == proto.TypeError {
				e, err := proto.ParseError(payload)
				told = err == nil && e.Code == proto.ErrorTakenOver
			}
		}
		older.conn.Close()
		<-stop
		newer.await(proto.TypeStarted)
		newer.conn.Close()
	}
}

// TestReusedConnectionSurvivesALateTakeover: whoever attaches to a command that has just ended must not
// break the connection it ran on, where the next command may run already.
func TestCommandsInARow(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = func(*proto.Run) (*job.Process, error) {
		s, p, err := newSleeper("hello")
		s.end(3)
		return p, err
	}
	c := d.proven()
	for i := range 200 {
		c.send(request(byte(i + 1)))
		out := ""
		for {
			typ, payload := c.next()
			if typ == proto.TypeStdout {
				out += string(payload[8:])
			}
			if typ == proto.TypeExit {
				x, err := proto.ParseExit(payload)
				if err != nil || x.Code != 3 || out != "hello" || x.StdoutBytes != 5 {
					t.Fatalf("command %d: %+v, %q, %v", i, x, out, err)
				}
				break
			}
		}
	}
}

// TestFrameClaims: a length alone allocates nothing.
func TestFrameClaims(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	claims := map[string]struct {
		proven bool
		bytes  []byte
	}{
		"stranger, 4 GiB":     {false, []byte{0xff, 0xff, 0xff, 0xff, 1}},
		"stranger, limit + 1": {false, []byte{0, 0, 0x10, 1, 1}},
		"run of 1 MiB":        {true, []byte{0, 0x10, 0, 1, byte(proto.TypeRun), 1, 2, 3}},
		"run of 4 GiB":        {true, []byte{0xff, 0xff, 0xff, 0xff, byte(proto.TypeRun)}},
		"ping of 64 KiB":      {true, []byte{0, 1, 0, 0, byte(proto.TypePing), 1}},
		"signal of 2 GiB":     {true, []byte{0x7f, 0xff, 0xff, 0xff, byte(proto.TypeSignal)}},
	}
	for name, tt := range claims {
		t.Run(name, func(t *testing.T) {
			const conns = 20
			var before, after runtime.MemStats
			var open []*client
			for range conns {
				if tt.proven {
					open = append(open, d.proven())
				} else {
					open = append(open, d.connect())
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&before)
			for _, c := range open {
				if _, err := c.conn.Write(tt.bytes); err != nil {
					t.Fatal(err)
				}
			}
			d.proven().conn.Close() // what was sent before has been looked at, more or less
			pause(20 * time.Millisecond)
			runtime.ReadMemStats(&after)
			if grown := int64(after.TotalAlloc-before.TotalAlloc) / conns; grown > 64<<10 {
				t.Errorf("%d bytes were allocated for each claim", grown)
			}
			for _, c := range open {
				c.conn.Close()
			}
		})
	}
}

// TestManySilentStrangers: somebody with a key gets in, in time, every time.
func TestManySilentStrangers(t *testing.T) {
	const strangers = 300
	d := newDaemon(t, job.Options{}, server.Options{HandshakeTimeout: time.Hour})
	for range strangers {
		d.connect()
	}
	for range 10 {
		began := time.Now()
		for {
			c, err := prove(t, d) // may be dropped at random, as everybody
			c.closeIfOpen()
			if err == nil {
				break
			}
		}
		if took := time.Since(began); took > patience {
			t.Errorf("logging in took %s", took)
		}
		if n := d.server.Counts().Unproven.TCP; n < strangers {
			t.Errorf("only %d of the strangers are left", n)
		}
	}
}

func (c *client) closeIfOpen() {
	if c != nil {
		c.conn.Close()
	}
}

// TestPanicsStayInTheirConversation: the daemon goes on, and can be shut down.
func TestPanicsStayInTheirConversation(t *testing.T) {
	d := newDaemon(t, job.Options{}, server.Options{})
	d.half.start = func(m *proto.Run) (*job.Process, error) {
		if strings.HasPrefix(string(m.Shell), "panic") {
			panic("internal error: of the test")
		}
		return sleep(m)
	}
	c := d.proven()
	m := request(1)
	m.Shell = []byte("panic")
	c.send(m)
	for err := error(nil); err == nil; {
		_, _, err = c.read()
	}
	good := d.proven()
	good.send(request(2))
	good.await(proto.TypeStarted)
	good.conn.Close()
	now, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { defer close(done); d.server.Shutdown(now) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the daemon cannot be shut down any more")
	}
}
