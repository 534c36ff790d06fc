package job

import (
	"fmt"
	"testing"

	"rexec/internal/proto"
)

// TestWindowGrows: the window starts at 1 MiB, doubles while it is what keeps the command waiting, and
// stops at its bound; a client that acknowledges nothing never makes it grow.
func TestWindowGrows(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	write(c.out, make([]byte, 3*maxWindow))
	var got uint64
	window := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.out[0].window
	}
	// take reads what the window lets through, without a word to the daemon.
	take := func() {
		for target := got + uint64(window()); got < target; {
			e, err := a.Next()
			if err != nil || e.Offset != got {
				t.Fatalf("%+v at %d: %v", e, got, err)
			}
			got += uint64(len(e.Data))
		}
		within(t, "the command to wait for room", func() {
			for starved := false; !starved; {
				j.mu.Lock()
				starved = j.out[0].starved
				j.mu.Unlock()
			}
		})
	}
	want := minWindow
	for range 6 {
		if n := window(); n != want {
			t.Fatalf("a window of %d after %d bytes, want %d", n, got, want)
		}
		take()
		if n := window(); n != want {
			t.Fatalf("grew to %d without an acknowledgement", n)
		}
		if err := a.Ack(proto.Ack{Stream: proto.Stdout, Offset: got, Window: maxWindow}); err != nil {
			t.Fatal(err)
		}
		want = min(2*want, maxWindow)
	}
	if n := window(); n != maxWindow {
		t.Errorf("ends at %d, want %d", n, maxWindow)
	}
	if err := a.Ack(proto.Ack{Stream: proto.Stdout, Offset: proto.Closed}); err != nil {
		t.Fatal(err)
	}
	a.Leave()
	a.Detach()
	c.exit(0)
}

// TestTerminalWindowStays: a client that takes all that it gets makes the window of a terminal no larger, so
// that little output is still to come when somebody interrupts it.
func TestTerminalWindowStays(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	c.process.Terminal, c.process.Stderr = noTerminal{}, nil
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	write(c.out, make([]byte, 5*minWindow))
	for got := uint64(0); got < 4*minWindow; {
		e, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if got += uint64(len(e.Data)); got%minWindow != 0 {
			continue
		}
		until(t, "the command waits for room", func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.out[0].starved
		})
		if err := a.Ack(proto.Ack{Stream: proto.Stdout, Offset: got, Window: maxWindow}); err != nil {
			t.Fatal(err)
		}
	}
	j.mu.Lock()
	if n := j.out[0].window; n != minWindow {
		t.Errorf("a window of %d", n)
	}
	j.mu.Unlock()
	if err := j.Resize(proto.Window{Rows: 3}); err == nil {
		t.Error("the error of the terminal is not passed on")
	}
	a.Leave()
	a.Detach()
	c.exit(0)
}

// noTerminal stands for a terminal; its files are pipes.
type noTerminal struct{}

func (noTerminal) Resize(w proto.Window) error { return fmt.Errorf("%d rows", w.Rows) }
func (noTerminal) EndOfFile() byte             { return 4 }
func (noTerminal) Unread() []byte              { return nil }
