package job

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"rexec/internal/exec"
	"rexec/internal/proto"
)

// command is the other side of a Process: a test plays the program.
type command struct {
	in       *os.File // nil without stdin
	out, err *os.File
	process  *Process

	mu      sync.Mutex
	stopped bool
	signals []string
	onStop  func() // by default the command exits with 143
	over    chan struct{}
	status  exec.Status
	end     sync.Once
}

func newCommand(t *testing.T, stdin bool) *command {
	t.Helper()
	c := &command{over: make(chan struct{}), process: &Process{PID: 4711}}
	pipe := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	if stdin {
		c.in, c.process.Stdin = pipe()
	}
	c.process.Stdout, c.out = pipe()
	c.process.Stderr, c.err = pipe()
	c.process.Handle = c
	c.onStop = func() { c.exit(143) }
	t.Cleanup(func() { c.exit(0) })
	return c
}

// exit ends the program as the kernel would: its files are closed, then its parent hears of it.
func (c *command) exit(code int) {
	c.end.Do(func() {
		if c.in != nil {
			c.in.Close()
		}
		c.out.Close()
		c.err.Close()
		c.status = exec.Status{Code: code, Ended: time.Now()}
		close(c.over)
	})
}

func (c *command) Wait() exec.Status {
	<-c.over
	return c.status
}

func (c *command) Signal(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signals = append(c.signals, name)
	return nil
}

func (c *command) Stop(time.Duration) []int {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.onStop()
	return nil
}

func (c *command) wasStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

func (c *command) start(*proto.Run) (*Process, error) { return c.process, nil }

// open starts the command as a job of a table.
func (c *command) open(t *testing.T, table *Table, run proto.Run) *Job {
	t.Helper()
	if run.ID == (proto.ExecID{}) {
		run.ID[0] = 1
	}
	run.Shell = []byte("x")
	run.NoStdin = c.in == nil
	j, existed, x := table.Open(Grant{KeyID: "key", Start: c.start}, &run)
	if x != nil || existed {
		t.Fatalf("not started: existed %v, %+v", existed, x)
	}
	return j
}

// newTable returns a table that is shut down with the test, within a bound.
func newTable(t *testing.T, o Options) *Table {
	t.Helper()
	table := NewTable(o)
	t.Cleanup(func() { shutdown(t, table) })
	return table
}

func shutdown(t *testing.T, table *Table) {
	t.Helper()
	now, cancel := context.WithCancel(context.Background())
	cancel()
	within(t, "shutting the table down", func() { table.Shutdown(now) })
}

// patience is more than anything takes that does not hang, on a machine that has much else to do.
const patience = 60 * time.Second

// within fails the test if f does not come to its end.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s takes more than %s", what, patience)
	}
}

// until polls for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// attach attaches from what the daemon still holds.
func attach(t *testing.T, j *Job, from [2]uint64) *Attachment {
	t.Helper()
	a, _, err := j.Attach(Client{From: from, Kick: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// quit is how a session ends an attachment.
func quit(a *Attachment) {
	a.Leave()
	for {
		if _, err := a.Next(); err != nil {
			break
		}
	}
	a.Detach()
}

// write fills a pipe of the command from another goroutine and reports how it went.
func write(w io.Writer, b []byte) <-chan error {
	done := make(chan error, 1)
	go func() { _, err := w.Write(b); done <- err }()
	return done
}

// pause lets time pass where time itself is the matter, not an event that could be awaited.
func pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
