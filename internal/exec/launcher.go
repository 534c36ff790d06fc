//go:build linux

package exec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launcher starts processes. A process takes its umask, signal mask and
// capabilities from the thread that forks it, so all forks happen on one thread
// that belongs to the Launcher and is used for nothing else. That costs nothing
// that BenchmarkStart could show against forking on the caller's thread.
//
// While a Launcher exists, nothing in the program may call [signal.Ignore] or
// [signal.Reset]: commands would inherit the ignored signals.
type Launcher struct {
	root     bool // whether accounts other than our own can be assumed
	uid      uint32
	signals  *resetSignals
	cgroups  *Cgroups // nil: commands get none
	requests chan *request
	quit     chan struct{}
	closing  sync.Once
	wg       sync.WaitGroup
}

// errClosed is returned for starts on a closed Launcher.
var errClosed = errors.New("the launcher is closed")

// NewLauncher prepares the program for starting commands: files that it
// inherited are marked close-on-exec, and signals that it inherited as ignored
// are set up so that commands get their default action. The caller must call
// [Launcher.Close].
func NewLauncher() (*Launcher, error) {
	if err := closeInherited(); err != nil {
		return nil, fmt.Errorf("marking inherited files close-on-exec: %w", err)
	}
	signals, err := newResetSignals()
	if err != nil {
		return nil, fmt.Errorf("resetting ignored signals: %w", err)
	}
	l := &Launcher{
		root:     os.Geteuid() == 0,
		uid:      uint32(os.Geteuid()),
		signals:  signals,
		requests: make(chan *request),
		quit:     make(chan struct{}),
	}
	ready := make(chan error)
	l.wg.Go(func() { l.thread(ready) })
	if err := <-ready; err != nil {
		l.Close()
		return nil, fmt.Errorf("preparing a thread: %w", err)
	}
	return l, nil
}

// UseCgroups has every command start inside a cgroup of its own. It must be called
// before the first start, and c be closed after the Launcher.
func (l *Launcher) UseCgroups(c *Cgroups) { l.cgroups = c }

// Close ends the Launcher's thread and returns when it has ended. It does not
// end processes, and does not wait for them: they stay usable until their own
// end. Further starts fail.
func (l *Launcher) Close() {
	l.closing.Do(func() { close(l.quit) })
	l.wg.Wait()
	l.signals.close()
}

// Start starts the command and returns when execve(2) has succeeded, so
// everything that spec asks for holds, or when it is certain that nothing
// runs. The error is a [*StartError] when the command or the account is at
// fault.
//
// The command gets a new session, descriptors 0 to 2, the one of [Spec].Report and no others, default
// signal actions and an empty signal mask, and exactly the rights of its account.
// A daemon that is not root can start set-user-ID programs, but refuses those
// for which it must also set limits.
//
// A directory or program on a file system that does not answer holds up all
// starts, and from the next garbage collection on the whole program: the Go
// runtime cannot be interrupted between fork and exec.
func (l *Launcher) Start(spec *Spec) (*Process, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	cred, err := l.credential(&spec.Account)
	if err != nil {
		return nil, err
	}
	io, err := l.openStreams(spec, cred)
	if err != nil {
		return nil, err
	}
	defer io.closeChild()
	if spec.Report {
		if err := io.openReport(cred); err != nil {
			io.closeParent()
			return nil, fmt.Errorf("opening pipes: %w", err)
		}
	}
	if io.terminal != nil {
		spec = spec.onTerminal(io.terminal.name)
	}
	r := &request{spec: spec, cred: cred, files: io.descriptors(), cgroupFD: -1, done: make(chan struct{})}
	if err := l.serve(r); err != nil {
		io.closeParent()
		return nil, err
	}
	return newProcess(r, io), nil
}

// openStreams opens pipes, or the terminal.
func (l *Launcher) openStreams(spec *Spec, cred *syscall.Credential) (*stdio, error) {
	if spec.Terminal == nil {
		io, err := openStdio(spec.Stdin, cred)
		if err != nil {
			return nil, fmt.Errorf("opening pipes: %w", err)
		}
		return io, nil
	}
	io := new(stdio)
	if err := io.openTerminal(spec, cred, groupFile); err != nil {
		io.closeParent()
		if errors.Is(err, unix.ENOSPC) {
			return nil, refuse(err, "cannot open a terminal: all that the server can have are in use, see its kernel.pty.max")
		}
		return nil, refuse(err, "cannot open a terminal: %v", err)
	}
	return io, nil
}

// serve runs r inside a cgroup, if there are any.
func (l *Launcher) serve(r *request) error {
	if l.cgroups == nil && (r.spec.MaxProcesses > 0 || r.spec.MaxMemory > 0) {
		return refuse(nil, "cannot set limits: commands have no cgroups here")
	}
	if l.cgroups != nil {
		var err error
		if r.cgroup, r.cgroupFD, err = l.cgroups.create(r.spec); err != nil {
			return refuse(err, "cannot start a process as %s: %v", r.spec.Account.Name, err)
		}
		defer unix.Close(r.cgroupFD)
	}
	err := l.send(r)
	if err == nil {
		err = r.err
	}
	if err != nil && r.cgroup != nil {
		l.cgroups.remove(r.cgroup)
	}
	return err
}

// send has r served by the thread.
func (l *Launcher) send(r *request) error {
	select {
	case <-l.quit:
		return errClosed
	case l.requests <- r:
		<-r.done
		return nil
	}
}

// thread serves requests on an OS thread of its own, which ends with it: it
// is never unlocked, because what [prepareThread] changed cannot be undone.
func (l *Launcher) thread(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be ended, and what /proc/self says of the
		// program is taken from it. It is held here until the goroutine that
		// takes over has a thread of its own.
		placed := make(chan error)
		l.wg.Go(func() { l.thread(placed) })
		err := <-placed
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	err := prepareThread()
	ready <- err
	if err != nil {
		return
	}
	for {
		select {
		case <-l.quit:
			return
		case r := <-l.requests:
			old := unix.Umask(r.spec.Umask)
			r.run()
			unix.Umask(old)
			close(r.done)
		}
	}
}
