//go:build linux

package exec

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is the cgroup of one command. A nil one stands for a command without.
// Its name is never used again while the daemon runs, so what is done to one
// that was removed reaches nobody.
type cgroup struct {
	dir string
	all *Cgroups
}

func (c *Cgroups) job(name string) *cgroup {
	return &cgroup{dir: c.file(jobsGroup) + "/" + name, all: c}
}

// create makes the cgroup of a command, with its limits, and opens it. It stays
// the daemon's own: the command's account cannot write to it.
func (c *Cgroups) create(spec *Spec) (g *cgroup, fd int, err error) {
	for {
		g = c.job(jobPrefix + strconv.FormatUint(c.made.Add(1), 10))
		err := unix.Mkdir(g.dir, 0o755)
		if err == nil {
			break
		}
		if err != unix.EEXIST { // of a predecessor, whose processes cannot be ended
			return nil, -1, fmt.Errorf("making a cgroup: %w", err)
		}
	}
	if err := g.limit(spec); err != nil {
		c.remove(g)
		return nil, -1, err
	}
	fd, err = unix.Open(g.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.remove(g)
		return nil, -1, fmt.Errorf("opening a cgroup: %w", err)
	}
	return g, fd, nil
}

func (g *cgroup) limit(spec *Spec) error {
	if n := spec.MaxProcesses; n > 0 {
		if err := writeSmall(g.dir+"/pids.max", strconv.Itoa(n)); err != nil {
			return fmt.Errorf("limiting the number of processes: %w", err)
		}
	}
	if n := spec.MaxMemory; n > 0 {
		if err := writeSmall(g.dir+"/memory.max", strconv.FormatUint(n, 10)); err != nil {
			return fmt.Errorf("limiting memory: %w", err)
		}
	}
	return nil
}

// kill kills all members, those of cgroups below it, too, and reports whether the
// kernel does that. If not, they are only kept from running and forking until
// they are killed one by one.
func (g *cgroup) kill() bool {
	if g == nil {
		return false
	}
	if g.all.kill && writeSmall(g.dir+"/cgroup.kill", "1") == nil {
		return true
	}
	g.freeze()
	return false
}

// freeze keeps all members from running (Linux 5.2). They can still be killed.
func (g *cgroup) freeze() { _ = writeSmall(g.dir+"/cgroup.freeze", "1") }

// killEach kills those that are members now. What is listed may have ended and
// given its number away, so it must be a member still when its pidfd is open.
func (g *cgroup) killEach() {
	for pid := range g.pids() {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if g.pids()[pid] {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
		unix.Close(fd)
	}
}

// pids are the members now, with those of cgroups below it, which a command of
// root's may have made.
func (g *cgroup) pids() map[int]bool {
	if g == nil {
		return nil
	}
	all := make(map[int]bool)
	collectPids(g.dir, all)
	return all
}

func collectPids(dir string, all map[int]bool) {
	pids, err := readPids(dir)
	if errors.Is(err, unix.ENOENT) {
		return
	}
	for _, pid := range pids {
		all[pid] = true
	}
	for _, name := range subgroups(dir) {
		collectPids(dir+"/"+name, all)
	}
}

// readPids lists the processes of one cgroup. A process of another PID namespace
// is 0 there, which is left out: it would mean ourselves.
func readPids(dir string) ([]int, error) {
	text, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(string(text)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// populated reports whether a process is left, also one that a list of processes
// does not show because only its first thread has ended. One that cannot be looked
// into may have some.
func (g *cgroup) populated() bool {
	if g == nil {
		return false
	}
	text, err := readSmall(g.dir + "/cgroup.events")
	return outOfFiles(err) || err == nil && value(text, "populated") != 0
}

// size is the number of processes and threads in it and below, if the controller pids counts them.
func (g *cgroup) size() (n int, ok bool) {
	text, err := os.ReadFile(g.dir + "/pids.current")
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// removed removes the cgroup and those below it if no process is left, and
// reports whether it is gone.
func (g *cgroup) removed() bool { return removeCgroup(g.dir) }

func removeCgroup(dir string) bool {
	err := unix.Rmdir(dir)
	if err == unix.EBUSY {
		for _, name := range subgroups(dir) {
			if !removeCgroup(dir + "/" + name) {
				return false
			}
		}
		err = unix.Rmdir(dir)
	}
	return err == nil || err == unix.ENOENT
}

// addUsage puts what the whole cgroup has used into s, where the kernel tells it.
func (g *cgroup) addUsage(s *Status) {
	if g == nil {
		return
	}
	if text, err := readSmall(g.dir + "/cpu.stat"); err == nil {
		user := time.Duration(value(text, "user_usec")) * time.Microsecond
		system := time.Duration(value(text, "system_usec")) * time.Microsecond
		// A process of root's may have left for another cgroup, with its time.
		if user+system >= s.UserTime+s.SystemTime {
			s.UserTime, s.SystemTime = user, system
		}
	}
	if !g.all.memory {
		return
	}
	if text, err := readSmall(g.dir + "/memory.peak"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n > 0 {
			s.MaxRSS = n
		}
	}
	if text, err := readSmall(g.dir + "/memory.events"); err == nil {
		s.OOMKills = value(text, "oom_kill")
		s.OOMLimit = value(text, "oom") > 0
	}
}

// value is the number behind a name in a file of one "name number" a line; 0 if
// it is not there.
func value(text, name string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}
