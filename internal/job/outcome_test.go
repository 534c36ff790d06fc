package job

import (
	"bytes"
	"context"
	"testing"
	"time"

	"rexec/internal/proto"
)

// finalRecord reads an attachment to its end, acknowledging everything.
func finalRecord(t *testing.T, a *Attachment) (x *proto.Exit, out [2][]byte) {
	t.Helper()
	for {
		e, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Exit != nil:
			a.Detach()
			return e.Exit, out
		case e.Data != nil:
			i := e.Stream - proto.Stdout
			out[i] = append(out[i], e.Data...)
			// As the client would: later, when the bytes have arrived.
			if err := a.Ack(proto.Ack{Stream: e.Stream, Offset: e.Offset, Window: maxWindow}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRecord(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	_, _ = c.out.WriteString("out")
	_, _ = c.err.WriteString("error")
	c.exit(7)
	x, out := finalRecord(t, a)
	if x.State != proto.StateExited || x.Code != 7 || x.StdoutBytes != 3 || x.StderrBytes != 5 ||
		string(out[0]) != "out" || string(out[1]) != "error" {
		t.Fatalf("%+v with %q", x, out)
	}
}

// TestOutcomeStandsOnceTheCommandEnded: a command that exited 0 within its time did not time out,
// however long its client takes to read the rest.
func TestOutcomeStandsOnceTheCommandEnded(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*Job)
	}{
		{"time limit", func(j *Job) { j.End(proto.StateTimeout, proto.CauseNone, "time limit reached") }},
		{"client gone", func(j *Job) { j.End(proto.StateKilled, proto.CauseClientGone, "the client was gone") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := newTable(t, Options{})
			c := newCommand(t, true)
			j := c.open(t, table, proto.Run{})
			a := attach(t, j, [2]uint64{})
			// Less than the daemon and the pipe hold, more than is read without a client that reads: the
			// program writes it all and exits.
			const size = minWindow + 32<<10
			if err := <-write(c.out, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			stalled(t, j)
			c.exit(0)
			until(t, "the end of the process to be noticed", func() bool {
				j.mu.Lock()
				defer j.mu.Unlock()
				return j.in.closed
			})
			tt.end(j)
			x, out := finalRecord(t, a)
			if x.State != proto.StateExited || x.Code != 0 || len(out[0]) != size {
				t.Errorf("the command exited 0 before; its record says %s, code %d, %q, with %d bytes",
					x.State, x.Code, x.Reason, len(out[0]))
			}
		})
	}
}

// full makes a job whose output window is as large as it gets, and lets the program write until the
// daemon takes no more.
func full(t *testing.T, c *command, j *Job) <-chan error {
	t.Helper()
	j.mu.Lock()
	j.out[0].window = maxWindow // as a client that reads fast makes it
	j.changed.Broadcast()
	j.mu.Unlock()
	done := write(c.out, make([]byte, 2*maxWindow))
	stalled(t, j)
	return done
}

// stalled waits until the daemon has stopped reading the command's output for want of room.
func stalled(t *testing.T, j *Job) {
	t.Helper()
	same, last := 0, uint64(0)
	until(t, "the output to be held back", func() bool {
		j.mu.Lock()
		head := j.out[0].log.Head()
		j.mu.Unlock()
		if same++; head != last || head == 0 {
			same, last = 0, head
		}
		return same > 100
	})
}

// TestOrphanWithFullWindowEnds: nobody will ever read what a killed orphan left in its pipe, and its
// job must end all the same.
func TestOrphanWithFullWindowEnds(t *testing.T) {
	table := newTable(t, Options{Grace: time.Second})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	quit(a)
	written := full(t, c, j)
	until(t, "the grace period to end the command", c.wasStopped)
	<-written // its end of the pipe was closed by the kill
	within(t, "the end of a killed job without a client", func() { <-j.ended })
}

// TestShutdownWithClientThatReadsNothing, for one job.
func TestShutdownWithClientThatReadsNothing(t *testing.T) {
	table := NewTable(Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	written := full(t, c, j)
	defer func() { // so that nothing is left behind if it fails
		quit(a)
		<-written
		_ = j
	}()
	shutdown(t, table)
}

// TestShutdownDuringStart: a command that was being started when the others were ended is ended too.
func TestShutdownDuringStart(t *testing.T) {
	table := NewTable(Options{})
	c := newCommand(t, false)
	starting, proceed := make(chan struct{}), make(chan struct{})
	opened := make(chan *Job, 1)
	go func() {
		run := &proto.Run{ID: proto.ExecID{1}, Shell: []byte("x"), NoStdin: true}
		j, _, _ := table.Open(Grant{KeyID: "key", Start: func(*proto.Run) (*Process, error) {
			close(starting)
			<-proceed
			return c.process, nil
		}}, run)
		opened <- j
	}()
	<-starting
	now, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() { defer close(done); table.Shutdown(now) }()
	until(t, "the shutdown to begin", func() bool {
		table.mu.Lock()
		defer table.mu.Unlock()
		return table.draining
	})
	// The others were ended at once; give that its moment, then the start succeeds.
	pause(20 * time.Millisecond)
	close(proceed)
	<-opened
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("Shutdown waits for a command that nobody ends, since it was being started")
		c.exit(0)
		<-done
	}
}

// TestStderrIsNotStarved: what a busy command says on stderr is seen while it floods stdout.
func TestStderrIsNotStarved(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := c.out.Write(b); err != nil {
				return
			}
		}
	}()
	said := false
	for sent := uint64(0); sent < 256<<20; {
		e, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Stream == proto.Stderr {
			quit(a)
			return
		}
		sent = e.Offset + uint64(len(e.Data))
		if err := a.Ack(proto.Ack{Stream: proto.Stdout, Offset: e.Offset, Window: maxWindow}); err != nil {
			t.Fatal(err)
		}
		if sent > 8<<20 && !said {
			said = true
			_, _ = c.err.WriteString("disk almost full\n")
		}
		if said { // a network is slower than the program
			until(t, "more output", func() bool {
				j.mu.Lock()
				defer j.mu.Unlock()
				return j.out[0].log.Head() > sent
			})
		}
	}
	quit(a)
	t.Error("256 MiB of stdout were sent, and not one byte of stderr that was written after the first 8")
}

// TestTimersOfTheAbsent: whoever attached successfully is not killed for having been away.
func TestTimersOfTheAbsent(t *testing.T) {
	for grace := 150 * time.Millisecond; !cameBackInTime(t, grace); grace *= 2 {
		t.Logf("the machine is too busy to come back within %s", grace)
	}
}

// cameBackInTime is false if the client was away for longer than the grace period, so that nothing can be said.
func cameBackInTime(t *testing.T, grace time.Duration) bool {
	t.Helper()
	table := newTable(t, Options{Grace: grace})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	present := attach(t, j, [2]uint64{})
	left := time.Now()
	quit(present)
	if _, _, err := j.Attach(Client{From: [2]uint64{1 << 40, 0}, Kick: func() {}}); err == nil {
		t.Fatal("attached beyond the end of the output")
	}
	a := attach(t, j, [2]uint64{})
	defer quit(a)
	if time.Since(left) >= grace {
		return false
	}
	for deadline := time.Now().Add(2*grace + 100*time.Millisecond); time.Now().Before(deadline) && !c.wasStopped(); {
		time.Sleep(5 * time.Millisecond)
	}
	if c.wasStopped() {
		t.Error("a command with a client attached was ended because its client was gone")
	}
	return true
}

// TestUnwantedStream: the program sees a closed pipe, and the other stream goes on.
func TestUnwantedStream(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	if err := a.Ack(proto.Ack{Stream: proto.Stdout, Offset: proto.Closed}); err != nil {
		t.Fatal(err)
	}
	until(t, "a broken pipe", func() bool {
		_, err := c.out.WriteString("x")
		return err != nil
	})
	_, _ = c.err.WriteString("error")
	c.exit(1)
	x, out := finalRecord(t, a)
	if x.Code != 1 || string(out[1]) != "error" || len(out[0]) != 0 {
		t.Fatalf("%+v with %q", x, out)
	}
}

// TestUnwantedStreamKeepsWhatIsBeingWritten: closing a stream must not free memory that the sender is
// still reading, for the next command's output would be sent in its place, perhaps another user's.
func TestUnwantedStreamKeepsWhatIsBeingWritten(t *testing.T) {
	table := newTable(t, Options{})
	for round := range 150 {
		c := newCommand(t, false)
		j := c.open(t, table, proto.Run{ID: proto.ExecID{1, byte(round)}})
		a := attach(t, j, [2]uint64{})
		go func() {
			b := bytes.Repeat([]byte{'a'}, 64<<10)
			for {
				if _, err := c.out.Write(b); err != nil {
					return
				}
			}
		}()
		var held Event
		for held.Offset < 1<<20 {
			var err error
			if held, err = a.Next(); err != nil {
				t.Fatal(err)
			}
			_ = a.Ack(proto.Ack{Stream: proto.Stdout, Offset: held.Offset, Window: maxWindow})
		}
		_ = a.Ack(proto.Ack{Stream: proto.Stdout, Offset: proto.Closed})
		until(t, "the stream to be closed", func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.out[0].done
		})
		j.mu.Lock()
		base := j.out[0].log.Base()
		j.mu.Unlock()
		if base > held.Offset {
			t.Fatalf("round %d: the bytes from %d on are being written to the client, and all before %d were freed",
				round, held.Offset, base)
		}
		quit(a)
		c.exit(0)
	}
}

// TestDetachMakesRoom: a command whose client went away goes on until the window is full.
func TestDetachMakesRoom(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	written := write(c.out, make([]byte, minWindow+pipeSize-128<<10))
	stalled(t, j)
	a.Leave()
	pause(20 * time.Millisecond) // the sender of a session needs a moment to leave its last write
	a.Detach()
	select {
	case err := <-written:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Errorf("the command is still held up with %d bytes in the window of %d", j.out[0].log.Len(), minWindow)
	}
	c.exit(0)
}
