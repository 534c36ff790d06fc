//go:build linux

package exec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Limit is one resource limit of setrlimit(2).
type Limit struct {
	Resource   int    // unix.RLIMIT_*
	Soft, Hard uint64 // in the resource's own unit; unix.RLIM_INFINITY for none
}

// changes is what a command's limits need beyond what it inherits.
type changes struct {
	limits []Limit
	score  *int
}

func (c *changes) none() bool { return len(c.limits) == 0 && c.score == nil }

// changes compares the wanted limits with the daemon's own, since setting any
// costs a stop of the child.
func (s *Spec) changes() (c changes, err error) {
	for _, l := range s.Limits {
		var own unix.Rlimit
		if err := unix.Prlimit(0, l.Resource, nil, &own); err != nil {
			return c, refuse(err, "cannot set limits: reading limit of %s: %v", resourceName(l.Resource), err)
		}
		// The Go runtime raises its own file limit and lowers it again in
		// the child, so ours does not tell the child's.
		if l.Resource == unix.RLIMIT_NOFILE || own.Cur != l.Soft || own.Max != l.Hard {
			c.limits = append(c.limits, l)
		}
	}
	if s.OOMScoreAdj == nil {
		return c, nil
	}
	own, err := ownScore()
	if err != nil {
		return c, refuse(err, "cannot set limits: %v", err)
	}
	if own == *s.OOMScoreAdj || asRipe(own, *s.OOMScoreAdj) && !mayLowerScore() {
		return c, nil
	}
	c.score = s.OOMScoreAdj
	return c, nil
}

// asRipe tells whether a command with the daemon's score is at least as readily ended as was wanted, by a
// wish that is no more than not to be ended first. A negative score asks for protection, and is kept or refused.
func asRipe(own, wanted int) bool { return wanted >= 0 && own > wanted }

// mayLowerScore tells whether the kernel lets this process lower a score (proc_pid_oom_score_adj(5)). It does
// not let a user's daemon, to which systemd gives 200, nor one in most containers.
func mayLowerScore() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	return unix.Capget(&header, &sets[0]) == nil && sets[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// ownScore reads the daemon's score without [os.ReadFile], which would enter the
// file into the runtime's poller and take it out again for every command.
func ownScore() (int, error) {
	fd, err := unix.Open("/proc/self/oom_score_adj", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var text [16]byte
	n, err := unix.Read(fd, text[:])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(text[:n])))
}

// apply sets the limits of a child that was started with PTRACE_TRACEME, so
// that it stopped between execve(2) and its first instruction, and lets it run.
// It must be called on the thread that forked the child.
func (c *changes) apply(pid int) error {
	pending, ended, err := waitExecStop(pid)
	if err != nil || ended {
		return err
	}
	if err := refuseSetuid(pid); err != nil {
		return err
	}
	for _, l := range c.limits {
		if err := unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil); err != nil {
			return fmt.Errorf("setting limit of %s: %w", resourceName(l.Resource), withHint(err))
		}
	}
	if c.score != nil {
		file := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
		if err := os.WriteFile(file, []byte(strconv.Itoa(*c.score)), 0); err != nil {
			return fmt.Errorf("setting the OOM score adjustment: %w", errors.Unwrap(err))
		}
	}
	if err := unix.PtraceDetach(pid); err != nil && err != unix.ESRCH {
		return fmt.Errorf("letting the command run: %w", err)
	}
	for _, sig := range pending {
		_ = unix.Kill(pid, sig)
	}
	return nil
}

// waitExecStop waits for the SIGTRAP that ends execve(2) of a traced child.
// Other signals that arrived before are returned, to be sent again. A child
// that was killed meanwhile is not reaped: its end is reported like any other.
func waitExecStop(pid int) (pending []unix.Signal, ended bool, err error) {
	const clTrapped = 4 // CLD_TRAPPED of sigaction(2)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("waiting for the start: %w", err)
		}
		if info.Code != clTrapped {
			return nil, true, nil
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(pid, &ws, unix.WALL|unix.WNOHANG, nil); err != nil {
			return nil, false, fmt.Errorf("waiting for the start: %w", err)
		}
		if !ws.Stopped() {
			continue
		}
		if ws.StopSignal() == unix.SIGTRAP {
			return pending, false, nil
		}
		pending = append(pending, ws.StopSignal())
		if err := unix.PtraceCont(pid, 0); err != nil && err != unix.ESRCH {
			return nil, false, fmt.Errorf("waiting for the start: %w", err)
		}
	}
}

// refuseSetuid refuses a program that was to change its account at execve(2)
// when the kernel has not let it because the tracer lacks privileges: it would
// run with other rights than without limits.
func refuseSetuid(pid int) error {
	if os.Geteuid() == 0 {
		return nil
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil // not readable for us, so it is not a matter of this bit
	}
	if info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		return errors.New("only root can set them for a set-user-ID program: start it through a shell")
	}
	return nil
}

// withHint explains what stops even root, usually in a container: touching the
// limits of another account's process and raising one above our own needs a
// capability of its own (prlimit(2)).
func withHint(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w (the daemon needs the capability CAP_SYS_RESOURCE)", err)
	}
	return err
}

func resourceName(resource int) string {
	names := map[int]string{
		unix.RLIMIT_AS: "address space", unix.RLIMIT_CORE: "core file size", unix.RLIMIT_CPU: "CPU time",
		unix.RLIMIT_DATA: "data size", unix.RLIMIT_FSIZE: "file size", unix.RLIMIT_LOCKS: "file locks",
		unix.RLIMIT_MEMLOCK: "locked memory", unix.RLIMIT_MSGQUEUE: "message queues", unix.RLIMIT_NICE: "nice priority",
		unix.RLIMIT_NOFILE: "open files", unix.RLIMIT_NPROC: "processes", unix.RLIMIT_RSS: "resident set",
		unix.RLIMIT_RTPRIO: "realtime priority", unix.RLIMIT_RTTIME: "realtime CPU time",
		unix.RLIMIT_SIGPENDING: "pending signals", unix.RLIMIT_STACK: "stack size",
	}
	if name, ok := names[resource]; ok {
		return name
	}
	return fmt.Sprintf("resource %d", resource)
}
