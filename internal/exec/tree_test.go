//go:build linux

package exec

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readPIDs reads the process IDs that a script announces, one in a line.
func readPIDs(t *testing.T, p *Process, n int) []int {
	t.Helper()
	var pids []int
	for range n {
		pid, err := strconv.Atoi(readLine(t, p.Stdout))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func checkGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// Nothing escapes: a new session, a double fork, ignored signals,
// background children, stopped processes.
func TestStopKillsTree(t *testing.T) {
	const forever = "while :; do sleep 60; done"
	tests := []struct {
		name, script string
		pids         int
	}{
		{"simple", "echo $$; exec sleep 60", 1},
		{"ignores TERM and HUP", "trap '' TERM HUP; echo $$; " + forever, 1},
		{"background", "sleep 60 & echo $!; sleep 60 & echo $!; echo $$; wait", 3},
		{"setsid", "setsid sh -c 'echo $$; " + forever + "' & echo $$; wait", 2},
		{"setsid ignoring TERM", `setsid sh -c 'trap "" TERM HUP INT; echo $$; ` + forever + `' & echo $$; wait`, 2},
		{"double fork", "(setsid sh -c 'trap \"\" TERM HUP; (sleep 60 & echo $!); echo $$; " + forever + "' &); echo $$; sleep 60", 3},
		{"stopped", "sh -c 'echo $$; kill -STOP $$' & echo $$; wait", 2},
		{"stops itself", "echo $$; kill -STOP $$", 1},
		{"no marker, same session", "env -i sh -c '(trap \"\" TERM HUP; echo $(exec sh -c \"echo \\$PPID\"); " + forever + ") & ' ; echo $$; sleep 60", 2},
	}
	l := newLauncher(t)
	for _, tt := range tests {
		for _, grace := range []time.Duration{0, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, grace), func(t *testing.T) {
				p := start(t, l, shell(t, tt.script))
				pids := readPIDs(t, p, tt.pids)
				if left := p.Stop(grace); left != nil {
					t.Errorf("survivors: %v", left)
				}
				checkGone(t, pids)
				ends(t, p)
			})
		}
	}
}

// Stop clears out what a command left running, and leaves the rest alone.
func TestStopAfterEnd(t *testing.T) {
	l := newLauncher(t)
	other := start(t, l, shell(t, "echo $$; exec sleep 60"))
	otherPID := readPIDs(t, other, 1)[0]
	p := start(t, l, shell(t, "sleep 60 & echo $!; setsid sleep 60 & echo $!; (setsid sh -c 'echo $$; trap \"\" TERM; sleep 60; exit' &); exit 0"))
	pids := readPIDs(t, p, 3)
	ends(t, p)
	for _, pid := range pids {
		if !alive(pid) {
			t.Errorf("%d should still run", pid)
		}
	}
	if left := p.Stop(20 * time.Millisecond); left != nil {
		t.Errorf("survivors: %v", left)
	}
	checkGone(t, pids)
	if left := p.Stop(time.Hour); left != nil {
		t.Errorf("survivors: %v", left)
	}
	if !alive(otherPID) {
		t.Error("another command was ended")
	}
}

// A command that obeys ends by HUP or TERM within the grace period.
func TestStopAsksFirst(t *testing.T) {
	l := newLauncher(t)
	for trap, want := range map[string]Status{
		"trap 'exit 21' TERM; trap : HUP": {Code: 21},
		"trap 'exit 22' HUP; trap : TERM": {Code: 22},
		"trap '' HUP":                     {Signal: unix.SIGTERM},
		":":                               {Signal: unix.SIGHUP},
	} {
		p := start(t, l, shell(t, trap+"; echo ready; while :; do sleep 0.02; done"))
		readLine(t, p.Stdout)
		began := time.Now()
		if left := p.Stop(time.Minute); left != nil {
			t.Errorf("survivors: %v", left)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: took %v", trap, took)
		}
		if s := p.Wait(); s.Code != want.Code || s.Signal != want.Signal {
			t.Errorf("%s: got %+v", trap, s)
		}
	}
}

// The grace period ends early when somebody is in more of a hurry.
func TestStopConcurrent(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "trap '' TERM HUP; echo ready; while :; do sleep 60; done"))
	readLine(t, p.Stdout)
	var wg sync.WaitGroup
	began := time.Now()
	for range 8 {
		wg.Go(func() {
			if left := p.Stop(time.Hour); left != nil {
				t.Errorf("survivors: %v", left)
			}
		})
	}
	eventually(t, "a stop is in progress", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.stopping != nil
	})
	if p.Stop(0) != nil {
		t.Error("survivors")
	}
	wg.Wait()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
	if s := p.Wait(); s.Signal != unix.SIGKILL {
		t.Errorf("got %+v", s)
	}
}

// Killing at any moment of the start leaves nothing behind. What is left is
// searched for by the marker alone: 0 would be the session of every process
// whose session began outside this PID namespace (pid_namespaces(7)).
func TestStopRightAfterStart(t *testing.T) {
	const noSession = -1
	l := newLauncher(t)
	for i := range 30 {
		p := start(t, l, shell(t, "sleep 60 & setsid sleep 60 & wait"))
		for until := time.Now().Add(time.Duration(i) * 100 * time.Microsecond); time.Now().Before(until); {
		}
		if left := p.Stop(0); left != nil {
			t.Errorf("survivors: %v", left)
		}
		marker := p.tree.marker
		probe := newTree(noSession, p.tree.since, string(marker))
		if left, err := probe.members(); err != nil || len(left) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
	}
}

// A tree that forks all the time is caught, too.
func TestStopForking(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "echo ready; f() { (sleep 0.01; f) & }; trap '' TERM HUP; f; f; while :; do sleep 0.01; done"))
	readLine(t, p.Stdout)
	if left := p.Stop(10 * time.Millisecond); left != nil {
		t.Errorf("survivors: %v", left)
	}
	if left, err := p.tree.members(); err != nil || len(left) != 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// TestStopWithoutFiles: as long as no file can be opened nobody is found, which does not mean that nobody is
// there.
func TestStopWithoutFiles(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "setsid sleep 1000 <&- >&- 2>&- & echo $!; wait"))
	child := readPIDs(t, p, 1)[0]
	eventually(t, "the child has left the session", func() bool {
		c, err := readProc(child)
		return err == nil && c.session == child
	})
	giveBack := takeFiles(t)
	stopped := make(chan []int, 1)
	go func() { stopped <- p.Stop(0) }()
	p.Wait() // it is in the process group, for which no file is needed
	select {
	case left := <-stopped:
		t.Error("Stop is over before it could look for anybody")
		stopped <- left
	case <-time.After(300 * time.Millisecond):
	}
	giveBack()
	if left := <-stopped; left != nil {
		t.Errorf("survivors: %v", left)
	}
	checkGone(t, []int{child})
}

// takeFiles lets nobody in this program open a file.
func takeFiles(t *testing.T) (giveBack func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

func TestStopOtherAccount(t *testing.T) {
	needRoot(t)
	l := newLauncher(t)
	spec := shell(t, "setsid sh -c 'echo $$; sleep 60' & echo $$; wait")
	spec.Account = nobody()
	p := start(t, l, spec)
	pids := readPIDs(t, p, 2)
	if left := p.Stop(0); left != nil {
		t.Errorf("survivors: %v", left)
	}
	checkGone(t, pids)
}

// The session number counts after the leader's end only for those who were
// there before it: later, the number may be another's.
func TestSessionAfterEnd(t *testing.T) {
	tr := newTree(100, 5, "")
	young, old := proc{pid: 101, session: 100, start: 20}, proc{pid: 102, session: 100, start: 9}
	if !tr.inSession(young) || !tr.inSession(old) {
		t.Error("members are not recognised while the leader runs")
	}
	tr.leaderGone(10)
	if tr.inSession(young) || !tr.inSession(old) {
		t.Error("a number that was used again is taken for ours, or the reverse")
	}
}

// A signal meant for a process that has ended goes nowhere.
func TestSignalVerifiesStart(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "echo; exec sleep 60"))
	readLine(t, p.Stdout)
	got, err := readProc(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	got.start--
	if err := got.signal(unix.SIGKILL); err != unix.ESRCH {
		t.Errorf("got %v", err)
	}
	if !alive(p.PID) {
		t.Error("the wrong process was killed")
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000 10"
	for _, name := range []string{"sh", "a b", ") R 1 1 1", "((", "x)\n("} {
		p, err := parseStat(5, []byte("5 ("+name+")"+tail))
		want := proc{pid: 5, ppid: 7, group: 8, session: 9, state: 'S', start: 4242, flags: 4194560}
		if err != nil || p != want {
			t.Errorf("%q: got %+v, %v", name, p, err)
		}
	}
	for _, bad := range []string{"", "5 (sh)", "5 (sh) S 1 2 3", "5 (sh)" + strings.Replace(tail, "7", "x", 1), "5 (sh)" + strings.Replace(tail, "4242", "-", 1)} {
		if p, err := parseStat(5, []byte(bad)); err == nil {
			t.Errorf("%q: got %+v", bad, p)
		}
	}
}

// The clock of start times is the one that we take.
func TestBootTicks(t *testing.T) {
	before := bootTicks()
	l := newLauncher(t)
	p := start(t, l, shell(t, "echo; exec sleep 60"))
	readLine(t, p.Stdout)
	got, err := readProc(p.PID)
	if err != nil || got.start < before || got.start > bootTicks() {
		t.Errorf("started at %d, between %d and %d: %v", got.start, before, bootTicks(), err)
	}
}

// TestFindsWhoExecutes: a program in the midst of execve(2) has no environment for a moment, and is a member all the
// same, though nothing else tells of it.
func TestFindsWhoExecutes(t *testing.T) {
	const noSession = -1
	again := write(t, "again", "#!/bin/sh\n[ \"$1\" ] && echo $$\nexec \"$0\"\n", 0o755)
	p := start(t, newLauncher(t), shell(t, "(setsid "+again+" first &); exit 0"))
	pid := readPIDs(t, p, 1)[0]
	ends(t, p)
	missed := 0
	const walks = 300
	for range walks {
		probe := newTree(noSession, p.tree.since, string(p.tree.marker))
		found, err := probe.members()
		if err == nil && len(found) == 0 && !probe.settled() {
			found, err = probe.members()
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(found, func(m proc) bool { return m.pid == pid }) {
			missed++
		}
	}
	if missed > 0 {
		t.Errorf("%d of %d walks did not find it", missed, walks)
	}
}

// TestHiddenEnvironment: a process of another command that hides its environment for ever holds up neither a walk nor
// what is to be told to end, and the end only once.
func TestHiddenEnvironment(t *testing.T) {
	const noSession = -1
	spec := shell(t, "exec "+os.Args[0])
	spec.Env = append(spec.Env, childMode+"=hidden", "PAD="+strings.Repeat("x", 5*os.Getpagesize()))
	p := start(t, newLauncher(t), spec)
	pid := readPIDs(t, p, 1)[0]
	probe := newTree(noSession, p.tree.since, "no=such")
	for round := range 3 {
		began := time.Now()
		if _, err := probe.members(); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(probe.unsure, func(m proc) bool { return m.pid == pid }) {
			t.Fatal("it is not in doubt")
		}
		if left := probe.waiting; round == 0 && left != executing || round > 0 && left > 0 {
			t.Errorf("round %d: %s are left for waiting, after %s", round, left, time.Since(began))
		}
		if !probe.settled() {
			t.Error("it counts as a member")
		}
	}
}

// TestSettledWithoutFiles: who cannot be looked at does not count as gone.
func TestSettledWithoutFiles(t *testing.T) {
	p := start(t, newLauncher(t), shell(t, "exec sleep 1000"))
	own, err := readProc(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	probe := newTree(-1, p.tree.since, "no=such")
	probe.unsure = []proc{own}
	giveBack := takeFiles(t)
	settled := probe.settled()
	giveBack()
	if settled {
		t.Error("nobody could look, and it counts as none")
	}
	probe.unsure, probe.waiting = []proc{own}, executing
	if !probe.settled() {
		t.Error("it has another marker, and counts as a member")
	}
}
