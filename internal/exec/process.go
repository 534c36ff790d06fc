//go:build linux

package exec

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrEnded is returned by [Process.Signal] when the command has ended.
var ErrEnded = errors.New("the command has already ended")

// Process is a started command. Its methods may be called by any goroutine.
type Process struct {
	PID     int
	Started time.Time // just before the fork

	// Stdin, Stdout and Stderr are our ends of the pipes, non-blocking, with
	// deadlines. They belong to the caller, who closes them. Stdin is nil
	// when it was not asked for.
	//
	// On a terminal Stdout is our side of it, Stdin another file of the same,
	// and Stderr is nil. Once the command has ended and what it wrote is read,
	// reading fails with EIO. When both are closed the terminal hangs up.
	Stdin, Stdout, Stderr *os.File

	// Report is our end of the pipe of [Spec].Report, non-blocking, with deadlines; nil without. It is the
	// caller's, too. Whatever inherited the command's end can hold it open and write to it.
	Report *os.File

	tree     *tree
	cgroup   *cgroup       // nil: none
	terminal *terminal     // nil: pipes
	done     chan struct{} // closed when status is set

	// mu is held while PID is signalled and while it is given back to the
	// kernel, so that no signal reaches a later process with the number.
	mu       sync.Mutex
	reaped   bool
	status   Status
	stopping *stop

	// Guarded by mu, too.
	reminder      *time.Timer // nil until one was needed
	reminderPause time.Duration
}

// Status says how a command ended.
type Status struct {
	Code       int            // exit code 0 to 255; 0 when a signal ended it
	Signal     syscall.Signal // the signal that ended it; 0 means that it exited
	CoreDumped bool

	// UserTime and SystemTime are the CPU time of all processes of the command,
	// until its main process ended. Without a cgroup they are that of the main
	// process and of those children that were waited for.
	UserTime, SystemTime time.Duration

	// MaxRSS is the most memory in bytes that all of its processes together had,
	// with the files that the kernel cached for them (memory.peak, Linux 5.19). Without a
	// memory controller it is the peak of resident memory of one process, in
	// which the kernel counts the moment between fork and exec, so it is never
	// below the daemon's own.
	MaxRSS int64

	// OOMKills is how many of its processes the kernel has ended for lack of
	// memory, and OOMLimit whether the command's own limit was reached. Without a
	// memory controller both are zero.
	OOMKills uint64
	OOMLimit bool

	Ended time.Time
}

func newProcess(r *request, io *stdio) *Process {
	p := &Process{
		PID:     r.pid,
		Started: r.started,
		Stdin:   io.parent[0],
		Stdout:  io.parent[1],
		Stderr:  io.parent[2],
		Report:  io.reportReader,
		tree:    newTree(r.pid, r.ticks, r.spec.Marker),
		cgroup:  r.cgroup,
		done:    make(chan struct{}),
	}
	p.terminal = io.terminal
	p.tree.cgroup = r.cgroup
	// Nobody waits for this goroutine but Wait: it lives exactly as long as
	// the command, which no one can promise to end.
	go p.watch(r.pidfd)
	return p
}

// Done is closed when the command's main process has ended. Processes that it
// left behind may still run and hold the pipes.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait blocks until the command's main process has ended and returns how.
func (p *Process) Wait() Status {
	<-p.done
	return p.status
}

// watch collects the end of the main process. With a pidfd it waits in the
// runtime's poller and costs a goroutine; without, it costs a thread.
func (p *Process) watch(pidfd int) {
	defer p.leave()
	if pidfd >= 0 && p.awaitPidfd(pidfd) {
		return
	}
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.PID, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR && (p.reap() || err != nil) {
			return
		}
	}
}

// leave tells of the end, and has the cgroup removed after that.
func (p *Process) leave() {
	p.terminal.close()
	close(p.done)
	if p.cgroup != nil {
		p.cgroup.all.remove(p.cgroup)
	}
}

// awaitPidfd reports whether the process was reaped.
func (p *Process) awaitPidfd(fd int) bool {
	_ = unix.SetNonblock(fd, true) // tells os.NewFile to try the poller
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	return conn.Read(func(uintptr) bool { return p.reap() }) == nil
}

// reap collects the main process if it has ended. A process that cannot be
// waited for is somebody's mistake (only this package may call wait); its
// outcome is then unknown and stated as a kill, never as success.
func (p *Process) reap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return true
	}
	var ws unix.WaitStatus
	var usage unix.Rusage
	pid, err := unix.Wait4(p.PID, &ws, unix.WNOHANG, &usage)
	switch {
	case err == unix.EINTR, err == nil && pid == 0:
		return false
	case err != nil:
		p.status = Status{Signal: unix.SIGKILL, Ended: time.Now()}
	default:
		p.status = newStatus(ws, &usage)
		p.cgroup.addUsage(&p.status)
	}
	p.tree.leaderGone(bootTicks())
	p.reaped = true
	return true
}

func newStatus(ws unix.WaitStatus, usage *unix.Rusage) Status {
	s := Status{
		CoreDumped: ws.CoreDump(),
		UserTime:   time.Duration(usage.Utime.Nano()),
		SystemTime: time.Duration(usage.Stime.Nano()),
		MaxRSS:     int64(usage.Maxrss) * 1024,
		Ended:      time.Now(),
	}
	if ws.Signaled() {
		s.Signal = ws.Signal()
	} else {
		s.Code = ws.ExitStatus()
	}
	return s
}

// Signal sends sig to the whole tree: to the command's process group at once,
// then to the members outside of it that a walk finds. It returns [ErrEnded]
// when the main process has ended, even if others of the tree run on: those
// are for [Process.Stop]. SIGTERM and SIGHUP are followed by SIGCONT, and on a
// terminal by SIGCHLD for the main process while it has not ended.
func (p *Process) Signal(sig syscall.Signal) error {
	if sig <= 0 || sig > rtMax {
		return unix.EINVAL
	}
	if err := p.signalGroup(sig); err != nil {
		return err
	}
	p.tree.signal(sig, outsideGroup(p.PID))
	if sig == unix.SIGTERM || sig == unix.SIGHUP {
		_ = p.signalGroup(unix.SIGCONT) // a stopped process would not notice that it is to end
		p.tree.signal(unix.SIGCONT, outsideGroup(p.PID))
		p.remind()
	}
	return nil
}

// remind makes a command on a terminal look at a signal that it may have overlooked. readline, so bash, only notes
// that SIGHUP came and looks at the note before it waits for a key: one that comes in between is not seen before the
// next key. A terminal that is really gone would end that wait. So does SIGCHLD, which whoever catches it takes for
// a reason to look; a second SIGHUP would end what a command does about the first, and SIGWINCH overwrites the note.
//
// A peer may send thousands of signals: they share one timer, which the last of them sets.
func (p *Process) remind() {
	if p.terminal == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reminderPause = firstReminder
	if p.reminder == nil {
		p.reminder = time.AfterFunc(p.reminderPause, p.sendReminder)
		return
	}
	p.reminder.Reset(p.reminderPause)
}

// Reminders come at intervals that double, from the first to below the last.
const (
	firstReminder = 50 * time.Millisecond
	lastReminder  = time.Second
)

func (p *Process) sendReminder() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	_ = unix.Kill(p.PID, unix.SIGCHLD)
	if p.reminderPause *= 2; p.reminderPause < lastReminder {
		p.reminder.Reset(p.reminderPause)
	}
}

func (p *Process) signalGroup(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return ErrEnded
	}
	return unix.Kill(-p.PID, sig)
}
