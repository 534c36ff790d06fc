//go:build linux

package exec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree finds the processes of one command by reading /proc. A member is
//
//   - whoever is in the command's cgroup, if it has one,
//   - the main process, and whoever is in its session,
//   - a descendant of a member,
//   - whoever has the marker in the environment it was started with,
//   - whoever was a member before.
//
// It cannot find a process that did all of these before any walk saw it: left
// the session, lost its parent and dropped the marker from its environment.
// With a cgroup it must also have left that, which takes the rights of root or
// of the daemon's account; programs that open a session for a user do it.
type tree struct {
	cgroup *cgroup // nil: none
	leader int
	since  uint64 // ticks: no member is older
	marker []byte // "" matches nothing

	mu    sync.Mutex
	until uint64         // ticks when the leader's number was given back; 0 while it is held
	known map[int]uint64 // members seen, with their start times, while they exist
	// unsure are those that were no members for the last walk, but in the midst of execve(2).
	unsure  []proc
	waiting time.Duration // that is left for waiting for such
}

// proc is one line of /proc/PID/stat (proc_pid_stat(5)). A number and a start
// time together name one process for ever.
type proc struct {
	pid, ppid, group, session int
	state                     byte
	start                     uint64 // ticks since boot
	flags                     uint64 // of the kernel (PF_*)
	envStart, envEnd          uint64 // where its environment is; 0 while it has none yet, and if that is not told
}

func newTree(leader int, since uint64, marker string) *tree {
	return &tree{leader: leader, since: since, marker: []byte(marker), known: make(map[int]uint64), waiting: executing}
}

// ticksPerSecond is USER_HZ, fixed for programs on all platforms of Go.
const ticksPerSecond = 100

// bootTicks is the present on the clock of process start times.
func bootTicks() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return uint64(now.Nano() / int64(time.Second/ticksPerSecond))
}

func (t *tree) leaderGone(ticks uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = ticks
}

// members returns the living members, zombies excluded. An error means that it
// is not known who they are: without a file to be had, nobody would be found.
func (t *tree) members() ([]proc, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, err := t.candidates()
	if err != nil {
		return nil, err
	}
	// After the listing, so that a number which was given to another process
	// in between comes with a start time that is not that process's.
	inside := t.cgroup.pids()
	member := make(map[int]uint64)
	t.unsure = nil
	for _, p := range all {
		mine, sure := inside[p.pid] || t.isKnown(p) || t.inSession(p), true
		if !mine {
			if mine, sure, err = t.isMarked(p); err != nil {
				return nil, err
			}
		}
		if mine {
			member[p.pid] = p.start
		} else if !sure {
			t.unsure = append(t.unsure, p)
		}
	}
	// Descendants of descendants need one round for each generation that is
	// listed before its parent.
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			_, parent := member[p.ppid]
			_, already := member[p.pid]
			if parent && !already {
				member[p.pid] = p.start
				grown = true
			}
		}
	}
	t.known = member
	return slices.DeleteFunc(all, func(p proc) bool { _, ok := member[p.pid]; return !ok || p.gone() }), nil
}

// candidates lists the processes that are young enough, but never ourselves
// nor process 1.
func (t *tree) candidates() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []proc
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		p, err := readProc(pid)
		if outOfFiles(err) {
			return nil, err
		}
		if err == nil && p.start >= t.since {
			all = append(all, p)
		}
	}
	return all, nil
}

func (t *tree) isKnown(p proc) bool {
	start, ok := t.known[p.pid]
	return ok && start == p.start
}

// inSession trusts the session number while the leader has it. Afterwards the
// number may be in use again, but not by a process that existed before.
func (t *tree) inSession(p proc) bool {
	return p.session == t.leader && (t.until == 0 || p.start <= t.until)
}

// isMarked reports whether p began with the marker, and whether that is sure: a process in the midst of execve(2) has
// no environment for a moment, and what is read of the one before it is cut off.
func (t *tree) isMarked(p proc) (marked, sure bool, err error) {
	if len(t.marker) == 0 || p.gone() {
		return false, true, nil
	}
	env, err := os.ReadFile(procFile(p.pid, "environ"))
	if outOfFiles(err) {
		return false, false, err
	}
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(entry, t.marker) {
			return true, true, nil
		}
	}
	const exiting, kernelThread = 0x4, 0x200000 // PF_EXITING, PF_KTHREAD: they have no environment any more, or never
	switch {
	case err != nil, p.flags&(exiting|kernelThread) != 0:
		return false, true, nil
	case p.envEnd == 0:
		return false, len(env) > 0, nil
	}
	return false, uint64(len(env)) == p.envEnd-p.envStart, nil
}

// executing bounds how long all walks together wait for processes that are in execve(2). That is over in less than a
// millisecond, unless the machine is too busy to go on with it, or somebody's process hides its environment.
const executing = time.Second

// settled reports whether those whom the last walk was not sure of are no members, and waits until that can be seen.
// One that is a member is known to the next walk; one that hides for longer than [executing] counts as none, but not
// where it could not be looked at for want of files. Where there is a cgroup nobody is waited for: that knows its members.
func (t *tree) settled() bool {
	t.mu.Lock()
	unsure, left := t.unsure, t.waiting
	t.mu.Unlock()
	if t.cgroup != nil {
		return true
	}
	began := time.Now()
	found, blind := false, false
	for pause := 100 * time.Microsecond; len(unsure) > 0 && !found && time.Since(began) < left; pause = min(2*pause, 10*time.Millisecond) {
		time.Sleep(pause)
		blind = false
		unsure = slices.DeleteFunc(unsure, func(p proc) bool {
			now, err := readProc(p.pid)
			if outOfFiles(err) {
				blind = true
				return false
			}
			if err != nil || now.start != p.start {
				return true
			}
			marked, sure, err := t.isMarked(now)
			blind = blind || err != nil
			if marked {
				found = true
				t.mu.Lock()
				t.known[p.pid] = p.start
				t.mu.Unlock()
			}
			return err == nil && (marked || sure)
		})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure, t.waiting = nil, left-time.Since(began)
	return !found && !blind
}

// outOfFiles tells an error that says nothing of the file that was to be opened.
func outOfFiles(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// signal sends sig to the members that match.
func (t *tree) signal(sig syscall.Signal, match func(proc) bool) {
	members, err := t.members()
	if err != nil {
		return
	}
	for _, m := range members {
		if match(m) {
			_ = m.signal(sig)
		}
	}
}

func outsideGroup(group int) func(proc) bool {
	return func(p proc) bool { return p.group != group }
}

// gone reports a process that has ended and only waits for its parent.
func (p proc) gone() bool { return p.state == 'Z' || p.state == 'X' || p.state == 'x' }

// signal sends sig to this process and to no later one with its number.
func (p proc) signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err == unix.ESRCH {
		return err
	}
	hasFD := err == nil // not before Linux 5.3, and not under every seccomp filter
	if hasFD {
		defer unix.Close(fd)
	}
	if now, err := readProc(p.pid); err != nil || now.start != p.start {
		return unix.ESRCH
	}
	if hasFD {
		return unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	return unix.Kill(p.pid, sig)
}

func procFile(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

func readProc(pid int) (proc, error) {
	line, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return proc{}, err
	}
	return parseStat(pid, line)
}

// parseStat starts at the last parenthesis, since the program's name before it
// may hold anything.
func parseStat(pid int, line []byte) (proc, error) {
	const ppid, group, session, flags, start, envStart, envEnd = 1, 2, 3, 6, 19, 47, 48
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) <= start {
		return proc{}, errors.New("short line in /proc/PID/stat")
	}
	p := proc{pid: pid, state: fields[0][0]}
	for _, f := range []struct {
		to    *int
		index int
	}{{&p.ppid, ppid}, {&p.group, group}, {&p.session, session}} {
		n, err := strconv.Atoi(string(fields[f.index]))
		if err != nil {
			return proc{}, fmt.Errorf("parsing /proc/PID/stat: %w", err)
		}
		*f.to = n
	}
	for _, f := range []struct {
		to    *uint64
		index int
	}{{&p.flags, flags}, {&p.start, start}, {&p.envStart, envStart}, {&p.envEnd, envEnd}} {
		if f.index >= len(fields) { // of an old kernel
			break
		}
		n, err := strconv.ParseUint(string(fields[f.index]), 10, 64)
		if err != nil {
			return proc{}, fmt.Errorf("parsing /proc/PID/stat: %w", err)
		}
		*f.to = n
	}
	return p, nil
}
