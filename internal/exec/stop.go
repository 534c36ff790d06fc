//go:build linux

package exec

import (
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// killBound is how long Stop goes on killing without their number falling
// before it reports survivors. A process that SIGKILL does not end then waits for
// a device or a mount; thousands that it does end take their time, too.
const killBound = 5 * time.Second

// stop is one run of [Process.Stop], shared by all who call it meanwhile.
type stop struct {
	process   *Process
	deadline  time.Time     // end of the grace period; guarded by process.mu
	hurry     chan struct{} // receives when the deadline was moved
	done      chan struct{} // closed when survivors is set
	survivors []int
}

// Stop ends the command and all processes of its tree:
//
//  1. SIGHUP, SIGTERM and SIGCONT go to the process group and to every member
//     outside of it, on a terminal then SIGCHLD to the main process, as after
//     [Process.Signal]. A grace of 0 or less skips this step.
//  2. For at most grace, it waits until none is left.
//  3. The command's cgroup is killed as a whole, if it has one. Members are
//     stopped with SIGSTOP until a walk finds no new one, so that none forks
//     away, then killed, and again until none is left.
//
// It returns the process IDs of those that were still there when their number
// had not fallen for 5 s under SIGKILL (uninterruptible in the kernel, or of
// another account that we may not signal), and nil when none was. If nobody could be
// looked for in that time, since no more files can be opened, it returns that of the
// command. It may be called at any time, also
// after the command's end to clear out what it left running, and by several
// goroutines: the shortest grace then holds for all.
//
// The tree is found by its cgroup, session, parentage and Spec.Marker. Without a
// cgroup a process that left the session, was orphaned and cleared its
// environment, all before a walk saw it, is not found.
func (p *Process) Stop(grace time.Duration) []int {
	s, first := p.joinStop(time.Now().Add(max(grace, 0)))
	if first {
		s.run(grace > 0)
	}
	<-s.done
	return slices.Clone(s.survivors)
}

// joinStop returns the run in progress, with its deadline lowered, or a new
// one.
func (p *Process) joinStop(deadline time.Time) (s *stop, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.stopping; s != nil {
		if deadline.Before(s.deadline) {
			s.deadline = deadline
			select {
			case s.hurry <- struct{}{}:
			default:
			}
		}
		return s, false
	}
	p.stopping = &stop{
		process:  p,
		deadline: deadline,
		hurry:    make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	return p.stopping, true
}

func (s *stop) run(ask bool) {
	if !ask || !s.ask() {
		s.survivors = s.kill()
	}
	s.process.mu.Lock()
	s.process.stopping = nil
	s.process.mu.Unlock()
	close(s.done)
}

// ask reports whether the tree ended by itself within the grace period.
func (s *stop) ask() bool {
	p := s.process
	members, _ := p.tree.members() // what cannot be listed now is found by the kill
	// SIGCONT is last, so that a stopped process finds the others waiting.
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGCONT} {
		grouped := p.signalGroup(sig) == nil
		for _, m := range members {
			if !grouped || m.group != p.PID {
				_ = m.signal(sig)
			}
			if s.left() <= 0 { // thousands of them take their time
				return false
			}
		}
	}
	p.remind()
	// While the main process is there, no walk can find the tree empty.
	for s.sleep(p.done, time.Hour) && !isClosed(p.done) {
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if members, err := p.tree.members(); err == nil && s.over(members) {
			return true
		}
		if !s.sleep(nil, pause) {
			return false
		}
	}
}

// sleep pauses for d, less when wake is closed or the deadline moved, and
// reports whether the grace period still runs.
func (s *stop) sleep(wake <-chan struct{}, d time.Duration) bool {
	left := s.left()
	if left <= 0 {
		return false
	}
	timer := time.NewTimer(min(d, left))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-s.hurry:
	}
	return s.left() > 0
}

func (s *stop) left() time.Duration {
	s.process.mu.Lock()
	defer s.process.mu.Unlock()
	return time.Until(s.deadline)
}

// kill ends the tree and returns who survived.
func (s *stop) kill() []int {
	p := s.process
	bound := time.Now().Add(killBound)
	if p.cgroup != nil {
		// Those outside of it may be known only by parents that are inside. A tree
		// that forks with all its might would make the walk long.
		p.cgroup.freeze()
		_, _ = p.tree.members()
	}
	fewest := math.MaxInt
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if p.cgroup.kill() {
			s.awaitEmpty()
		}
		members, err := s.freeze()
		if n := len(members); err == nil && n < fewest {
			fewest, bound = n, time.Now().Add(killBound)
		}
		for _, m := range members {
			_ = m.signal(unix.SIGKILL)
		}
		// Also when the walk did not work: the group is certain.
		_ = p.signalGroup(unix.SIGKILL)
		if err == nil && s.over(members) {
			return nil
		}
		switch late := time.Now().After(bound); {
		case late && err != nil:
			return []int{p.PID}
		case late:
			return s.pids(members)
		}
		s.pause(pause)
	}
}

// awaitEmpty gives a cgroup that was killed the time to end. Walking through
// thousands of processes that end would only take it from them.
func (s *stop) awaitEmpty() {
	const patience = time.Second
	until, fewest := time.Now().Add(patience), math.MaxInt
	for pause := 100 * time.Microsecond; s.process.cgroup.populated() && time.Now().Before(until); pause = min(2*pause, 10*time.Millisecond) {
		if n, ok := s.process.cgroup.size(); ok && n < fewest {
			fewest, until = n, time.Now().Add(patience)
		}
		s.pause(pause)
	}
}

// over reports whether nothing is left, when a walk found these members.
func (s *stop) over(members []proc) bool {
	return len(members) == 0 && isClosed(s.process.done) && !s.process.cgroup.populated() && s.process.tree.settled()
}

// pause waits a moment, but not past the end of the main process.
func (s *stop) pause(d time.Duration) {
	wake := s.process.done
	if isClosed(wake) {
		wake = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

// freeze stops members with SIGSTOP until a walk finds no new one. A tree
// that forks faster than we walk is bounded by the rounds of [stop.kill].
func (s *stop) freeze() ([]proc, error) {
	const rounds = 20
	frozen := make(map[int]uint64)
	for range rounds {
		members, err := s.process.tree.members()
		if err != nil {
			return nil, err
		}
		grown := false
		for _, m := range members {
			if start, ok := frozen[m.pid]; !ok || start != m.start {
				_ = m.signal(unix.SIGSTOP)
				frozen[m.pid] = m.start
				grown = true
			}
		}
		if !grown {
			return members, nil
		}
	}
	return s.process.tree.members()
}

func (s *stop) pids(members []proc) []int {
	var pids []int
	for _, m := range members {
		pids = append(pids, m.pid)
	}
	for pid := range s.process.cgroup.pids() {
		if !slices.Contains(pids, pid) { // its first thread has ended, and is what a walk sees
			pids = append(pids, pid)
		}
	}
	if main := s.process.PID; !isClosed(s.process.done) && !slices.Contains(pids, main) {
		pids = append(pids, main)
	}
	slices.Sort(pids)
	return pids
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
