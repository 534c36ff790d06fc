package job

import (
	"strings"
	"testing"
	"time"

	"rexec/internal/proto"
)

// TestTotals follows two jobs through their lives: at each moment the bytes of both are counted, once.
func TestTotals(t *testing.T) {
	started := 0
	table := newTable(t, Options{Started: func(took time.Duration) {
		if started++; took <= 0 {
			t.Errorf("a start took %v", took)
		}
	}})
	want := func(what string, running int, bytes [3]uint64) {
		t.Helper()
		until(t, what, func() bool { return table.Totals() == Totals{running, bytes} })
	}
	want("nothing", 0, [3]uint64{})

	one, two := newCommand(t, true), newCommand(t, false)
	j := one.open(t, table, proto.Run{ID: proto.ExecID{1}})
	two.open(t, table, proto.Run{ID: proto.ExecID{2}, NoStdin: true})
	one.process.Account = "someone"
	_, _ = one.out.WriteString("hello")
	_, _ = one.err.WriteString("no")
	_, _ = two.out.WriteString("x")
	want("two jobs", 2, [3]uint64{0, 6, 2})

	a := attach(t, j, [2]uint64{})
	if err := a.Input(0, strings.NewReader("stdin that is not taken by anybody")); err != nil {
		t.Fatal(err)
	}
	want("stdin in the pipe", 2, [3]uint64{34, 6, 2})
	for _, info := range table.Jobs() {
		if info.ID != j.ID {
			continue
		}
		if info.Account != "someone" || info.PID != 4711 || info.Bytes != [3]uint64{34, 5, 2} || !info.Attached || info.Ending {
			t.Errorf("%+v", info)
		}
	}
	one.exit(3)
	want("one job", 1, [3]uint64{34, 6, 2})
	two.exit(0)
	want("no job", 0, [3]uint64{34, 6, 2})
	if n := len(table.Jobs()); n != 0 {
		t.Errorf("%d jobs run", n)
	}
	if started != 2 {
		t.Errorf("told of %d starts", started)
	}
	quit(a)
}

// TestTotalsDoNotCountStdinThatWasThrownAway: a command that ends leaves what it had not room for.
func TestTotalsDoNotCountStdinThatWasThrownAway(t *testing.T) {
	var table *Table
	during := make(chan Totals, 1)
	table = newTable(t, Options{Ended: func(*Job, *proto.Exit) { during <- table.Totals() }})
	c := newCommand(t, true)
	j := c.open(t, table, proto.Run{ID: proto.ExecID{1}})
	a := attach(t, j, [2]uint64{})
	if err := a.Input(0, strings.NewReader(strings.Repeat("x", 512<<10))); err != nil {
		t.Fatal(err)
	}
	c.exit(0)
	x, _ := finalRecord(t, a)
	if x.StdinBytes >= 512<<10 {
		t.Fatalf("the command took %d bytes", x.StdinBytes)
	}
	if got := <-during; got != (Totals{1, [3]uint64{x.StdinBytes, 0, 0}}) {
		t.Errorf("at the end: %+v, and the record says %d", got, x.StdinBytes)
	}
	until(t, "the end", func() bool { return table.Totals().Running == 0 })
	if got := table.Totals().Bytes[0]; got != x.StdinBytes {
		t.Errorf("%d bytes of stdin are counted, the record says %d", got, x.StdinBytes)
	}
	quit(a)
}
