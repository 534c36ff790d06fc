//go:build linux

package persist

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

func TestMain(m *testing.M) { os.Exit(rexectest.Main(m)) }

// patienceOfTests is generous, since the tests run beside others.
const patienceOfTests = 30 * time.Second

// until polls until f is true.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patienceOfTests)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patienceOfTests, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// place gives the test a directory for sockets; its path must be short.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return dir
}

// running is a keeper in this process.
type running struct {
	*keeper
	t      *testing.T
	d      *rexectest.Daemon
	target Target
	file   string // of the key
	end    context.CancelFunc
	ended  chan error
}

// keep starts a keeper for a daemon's key over a transport, which ends with the test.
func keep(t *testing.T, d *rexectest.Daemon, over client.Transport, idle time.Duration) *running {
	t.Helper()
	return keepAt(t, d, d.Address(), over, idle)
}

// keepAt is keep for a daemon that is reached at another address.
func keepAt(t *testing.T, d *rexectest.Daemon, address string, over client.Transport, idle time.Duration) *running {
	t.Helper()
	file, err := auth.OpenClientStore(filepath.Join(t.TempDir(), "client")).Enroll(d.Token(), "")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, d: d, file: file, target: Target{Key: d.Key(), Address: address, Transport: over, Version: "test"}}
	id, err := r.target.ID()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	r.keeper, err = newKeeper(ctx, order{
		ID: hex.EncodeToString(id[:]), Address: address, Transport: over, KeyFile: file, Idle: idle,
	}, "test")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	r.tick = 20 * time.Millisecond
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.run(ctx, idle) }()
	t.Cleanup(func() {
		cancel()
		r.wait()
	})
	return r
}

// wait waits for the keeper's end, and looks at what it leaves behind.
func (r *running) wait() {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.ended <- err
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patienceOfTests):
		r.t.Fatal("the keeper does not end")
	}
	if r.inPlace() {
		r.t.Errorf("%s is left behind", r.socket)
	}
}

// options are those of a client that asks the keeper. used says whether it got something.
func (r *running) options(used *bool) client.Options {
	o := r.d.ClientOptions()
	o.Address, o.Transport = r.target.Address, r.target.Transport
	o.Shared = func(ctx context.Context) (*client.Proven, error) {
		p, _, err := Use(ctx, r.target, time.Minute)
		*used = err == nil
		return p, err
	}
	return o
}

// use returns a conversation of the keeper's. On a busy machine that may take a second try, as it may for users.
func (r *running) use(idle time.Duration) (p *client.Proven) {
	r.t.Helper()
	until(r.t, "a conversation", func() bool {
		var err error
		p, _, err = Use(r.t.Context(), r.target, idle)
		if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrHung) {
			r.t.Fatal(err)
		}
		return err == nil
	})
	return p
}

// answered is the error of Use for a process that answers. On a busy machine the first answer may be too late.
func answered(t *testing.T, target Target) (err error) {
	t.Helper()
	until(t, "an answer", func() bool {
		_, _, err = Use(t.Context(), target, time.Minute)
		return !errors.Is(err, ErrHung)
	})
	return err
}

// client returns a client that has a conversation of the keeper's. On a busy machine that may take a second
// try, as it may for users.
func (r *running) client() *client.Client {
	r.t.Helper()
	var c *client.Client
	until(r.t, "a conversation", func() bool {
		used := false
		c = client.New(r.options(&used))
		if err := c.Connect(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
		if !used {
			c.Close()
		}
		return used
	})
	r.t.Cleanup(func() { c.Close() })
	return c
}

func shell(command string) *client.Command {
	return &client.Command{Run: proto.Run{Shell: []byte(command)}}
}

// run runs a command over the keeper's connection, and returns its output.
func (r *running) sh(command string) string {
	r.t.Helper()
	c := r.client()
	defer c.Close()
	var out bytes.Buffer
	cmd := shell(command)
	cmd.Stdout = &out
	result, err := c.Run(r.t.Context(), cmd)
	if err != nil || result.State != proto.StateExited || result.Code != 0 || result.Resumed != 0 {
		r.t.Fatalf("%s: %+v, %v", command, result, err)
	}
	return out.String()
}

// each runs a test over both transports.
func each(t *testing.T, f func(t *testing.T, over client.Transport)) {
	for name, over := range map[string]client.Transport{"tcp": client.TCP, "udp": client.UDP} {
		t.Run(name, func(t *testing.T) {
			place(t)
			f(t, over)
		})
	}
}

func start(t *testing.T, over client.Transport) *running {
	t.Helper()
	return keep(t, rexectest.New(t, rexectest.Options{Transport: over}), over, time.Minute)
}

// accepted counts the connections that have proved themselves.
func accepted(d *rexectest.Daemon) int {
	return strings.Count(strings.Join(d.Logs(), "\n"), "accepted")
}

// TestOneConnection: many invocations, one after the other, need no further connection but a spare one.
func TestOneConnection(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		for i := range 30 {
			if got, want := r.sh(fmt.Sprint("echo ", i)), fmt.Sprintln(i); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		}
		if n := accepted(r.d); n >= 30 {
			t.Errorf("%d connections for 30 commands", n)
		}
		c := r.client()
		if got, want := c.Transport(), map[client.Transport]string{client.TCP: "TCP", client.UDP: "UDP"}[over]; got != want {
			t.Errorf("transport %s, want %s", got, want)
		}
		if d, err := c.Ping(t.Context()); err != nil || d <= 0 {
			t.Errorf("ping: %s, %v", d, err)
		}
		if pid, err := Check(t.Context(), r.target); err != nil || pid != os.Getpid() {
			t.Errorf("check: %d, %v", pid, err)
		}
	})
}

// TestBytes: what goes through is what was sent, both ways, however much.
func TestBytes(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		c := r.client()
		in := make([]byte, 24<<20)
		_, _ = rand.Read(in)
		var out, errs bytes.Buffer
		cmd := shell("tee /dev/stderr")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
		result, err := c.Run(t.Context(), cmd)
		if err != nil || result.Code != 0 {
			t.Fatalf("%+v, %v", result, err)
		}
		if !bytes.Equal(out.Bytes(), in) || !bytes.Equal(errs.Bytes(), in) {
			t.Errorf("%d and %d bytes come back of %d, or others", out.Len(), errs.Len(), len(in))
		}
		// The conversation is as good as before.
		if result, err = c.Run(t.Context(), shell("exit 7")); err != nil || result.Code != 7 {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// TestManyAtOnce: each has a conversation of its own, or a connection of its own.
func TestManyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				for j := range 8 {
					used := false
					c := client.New(r.options(&used))
					text := fmt.Sprintf("%d.%d", i, j)
					var out bytes.Buffer
					cmd := shell("cat; echo " + text)
					cmd.Stdin, cmd.Stdout = strings.NewReader(text+"\n"), &out
					result, err := c.Run(t.Context(), cmd)
					if err != nil || result.Code != 0 || out.String() != text+"\n"+text+"\n" {
						t.Errorf("%s: %q, %+v, %v", text, out.String(), result, err)
					}
					c.Close()
				}
			})
		}
		wg.Wait()
	})
}

// TestLostClient: a client that is killed is lost for the server, too, at once.
func TestLostClient(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		c := r.client()
		ctx, cancel := context.WithCancel(t.Context())
		begun := make(chan struct{})
		cmd := shell("sleep 1000")
		cmd.Run.OnDisconnect, cmd.Started = proto.DisconnectKill, func() { close(begun) }
		done := make(chan error, 1)
		go func() {
			_, err := c.Run(ctx, cmd)
			done <- err
		}()
		<-begun
		cancel() // the socket is closed without a word, as the kernel does for who was killed
		if err := <-done; err == nil {
			t.Error("an outcome without a client")
		}
		until(t, "the command's end", func() bool { return len(rexectest.Processes()) == 0 })
		r.sh("true") // for others nothing has changed
	})
}

// TestLostKeeper: a command goes on over a connection of its client's own when the keeper ends, and runs once.
func TestLostKeeper(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		c := r.client()
		counter := filepath.Join(t.TempDir(), "counter")
		in, feed := io.Pipe()
		var out bytes.Buffer
		begun := make(chan struct{})
		cmd := shell("echo x >>" + counter + "; cat")
		cmd.Stdin, cmd.Stdout, cmd.Started = in, &out, func() { close(begun) }
		type end struct {
			*client.Result
			err error
		}
		done := make(chan end, 1)
		go func() {
			result, err := c.Run(t.Context(), cmd)
			done <- end{result, err}
		}()
		<-begun
		fmt.Fprintln(feed, "before")
		r.end()
		r.wait()
		fmt.Fprintln(feed, "after")
		feed.Close()
		if e := <-done; e.err != nil || e.Code != 0 || e.Resumed == 0 || out.String() != "before\nafter\n" {
			t.Errorf("%+v, %v, %q", e.Result, e.err, out.String())
		}
		if text, err := os.ReadFile(counter); err != nil || string(text) != "x\n" {
			t.Errorf("it ran %q, %v", text, err)
		}
	})
}

// TestNamed: who asks again for a named execution gets its outcome, as over connections of their own.
func TestNamed(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		replayed := 0
		for i, until := 0, time.Now().Add(time.Minute); replayed < 2; i++ {
			c := r.client()
			cmd := shell("echo once")
			cmd.Run.Name = "deploy"
			cmd.Run.ID = proto.NamedID(cmd.Run.Name)
			var out bytes.Buffer
			cmd.Stdout = &out
			result, err := c.Run(t.Context(), cmd)
			if err != nil || result.Code != 0 || result.Attached != (i > 0) {
				t.Fatalf("call %d: %+v, %v", i, result, err)
			}
			// Until the daemon has heard that the one before has everything, who asks again takes over from it.
			if result.Replayed {
				replayed++
			} else if replayed > 0 || time.Now().After(until) {
				t.Fatalf("call %d: %+v", i, result)
			}
			if want := map[bool]string{false: "once\n"}[result.Replayed]; out.String() != want {
				t.Errorf("call %d prints %q", i, out.String())
			}
			c.Close()
			hold := r.client() // has the conversation that comes first, if it could be had again
			defer hold.Close()
		}
		if n := r.d.Starts(); n != 1 {
			t.Errorf("it was started %d times", n)
		}
	})
}

// TestSignalsAndEnd: a signal goes through, and what the server still has to say of it is nobody else's.
func TestSignalsAndEnd(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		for range 5 {
			c := r.client()
			signals := make(chan string)
			cmd := shell("sleep 1000")
			cmd.Signals = signals
			cmd.Started = func() { go func() { signals <- "TERM" }() }
			if result, err := c.Run(t.Context(), cmd); err != nil || result.Code != 143 {
				t.Fatalf("%+v, %v", result, err)
			}
			c.Close()
			if got := r.sh("echo next"); got != "next\n" {
				t.Errorf("%q", got)
			}
		}
	})
}

// TestHeaderUptime: an uptime that the header tells is no later than what the daemon has reached.
func TestHeaderUptime(t *testing.T) {
	r := func() *running { place(t); return start(t, client.TCP) }()
	until(t, "an uptime that was asked for", func() bool {
		p, _, err := Use(t.Context(), r.target, time.Minute)
		if err != nil {
			return false
		}
		defer p.Channel.Close()
		now := r.d.Table().Uptime()
		if p.Uptime > now || p.Uptime < p.Choice.Uptime {
			t.Fatalf("uptime %d, now %d, at the proof %d", p.Uptime, now, p.Choice.Uptime)
		}
		return p.Uptime > p.Choice.Uptime
	})
}

// TestNone: without a process there is ErrNone, and an identity of its own for whatever differs.
func TestNone(t *testing.T) {
	place(t)
	r := start(t, client.TCP)
	other := r.d.AddKey(auth.Key{ID: "other"})
	other.Server = r.target.Key.Server
	again := r.target
	again.Key.Secret = other.Secret
	for name, target := range map[string]Target{
		"key":       {Key: other, Address: r.target.Address, Transport: client.TCP, Version: "test"},
		"secret":    again,
		"address":   {Key: r.target.Key, Address: "127.0.0.1:1", Transport: client.TCP, Version: "test"},
		"transport": {Key: r.target.Key, Address: r.target.Address, Transport: client.Auto, Version: "test"},
		"version":   {Key: r.target.Key, Address: r.target.Address, Transport: client.TCP, Version: "newer"},
	} {
		if err := answered(t, target); !errors.Is(err, ErrNone) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	// Nor does it help to ask at the other's door.
	id, _ := r.target.ID()
	wrong, _ := again.ID()
	dir, _ := directory(false)
	if err := os.Symlink(id.name(), socketPath(dir, wrong)); err != nil {
		t.Fatal(err)
	}
	if err := answered(t, again); !errors.Is(err, errForeign) {
		t.Errorf("with another secret: %v", err)
	}
}
