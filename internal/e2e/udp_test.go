//go:build linux

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

func newUDPDaemon(t *testing.T) *rexectest.Daemon {
	t.Helper()
	return rexectest.New(t, rexectest.Options{Transport: client.UDP})
}

// through returns a client whose datagrams go through a proxy.
func through(t *testing.T, d *rexectest.Daemon, p *rexectest.UDPProxy) *client.Client {
	t.Helper()
	o := d.ClientOptions()
	o.Address = p.Address()
	return rexectest.NewClient(t, o)
}

// transfer sends size bytes of noise through a command's output and demands all of them, once. midway is
// called when a fifth has arrived.
func transfer(t *testing.T, d *rexectest.Daemon, c *client.Client, size int64, midway func()) *client.Result {
	t.Helper()
	noise := make([]byte, size)
	fillNoise(noise)
	file := filepath.Join(t.TempDir(), "noise")
	if err := os.WriteFile(file, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	out := writerFunc(func(b []byte) (int, error) {
		if before := int64(got.Len()); before < size/5 && before+int64(len(b)) >= size/5 {
			midway()
		}
		return got.Write(b)
	})
	starts := d.Starts()
	r, err := c.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("cat " + file)}, Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 0 || r.Missing != [2]uint64{} || !bytes.Equal(got.Bytes(), noise) {
		t.Fatalf("got %d of %d bytes, equal: %v, result %+v", got.Len(), size, bytes.Equal(got.Bytes(), noise), r)
	}
	if n := d.Starts() - starts; n != 1 {
		t.Errorf("started %d times", n)
	}
	return r
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// fillNoise fills b with bytes that do not repeat.
func fillNoise(b []byte) {
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
}

const transferSize = 50 << 20

// TestUDPCut loses everything for 20 s in the middle of a transfer.
func TestUDPCut(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	p := rexectest.NewUDPProxy(t, d.Address())
	r := transfer(t, d, through(t, d, p), transferSize, func() {
		p.Blackhole()
		time.AfterFunc(20*time.Second, p.Forward)
	})
	t.Logf("%d MiB with 20 s of silence within: complete, connections made good: %d", transferSize>>20, r.Resumed)
}

// TestUDPDies ends UDP for good in the middle of a transfer: it goes on over TCP.
func TestUDPDies(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	tcp, udp := rexectest.NewProxies(t, d.Address())
	tcp.Refuse() // so that UDP it is
	var log lines
	o := d.ClientOptions()
	o.Address, o.Transport, o.Log = tcp.Address(), client.Auto, log.add
	r := transfer(t, d, rexectest.NewClient(t, o), transferSize, func() {
		udp.Blackhole()
		tcp.Admit()
	})
	if r.Resumed == 0 || tcp.Accepted() == 0 {
		t.Errorf("resumed %d times, %d connections over TCP", r.Resumed, tcp.Accepted())
	}
	for _, want := range []string{"over UDP in", "over TCP in", "connection lost"} {
		if !strings.Contains(log.text(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.text())
		}
	}
}

// TestLargeTransferMoves: what began over UDP and turns out to be large goes on over TCP where that is to be
// had, in both directions, and over UDP where it is not. The command ends once that is settled.
func TestLargeTransferMoves(t *testing.T) {
	for name, tt := range map[string]struct {
		admit   bool
		shell   string
		stdin   int
		settled string // what the log says then; empty: from the beginning
	}{
		"output":  {true, "head -c 200000 /dev/zero", 0, "going on over TCP"},
		"input":   {true, "head -c 200000", 8_000_000, "going on over TCP"},
		"no way":  {false, "head -c 200000 /dev/zero", 0, "no connection over TCP"},
		"no need": {true, "echo $i", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newUDPDaemon(t)
			tcp, _ := rexectest.NewProxies(t, d.Address())
			tcp.Refuse() // so that it begins over UDP
			log := lines{mark: tt.settled, file: filepath.Join(t.TempDir(), "settled")}
			log.add("")
			o := d.ClientOptions()
			o.Address, o.Transport, o.Log = tcp.Address(), client.Auto, log.add
			c := rexectest.NewClient(t, o)
			if err := c.Connect(t.Context()); err != nil || c.Transport() != "UDP" {
				t.Fatalf("%s, %v", c.Transport(), err)
			}
			if tt.admit {
				tcp.Admit()
			}
			in := make([]byte, tt.stdin)
			fillNoise(in)
			var out bytes.Buffer
			cmd := &client.Command{Run: proto.Run{Shell: fmt.Appendf(nil, `i=0; while [ $i -lt 40 ]; do %s; sleep 0.1; i=$((i+1)); done
				until test -e %s || [ $i -ge 400 ]; do sleep 0.1; i=$((i+1)); done; exit 3`, tt.shell, log.file)}, Stdout: &out}
			want := make([]byte, 8_000_000)
			switch {
			case tt.stdin > 0:
				cmd.Stdin, want = bytes.NewReader(in), in
			case name == "no need":
				want = nil
				for i := range 40 {
					want = fmt.Appendln(want, i)
				}
			}
			r, err := c.Run(t.Context(), cmd)
			if err != nil || r.Code != 3 || !bytes.Equal(out.Bytes(), want) || r.Resumed != 0 || d.Starts() != 1 {
				t.Errorf("%d of %d bytes, started %d times, %+v, %v", out.Len(), len(want), d.Starts(), r, err)
			}
			moves := tt.admit && name != "no need"
			if (c.Transport() == "TCP") != moves || strings.Contains(log.text(), "going on over TCP") != moves {
				t.Errorf("at the end over %s:\n%s", c.Transport(), log.text())
			}
		})
	}
}

// lines collects a client's progress.
type lines struct {
	mu         sync.Mutex
	b          strings.Builder
	mark, file string // the file is made once the mark is there
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(&l.b, format+"\n", args...)
	if l.file != "" && strings.Contains(l.b.String(), l.mark) {
		_ = os.WriteFile(l.file, nil, 0o600)
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestUDPRoams moves the client to another port, and to another address, in the middle of a transfer: it
// goes on over the same connection.
func TestUDPRoams(t *testing.T) {
	for name, source := range map[string]string{"port": "", "address": "127.0.0.2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newUDPDaemon(t)
			p := rexectest.NewUDPProxy(t, d.Address())
			r := transfer(t, d, through(t, d, p), transferSize, func() { p.Rebind(source) })
			if r.Resumed != 0 {
				t.Errorf("the connection was lost %d times", r.Resumed)
			}
		})
	}
}

// TestUDPLoss loses one datagram of a hundred, with output and input that are compared.
func TestUDPLoss(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	p := rexectest.NewUDPProxy(t, d.Address())
	p.DropEvery(100)
	c := through(t, d, p)
	transfer(t, d, c, 5<<20, func() {})
	in := make([]byte, 5<<20)
	fillNoise(in)
	var out bytes.Buffer
	r, err := c.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("cat")}, Stdin: bytes.NewReader(in), Stdout: &out})
	if err != nil || r.Code != 0 || !bytes.Equal(out.Bytes(), in) {
		t.Fatalf("through cat: %d of %d bytes, %+v, %v", out.Len(), len(in), r, err)
	}
}

// TestUDPEndings closes the connection as soon as the exit record is there: no output may be cut off.
func TestUDPEndings(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	for range 30 {
		var out bytes.Buffer
		c := client.New(d.ClientOptions())
		r, err := c.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("head -c 1048576 /dev/zero")}, Stdout: &out})
		c.Close()
		if err != nil || r.Code != 0 || out.Len() != 1<<20 || r.Resumed != 0 {
			t.Fatalf("%d bytes, %+v, %v", out.Len(), r, err)
		}
	}
}

// TestFork runs many commands at once over one connection.
func TestFork(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	c := d.Client(t)
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 60
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			f, err := c.Fork(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for range 3 {
				var out strings.Builder
				r, err := f.Run(t.Context(), &client.Command{Run: proto.Run{Shell: fmt.Appendf(nil, "read x; echo $x; exit %d", i)},
					Stdin: strings.NewReader(fmt.Sprintln("line", i)), Stdout: &out})
				if err != nil || int(r.Code) != i || out.String() != fmt.Sprintln("line", i) || r.Resumed != 0 {
					t.Errorf("%d: %q, %+v, %v", i, out.String(), r, err)
				}
			}
		})
	}
	wg.Wait()
	if got := strings.Count(strings.Join(d.Logs(), "\n"), `"outcome":"accepted"`); got != 1 {
		t.Errorf("%d connections", got)
	}
}

// TestForkOutlivesFirst: a connection lasts as long as the last of those that share it.
func TestForkOutlivesFirst(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	c := d.Client(t)
	f, err := c.Fork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.Close()
	r, err := f.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("exit 7")}})
	if err != nil || r.Code != 7 || r.Resumed != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestForkWhileStopping: a command that is asked for on another stream while the daemon waits for the last
// ones is refused, and its client told why.
func TestForkWhileStopping(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	c := d.Client(t)
	f, err := c.Fork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	running := make(chan struct{})
	wg.Go(func() {
		out := writerFunc(func(b []byte) (int, error) { close(running); return len(b), nil })
		_, _ = c.Run(ctx, &client.Command{Run: proto.Run{Shell: []byte("echo x; exec sleep 1000")}, Stdout: out})
	})
	<-running
	drain, drained := context.WithCancel(context.Background())
	wg.Go(func() { d.Drain(drain) })
	defer drained()
	deadline := time.Now().Add(10 * time.Second)
	for {
		r, err := f.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("true")}})
		if err == nil && r.State == proto.StateRefused && r.Cause == proto.CauseShutdown {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v, %v", r, err)
		}
		f.Close() // it was too early, and every stream is for one try
		if f, err = c.Fork(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Starts(); n < 1 {
		t.Errorf("started %d times", n)
	}
}

// TestRecordOutlivesOutage: the outcome of a command that the end of the daemon has ended reaches its client
// also if the path is broken at that moment.
func TestRecordOutlivesOutage(t *testing.T) {
	t.Parallel()
	d := newUDPDaemon(t)
	p := rexectest.NewUDPProxy(t, d.Address())
	stopped, forwarded := make(chan struct{}), make(chan struct{})
	out := writerFunc(func(b []byte) (int, error) {
		p.Blackhole()
		table := d.Table() // of the daemon that is about to end
		go func() { defer close(stopped); d.Stop() }()
		go func() { // the path comes back when the record was sent, and lost
			defer close(forwarded)
			eventually(t, "the command's end", func() bool { return len(table.Jobs()) == 0 })
			_, before := p.Counts()
			eventually(t, "a record that is lost", func() bool { _, sent := p.Counts(); return sent > before })
			p.Forward()
		}()
		return len(b), nil
	})
	r, err := through(t, d, p).Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("echo x; exec sleep 1000")}, Stdout: out})
	<-stopped
	<-forwarded
	if err != nil || r.State != proto.StateKilled || r.Cause != proto.CauseShutdown {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestForkOverTCP says that it cannot be.
func TestForkOverTCP(t *testing.T) {
	c := rexectest.New(t, rexectest.Options{}).Client(t)
	if _, err := c.Fork(t.Context()); !errors.Is(err, client.ErrOneAtATime) {
		t.Errorf("got %v", err)
	}
}

// TestAuto: TCP where it answers at once, UDP where it does not, neither where nothing listens.
func TestAuto(t *testing.T) {
	d := newUDPDaemon(t)
	o := d.ClientOptions()
	o.Transport = client.Auto
	const tries = 300 // the end of the race must never reach who has won it
	won := map[string]int{}
	for range tries {
		c := client.New(o)
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		won[c.Transport()]++
		c.Close()
	}
	// Who is first here is TCP, but for a machine that is too busy to let it be.
	if won["TCP"] < tries/2 {
		t.Errorf("who was first: %v", won)
	}
	tcp, _ := rexectest.NewProxies(t, d.Address())
	tcp.Refuse()
	o.Address = tcp.Address()
	c := rexectest.NewClient(t, o)
	if err := c.Connect(t.Context()); err != nil || c.Transport() != "UDP" {
		t.Errorf("without TCP: %s, %v", c.Transport(), err)
	}
	d.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	o.Address = d.Address()
	if err := rexectest.NewClient(t, o).Connect(ctx); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nothing listens: %v", err)
	}
}

// TestPing measures over both, and finds a connection again that was lost.
func TestPing(t *testing.T) {
	for name, kind := range map[string]client.Transport{"TCP": client.TCP, "UDP": client.UDP} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{Transport: kind})
			c := d.Client(t)
			for range 100 {
				if rtt, err := c.Ping(t.Context()); err != nil || rtt <= 0 {
					t.Fatalf("%s, %v", rtt, err)
				}
			}
			d.Restart()
			_, err := c.Ping(t.Context())
			if err == nil {
				t.Error("a ping over a connection that was ended")
			}
			if rtt, err := c.Ping(t.Context()); err != nil {
				t.Errorf("after a restart: %s, %v", rtt, err)
			}
		})
	}
}
