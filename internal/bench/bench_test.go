//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestAlternateTakesTurnsAndLeavesTheFirstOut(t *testing.T) {
	var order strings.Builder
	side := func(name string) *contender {
		return &contender{measure: func(context.Context) (float64, error) {
			order.WriteString(name)
			return float64(order.Len()), nil
		}}
	}
	a, b := side("a"), side("b")
	if err := alternate(t.Context(), 2, a, b); err != nil {
		t.Fatal(err)
	}
	if order.String() != "ababab" || len(a.values) != 2 || a.values[0] != 3 || b.values[1] != 6 {
		t.Errorf("order %s, values %v and %v", order.String(), a.values, b.values)
	}
}

func TestGoals(t *testing.T) {
	for _, tt := range []struct {
		goal         goal
		theirs, ours float64
		want         string
	}{
		{goal{ratioAtMost, 0.5}, 10, 5, "yes"},
		{goal{ratioAtMost, 0.5}, 10, 5.1, "no"},
		{goal{ratioAtLeast, 1.25}, 4, 5, "yes"},
		{goal{ratioAtLeast, 1.25}, 4, 4.9, "no"},
		{goal{atMost, 64}, 1, 64, "yes"},
		{goal{atMost, 64}, 1000, 65, "no"},
		{goal{}, 1, 1000, "-"},
	} {
		if got := (result{Goal: tt.goal, Theirs: tt.theirs, Ours: tt.ours}).verdict(); got != tt.want {
			t.Errorf("%v of %v beside %v: %s, want %s", tt.goal, tt.ours, tt.theirs, got, tt.want)
		}
	}
}

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		args string
		ok   bool
	}{
		{"-only 1,3 -quick", true}, {"-only 12", true}, {"-write page", true},
		{"-only 0", false}, {"-only 16", false}, {"-only x", false}, {"-only 1 -write page", false},
		{"-quick -write page", false}, {"more", false},
	} {
		o, err := parseOptions(strings.Fields(tt.args))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.args, err)
		}
		if tt.args == "-only 1,3 -quick" && (!o.only[1] || o.only[2] || !o.only[3] || !o.quick) {
			t.Errorf("%s: %+v", tt.args, o)
		}
	}
}

func TestNeeds(t *testing.T) {
	for args, want := range map[string]need{"": rexecdAndSSHD, "-only 9,11": noDaemon, "-only 9,12": rexecdOnly, "-only 1,12": rexecdAndSSHD} {
		if o, err := parseOptions(strings.Fields(args)); err != nil || o.needs() != want {
			t.Errorf("%q needs %d, want %d: %v", args, o.needs(), want, err)
		}
	}
}

func TestSplice(t *testing.T) {
	m := hereMarks()
	path := filepath.Join(t.TempDir(), "page.md")
	page := "before\n" + m.begin + "\nold\n" + m.end + "\nafter\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := m.splice(path, "new\n")
	if want := "before\n" + m.begin + "\n\nnew\n\n" + m.end + "\nafter\n"; got != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.splice(path, "new\n"); err == nil {
		t.Error("a page without marks was taken")
	}
}

// TestCPUTimeOfReapedChildren spends CPU time in a child's child.
func TestCPUTimeOfReapedChildren(t *testing.T) {
	before, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	times := filepath.Join(t.TempDir(), "times")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; times >"$1"`, "sh", times)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	after, err := readStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	said, err := shellTimes(times)
	if err != nil {
		t.Fatal(err)
	}
	got := after.children - before.children
	if said < 5*tick || got < said-3*tick || got > said+3*tick {
		t.Errorf("the kernel counts %s, the shell %s", got, said)
	}
}

func TestDescendantsAndServices(t *testing.T) {
	dir := t.TempDir()
	s, err := startService(exec.Command("sh", "-c", "sleep 100 & wait"), filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	if err := s.ready(t.Context(), func() bool { return len(descendants(s.pid())) == 1 }); err != nil {
		t.Fatal(err)
	}
	sleep, err := os.FindProcess(descendants(s.pid())[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := sleep.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		t.Error("the shell did not end with its child")
	}
	dead, err := startService(exec.Command("sh", "-c", "echo last words >&2"), filepath.Join(dir, "dead"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.ready(t.Context(), func() bool { return false }); err == nil || !strings.Contains(err.Error(), "last words") {
		t.Errorf("a service that ended at once: %v", err)
	}
}

// TestPeak compares a program with one that touches 64 MiB more.
func TestPeak(t *testing.T) {
	small, err := peak(t.Context(), program{path: "sh", args: []string{"-c", ":"}})
	if err != nil {
		t.Fatal(err)
	}
	large, err := peak(t.Context(), program{path: "dd", args: []string{"if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", "status=none"}})
	if err != nil {
		t.Fatal(err)
	}
	if small > 20 || large < 64 || large > 90 {
		t.Errorf("sh has %.1f MiB, dd with 64 MiB %.1f MiB", small, large)
	}
	own, err := kibibytes("/proc/self/status", "VmHWM:")
	if err != nil || small > own/(1<<20) {
		t.Errorf("sh has %.1f MiB, this test %.1f: %v", small, own/(1<<20), err)
	}
}
