package job

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"rexec/internal/proto"
)

// reporting is a command that gives a report, which is taken as it comes.
func reporting(t *testing.T) (c *command, report *os.File) {
	t.Helper()
	c = newCommand(t, false)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	c.process.Report = &Report{File: r, Parse: func(b []byte) ([]byte, bool) { return bytes.ToUpper(b), false }}
	return c, w
}

// record reads an attachment to its exit record.
func record(t *testing.T, a *Attachment) *proto.Exit {
	t.Helper()
	for {
		e, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Exit != nil {
			return e.Exit
		}
	}
}

// TestReport: what lies in the pipe at the end is told, though somebody in the background holds it open.
func TestReport(t *testing.T) {
	for name, closed := range map[string]bool{"closed": true, "held": false} {
		t.Run(name, func(t *testing.T) {
			c, report := reporting(t)
			j := c.open(t, newTable(t, Options{}), proto.Run{})
			if _, err := report.WriteString("state"); err != nil {
				t.Fatal(err)
			}
			if closed {
				report.Close()
			}
			c.exit(3)
			var x *proto.Exit
			within(t, "the exit record", func() { x = record(t, attach(t, j, [2]uint64{})) })
			if string(x.ShellState) != "STATE" || x.ShellStateTooLarge || x.Code != 3 || x.Background {
				t.Errorf("%+v", x)
			}
		})
	}
}

// TestEndlessReport: a command is never kept waiting by what it reports, and most of it is never held.
func TestEndlessReport(t *testing.T) {
	c, report := reporting(t)
	j := c.open(t, newTable(t, Options{}), proto.Run{})
	if _, err := report.WriteString(strings.Repeat("x", 4*maxReport)); err != nil {
		t.Fatal(err)
	}
	c.exit(0)
	x := record(t, attach(t, j, [2]uint64{}))
	if x.ShellState != nil || !x.ShellStateTooLarge {
		t.Errorf("%d bytes of state, too large: %v", len(x.ShellState), x.ShellStateTooLarge)
	}
}

// TestStateIsRetained: until the client has gone on, or the memory is needed for others.
func TestStateIsRetained(t *testing.T) {
	for name, limit := range map[string]int{"retained": 100, "evicted": 10} {
		t.Run(name, func(t *testing.T) {
			table := newTable(t, Options{RetainBytes: limit})
			c, report := reporting(t)
			j := c.open(t, table, proto.Run{})
			if _, err := report.WriteString(strings.Repeat("s", 40)); err != nil {
				t.Fatal(err)
			}
			c.exit(0)
			<-j.ended
			want := 40
			if limit < want {
				want = 0
				until(t, "the state is given up", func() bool { return j.holds() == 0 })
			}
			quit(attach(t, j, [2]uint64{}))
			a := attach(t, j, [2]uint64{}) // a client that came back
			x := record(t, a)
			if len(x.ShellState) != want || want > 0 && x.Replayed {
				t.Errorf("%d bytes of state, want %d; %+v", len(x.ShellState), want, x)
			}
			a.Received()
			if j.holds() != 0 {
				t.Errorf("%d bytes are held for a client that has them", j.holds())
			}
			if len(x.ShellState) != want {
				t.Error("the record that was handed out has changed")
			}
		})
	}
}

// TestBanner: it comes with Started, as often as a client comes back for it.
func TestBanner(t *testing.T) {
	c := newCommand(t, false)
	c.process.Banner = "be kind"
	j := c.open(t, newTable(t, Options{}), proto.Run{})
	for range 2 {
		a, started, err := j.Attach(Client{Kick: func() {}})
		if err != nil || started.Banner != "be kind" {
			t.Errorf("%+v, %v", started, err)
		}
		quit(a)
	}
	c.exit(0)
}

// TestRefusalWithState: what a prompt can go on with comes with the refusal.
func TestRefusalWithState(t *testing.T) {
	x := refusal(&RefusedError{Cause: proto.CauseDirectory, Reason: "gone", State: []byte("/\x00")})
	if x.State != proto.StateRefused || x.Cause != proto.CauseDirectory || string(x.ShellState) != "/\x00" {
		t.Errorf("%+v", x)
	}
}
