//go:build linux

package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withCgroups is the environment variable that makes every launcher of the tests
// give cgroups to its commands.
const withCgroups = "EXEC_TEST_CGROUPS"

// testCgroup makes a cgroup for one test, which must be empty at its end.
func testCgroup(t testing.TB) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	root, err := cgroupDir(string(mounts), "/")
	if err != nil {
		t.Skip("no cgroup to test in: ", err)
	}
	dir, err := os.MkdirTemp(root, "exec-test-")
	if err != nil {
		t.Skip("no cgroup to test in: ", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // as a service manager has it
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if names := subgroups(dir); len(names) > 0 {
			t.Errorf("cgroups are left: %v", names)
		}
		removeCgroup(dir)
	})
	return dir
}

// openCgroups opens a test's cgroup, closed with the test.
func openCgroups(t testing.TB) *Cgroups {
	t.Helper()
	c, err := OpenCgroups(testCgroup(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// cgroupLauncher is a launcher whose commands have cgroups.
func cgroupLauncher(t testing.TB) *Launcher {
	t.Helper()
	c := openCgroups(t)
	l, err := NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	l.UseCgroups(c)
	return l
}

func awaitRemoved(t *testing.T, p *Process) {
	t.Helper()
	eventually(t, "the cgroup is removed", func() bool {
		_, err := os.Stat(p.cgroup.dir)
		return errors.Is(err, os.ErrNotExist)
	})
}

// Everything that is true of commands and their trees holds with cgroups, too.
func TestWithCgroups(t *testing.T) {
	if os.Getenv(withCgroups) != "" {
		t.Skip("this is the run with cgroups")
	}
	testCgroup(t) // skips where there are none
	limit := 10 * time.Minute
	if deadline, ok := t.Deadline(); ok {
		limit = time.Until(deadline) - 10*time.Second // the one inside shall tell what hangs
	}
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.short=true", "-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), withCgroups+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A command is inside from its first instruction on, whatever else its start needs.
func TestStartsInside(t *testing.T) {
	l := cgroupLauncher(t)
	score := 500 // has it traced to its first instruction
	for _, a := range accounts(t) {
		for _, score := range []*int{nil, &score} {
			spec := shell(t, "cat /proc/self/cgroup")
			spec.Account, spec.OOMScoreAdj = a, score
			p := start(t, l, spec)
			out, _ := io.ReadAll(p.Stdout)
			own, err := cgroupPath(string(out))
			if err != nil || filepath.Base(own) != filepath.Base(p.cgroup.dir) {
				t.Errorf("%s, traced %v: inside %q, not %s: %v", a.Name, score != nil, own, p.cgroup.dir, err)
			}
			ends(t, p)
			awaitRemoved(t, p)
		}
	}
}

// The account of a command cannot take a process out of the cgroup, nor change it.
func TestCommandCannotLeave(t *testing.T) {
	needRoot(t)
	l := cgroupLauncher(t)
	spec := shell(t, "")
	spec.Account = nobody()
	dir := l.cgroups.dir
	spec.Argv = []string{"/bin/sh", "-c", "for f in " + dir + "/cgroup.procs " + dir + "/*/cgroup.procs " + dir +
		"/*/cgroup.freeze; do test -e $f || echo missing $f; echo $$ >$f && echo wrote $f; done 2>/dev/null; mkdir " + dir + "/x 2>/dev/null && echo made"}
	if out, _, _ := output(t, l, spec); out != "" {
		t.Error(out)
	}
}

const escape = `(setsid env -i /bin/sh -c 'trap "" TERM HUP INT; echo $$; while :; do sleep 60; done' &); `

// What leaves session, parent and environment before any walk sees it is ended all
// the same, with cgroup.kill and on kernels without.
func TestStopKillsWhatNoWalkFinds(t *testing.T) {
	for _, kill := range []bool{true, false} {
		for _, ended := range []bool{true, false} {
			t.Run(fmt.Sprintf("kill=%v,ended=%v", kill, ended), func(t *testing.T) {
				l := cgroupLauncher(t)
				l.cgroups.kill = l.cgroups.kill && kill
				script := escape + "sleep 60"
				if ended {
					script = escape + "exit 0"
				}
				p := start(t, l, shell(t, script))
				pids := readPIDs(t, p, 1)
				if ended {
					ends(t, p)
				}
				eventually(t, "it has lost its parent", func() bool {
					got, err := readProc(pids[0])
					parent, err2 := readProc(got.ppid)
					return err == nil && err2 == nil && parent.start < p.tree.since
				})
				walk := newTree(p.PID, p.tree.since, string(p.tree.marker))
				found, err := walk.members()
				if err != nil || slices.ContainsFunc(found, func(m proc) bool { return m.pid == pids[0] }) {
					t.Fatalf("a walk finds it: %+v, %v", found, err)
				}
				if left := p.Stop(20 * time.Millisecond); left != nil {
					t.Errorf("survivors: %v", left)
				}
				checkGone(t, pids)
				awaitRemoved(t, p)
			})
		}
	}
}

// A signal reaches it, too.
func TestSignalReachesCgroup(t *testing.T) {
	l := cgroupLauncher(t)
	p := start(t, l, shell(t, `(setsid env -i /bin/sh -c 'trap "echo got; exit" USR1; echo ready; while :; do sleep 0.05; done' &); trap : USR1; while :; do sleep 0.05; done`))
	readLine(t, p.Stdout)
	if err := p.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, p.Stdout); line != "got" {
		t.Errorf("got %q", line)
	}
}

// Who goes to another cgroup, as programs that open a session do, is found as before.
func TestStopKillsWhoLeftTheCgroup(t *testing.T) {
	needRoot(t)
	l := cgroupLauncher(t)
	for _, grace := range []time.Duration{0, 20 * time.Millisecond} {
		p := start(t, l, shell(t, "setsid sh -c 'trap \"\" TERM HUP; echo $$ >"+l.cgroups.dir+"/cgroup.procs; echo $$; while :; do sleep 60; done' & wait"))
		pids := readPIDs(t, p, 1)
		if left := p.Stop(grace); left != nil {
			t.Errorf("survivors: %v", left)
		}
		checkGone(t, pids)
	}
}

// A command of root's may make cgroups below its own.
func TestStopNestedCgroup(t *testing.T) {
	needRoot(t)
	l := cgroupLauncher(t)
	spec := shell(t, "read dir; mkdir -p $dir/a/b; (setsid env -i sh -c \"echo \\$\\$ >$dir/a/b/cgroup.procs; echo \\$\\$; trap '' TERM; sleep 60; exit\" &); sleep 60")
	spec.Stdin = true
	p := start(t, l, spec)
	fmt.Fprintln(p.Stdin, p.cgroup.dir)
	pids := readPIDs(t, p, 1)
	if !p.cgroup.pids()[pids[0]] {
		t.Error("not listed")
	}
	if left := p.Stop(0); left != nil {
		t.Errorf("survivors: %v", left)
	}
	checkGone(t, pids)
	awaitRemoved(t, p)
}

// What a command leaves in the background runs on, and its cgroup goes when it does.
func TestBackgroundKeepsCgroup(t *testing.T) {
	l := cgroupLauncher(t)
	p := start(t, l, shell(t, "sleep 60 & echo $!; exit 0"))
	pid := readPIDs(t, p, 1)[0]
	ends(t, p)
	eventually(t, "a removal was tried", func() bool {
		l.cgroups.mu.Lock()
		defer l.cgroups.mu.Unlock()
		return len(l.cgroups.ended) == 1 && l.cgroups.ended[0].pause > firstSweep
	})
	if !alive(pid) || !p.cgroup.pids()[pid] {
		t.Fatal("the child in the background was ended")
	}
	unix.Kill(pid, unix.SIGKILL)
	awaitRemoved(t, p)
}

// The CPU time of a grandchild counts that nobody waited for.
func TestUsageOfTree(t *testing.T) {
	l := cgroupLauncher(t)
	spec := shell(t, "(setsid sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; exec sleep 60' &); read x")
	spec.Stdin = true
	p := start(t, l, spec)
	readLine(t, p.Stdout)
	p.Stdin.Close()
	if s := ends(t, p); s.UserTime+s.SystemTime < 30*time.Millisecond {
		t.Errorf("CPU time %v + %v", s.UserTime, s.SystemTime)
	}
}

// A tree that forks as fast as it may is ended at once. As nobody it is bounded.
func TestForkBomb(t *testing.T) {
	needRoot(t)
	l := cgroupLauncher(t)
	spec := shell(t, "ulimit -u 150; export BOMB='trap \"\" TERM HUP; while :; do setsid sh -c \"$BOMB\" & sleep 0.02; done'; exec sh -c \"$BOMB\" 2>/dev/null")
	spec.Account = nobody()
	p := start(t, l, spec)
	eventually(t, "it has grown", func() bool { return len(p.cgroup.pids()) > 60 })
	began := time.Now()
	if left := p.Stop(0); left != nil {
		t.Errorf("survivors: %v", left)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("took %v", took)
	}
	ends(t, p)
	awaitRemoved(t, p)
}

// A limit that would not hold refuses the command.
func TestLimitsWithoutController(t *testing.T) {
	with, without := cgroupLauncher(t), newLauncher(t)
	if with.cgroups.Memory() && with.cgroups.Pids() {
		t.Skip("this host has both controllers")
	}
	for _, l := range []*Launcher{with, without} {
		spec := shell(t, "echo ran")
		spec.MaxMemory, spec.MaxProcesses = 1<<30, 100
		if p, err := l.Start(spec); err == nil {
			p.Stop(0)
			t.Error("it was started")
		} else if refused := new(StartError); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	}
}

// What a daemon that was killed has left is ended before anything runs.
func TestLeftovers(t *testing.T) {
	for _, kill := range []bool{true, false} {
		dir := testCgroup(t)
		if err := os.MkdirAll(dir+"/jobs/job-3/below", 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := osexec.CommandContext(t.Context(), "sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if err := writeSmall(dir+"/jobs/job-3/below/cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		c := &Cgroups{dir: dir, kill: kill, wake: make(chan struct{}, 1), quit: make(chan struct{})}
		c.wg.Go(c.sweep)
		c.clearLeftovers()
		if state, _ := cmd.Process.Wait(); state == nil || state.Success() {
			t.Errorf("ended with %v", state)
		}
		eventually(t, "it is removed", func() bool { return len(subgroups(dir+"/jobs")) == 0 })
		removeCgroup(dir + "/jobs")
		close(c.quit)
		c.wg.Wait()
	}
}

// Two daemons in one cgroup would end each other's commands.
func TestOneDaemonForACgroup(t *testing.T) {
	c := openCgroups(t)
	if second, err := OpenCgroups(c.Dir()); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("got %v, %v", second, err)
	}
}

// After Close there are no cgroups of ours, and what was in the background runs on.
func TestCloseCgroups(t *testing.T) {
	c, err := OpenCgroups(testCgroup(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	l.UseCgroups(c)
	p := start(t, l, shell(t, "sleep 60 & echo $!; exit 0"))
	pid := readPIDs(t, p, 1)[0]
	ends(t, p)
	l.Close()
	c.Close()
	if names := subgroups(c.dir); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	if !alive(pid) {
		t.Error("the child in the background was ended")
	}
	p.Stop(0)
	checkGone(t, []int{pid})
}

// A daemon that is inside makes room, and goes back at its end.
func TestDaemonLeaf(t *testing.T) {
	dir := testCgroup(t)
	cmd := osexec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(os.Environ(), childMode+"=leaf")
	out, err := cmd.CombinedOutput()
	want := fmt.Sprintf("%[1]s/daemon %[1]s/jobs/job-2 %[1]s", "/"+filepath.Base(dir))
	if got := string(out); err != nil || got != want {
		t.Errorf("got %q, want %q: %v", got, want, err)
	}
}

// leafMain is a daemon inside the cgroup that it uses.
func leafMain() int {
	if err := runInLeaf(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runInLeaf(dir string) error {
	if err := writeSmall(dir+"/cgroup.procs", "0"); err != nil {
		return err
	}
	c, err := OpenCgroups(dir)
	if err != nil {
		return err
	}
	membership, _ := readSmall("/proc/self/cgroup")
	inside, _ := cgroupPath(membership)
	l, err := NewLauncher()
	if err != nil {
		return err
	}
	l.UseCgroups(c)
	a, err := NewAccounts().Self(context.Background())
	if err != nil {
		return err
	}
	p, err := l.Start(&Spec{Account: a, Argv: []string{"/bin/cat", "/proc/self/cgroup"}})
	if err != nil {
		return err
	}
	out, _ := io.ReadAll(p.Stdout)
	command, _ := cgroupPath(string(out))
	p.Wait()
	l.Close()
	c.Close()
	membership, _ = readSmall("/proc/self/cgroup")
	after, _ := cgroupPath(membership)
	_, err = fmt.Print(inside, " ", command, " ", after)
	return err
}
