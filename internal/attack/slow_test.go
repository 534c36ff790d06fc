//go:build linux

package attack

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// held is the memory that this process, which is the daemon's, holds on to, in bytes: the heap after a collection and
// the stacks. (The resident memory of a process under the race detector says little.)
func held() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestNobodyReads: commands that print without end for clients that read nothing. Memory stays flat, others
// do not notice, and an interrupt still works.
func TestNobodyReads(t *testing.T) {
	const duration = 30 * time.Second
	const readers = 20
	d := rexectest.New(t, rexectest.Options{})
	var peers []*rexectest.Peer
	for range readers {
		p := d.Peer(t)
		_ = p.Conn.SetDeadline(time.Now().Add(2 * time.Minute))
		m := shell("exec yes")
		m.ID = client.NewID()
		p.Send(&m)
		peers = append(peers, p)
	}
	worst := commandsFor(t, d, 2*time.Second) // warm-up: windows and buffers fill
	before := held()
	worst = max(worst, commandsFor(t, d, duration))
	after := held()
	// Windows that grew would show as 20 MiB and more; the commands of the other client are remembered.
	if grown := after - before; grown > 8<<20 {
		t.Errorf("the daemon grew by %d KiB in %s beside %d clients that read nothing", grown>>10, duration, readers)
	}
	t.Logf("%d KiB, then %d KiB; slowest command of another client %s", before>>10, after>>10, worst)
	if worst > 2*time.Second {
		t.Errorf("another client's command took %s", worst)
	}
	peers[7].Send(proto.Signal{Name: "INT"})
	until(t, time.Minute, "an interrupted command to end", func() bool { return len(rexectest.Processes()) < readers })
	within(t, 20*time.Second, "reading the rest of an interrupted command", func() { interrupted(t, peers[7]) })
	within(t, 15*time.Second, "shutting down with 19 clients that read nothing", d.Stop)
	gone(t, time.Minute)
}

// interrupted reads and acknowledges to the exit record.
func interrupted(t *testing.T, p *rexectest.Peer) {
	got := uint64(0)
	for {
		typ, payload, err := p.Read()
		if err != nil {
			t.Errorf("after %d bytes: %v", got, err)
			return
		}
		switch typ {
		case proto.TypeStdout:
			got += uint64(len(payload) - 8)
			if err := p.Out.Write(&proto.Ack{Stream: proto.Stdout, Offset: got, Window: 1 << 20}); err != nil {
				t.Error(err)
			}
		case proto.TypeExit:
			x, err := proto.ParseExit(payload)
			if err != nil || x.State != proto.StateSignaled || x.Signal != "INT" || x.StdoutBytes != got {
				t.Errorf("%+v after %d bytes, %v", x, got, err)
			}
			return
		}
	}
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

// commandsFor runs commands of a well-behaved client for a while and returns the slowest.
func commandsFor(t *testing.T, d *rexectest.Daemon, duration time.Duration) (worst time.Duration) {
	t.Helper()
	c := d.Client(t)
	end := time.Now().Add(duration)
	for time.Now().Before(end) {
		began := time.Now()
		run(t.Context(), c, client.Command{Run: shell("true")}).exited(t, 0)
		worst = max(worst, time.Since(began))
		time.Sleep(20 * time.Millisecond)
	}
	return worst
}

// TestShutdownWithStoppedClients: over TCP, once for each place where the daemon may be writing.
func TestShutdownWithStoppedClients(t *testing.T) {
	t.Parallel() // so the processes are looked for after all tests
	for name, text := range map[string]string{
		"endless output": "exec yes", "much output": "head -c 20000000 /dev/zero", "ignores being told": "trap '' HUP TERM; exec yes",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := rexectest.New(t, rexectest.Options{})
			p := d.Peer(t)
			m := shell("%s", text)
			m.ID = client.NewID()
			p.Send(&m)
			if typ, _ := p.Next(); typ != proto.TypeStarted {
				t.Fatal(typ)
			}
			defer p.Conn.Close() // lets the clean-up go on after a failure
			// Until nothing moves: every buffer is full.
			pause(200 * time.Millisecond)
			within(t, 20*time.Second, "shutting down", d.Stop)
		})
	}
}

// TestSilentSockets: 300 sockets that say nothing, and a client that gets in within 2 s.
func TestSilentSockets(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for range 300 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", d.Address())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	for range 5 {
		began := time.Now()
		c := client.New(d.ClientOptions())
		if err := c.Connect(limited(t, 10*time.Second)); err != nil {
			t.Error(err)
		}
		_ = c.Close()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("getting in took %s", took)
		}
	}
}

// TestThousandCommands: the record always follows all output, whoever else runs what.
func TestThousandCommands(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			c := client.New(d.ClientOptions())
			defer func() { _ = c.Close() }()
			for i := range 125 {
				text := "worker " + strconv.Itoa(worker) + " command " + strconv.Itoa(i) + "\n"
				got := run(context.Background(), c, client.Command{Run: proto.Run{
					Argv: [][]byte{[]byte("printf"), []byte("%s"), []byte(text)}}})
				if got.failure != nil || got.result.State != proto.StateExited || got.result.Code != 0 || got.out.String() != text {
					t.Errorf("%q: %+v, %v, output %q", text, got.result, got.failure, got.out.String())
					return
				}
			}
		})
	}
	wg.Wait()
	gone(t, time.Minute)
}
