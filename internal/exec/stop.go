//go:build linux

package exec

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// killBound is how long Stop goes on killing before it reports survivors. A
// process that SIGKILL does not end at once waits for a device or a mount.
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
//     outside of it. A grace of 0 or less skips this step.
//  2. For at most grace, it waits until none is left.
//  3. Members are stopped with SIGSTOP until a walk finds no new one, so that
//     none forks away, then killed, and again until none is left.
//
// It returns the process IDs of those that were still there 5 s after the
// first SIGKILL (uninterruptible in the kernel, or of another account that we
// may not signal), and nil when none was. It may be called at any time, also
// after the command's end to clear out what it left running, and by several
// goroutines: the shortest grace then holds for all.
//
// The tree is found by session, parentage and Spec.Marker. A process that
// left the session, was orphaned and cleared its environment, all before a walk
// saw it, is not found.
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
		}
	}
	// While the main process is there, no walk can find the tree empty.
	for s.sleep(p.done, time.Hour) && !isClosed(p.done) {
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if members, err := p.tree.members(); err == nil && len(members) == 0 && isClosed(p.done) {
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
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		members := s.freeze()
		for _, m := range members {
			_ = m.signal(unix.SIGKILL)
		}
		// Also when the walk did not work: the group is certain.
		_ = p.signalGroup(unix.SIGKILL)
		if len(members) == 0 && isClosed(p.done) {
			return nil
		}
		if time.Now().After(bound) {
			return s.pids(members)
		}
		s.pause(pause)
	}
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
func (s *stop) freeze() []proc {
	const rounds = 20
	frozen := make(map[int]uint64)
	for range rounds {
		members, err := s.process.tree.members()
		if err != nil {
			return nil
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
			return members
		}
	}
	members, _ := s.process.tree.members()
	return members
}

func (s *stop) pids(members []proc) []int {
	var pids []int
	for _, m := range members {
		pids = append(pids, m.pid)
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
