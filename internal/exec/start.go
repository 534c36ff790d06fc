//go:build linux

package exec

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// request is one start on its way through a thread of the [Launcher].
type request struct {
	spec     *Spec
	cred     *syscall.Credential // nil: keep the daemon's own account
	files    []uintptr
	cgroup   *cgroup       // nil: none
	cgroupFD int           // it, open; valid if there is one
	done     chan struct{} // closed by the launcher's thread when the fields below are set

	pid     int
	pidfd   int // -1 when the kernel has none
	started time.Time
	ticks   uint64 // start time on the clock of /proc/PID/stat, rounded down
	err     error

	staged bool // stages has found account and directory in order
}

// run starts the command. Whether a file can be executed is decided by the
// kernel, with the account's rights, when the child tries.
func (r *request) run() {
	name := r.spec.Argv[0]
	if strings.Contains(name, "/") {
		if err := r.fork(name); err != nil {
			r.err = r.explain(err, name)
		}
		return
	}
	r.err = r.search(name)
}

// search tries the directories of PATH in order, as execvp(3) does.
func (r *request) search(name string) error {
	var denied, interpreter bool
	for dir := range strings.SplitSeq(r.spec.path(), ":") {
		file := dir + "/" + name
		if dir == "" {
			file = "./" + name
		}
		if r.mayLook(dir) && !r.exists(file) {
			continue
		}
		err := r.fork(file)
		if err == nil {
			return nil
		}
		if refused := new(StartError); errors.As(err, &refused) {
			return refused
		}
		switch {
		case errors.Is(err, unix.EACCES):
			denied = true
		case errors.Is(err, unix.ENOENT):
			interpreter = interpreter || r.exists(file)
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESTALE),
			errors.Is(err, unix.ENODEV), errors.Is(err, unix.ETIMEDOUT):
		default:
			return r.explain(err, file)
		}
		if err := r.stages(); err != nil {
			return err
		}
	}
	if err := r.stages(); err != nil {
		return err
	}
	if denied {
		return &StartError{Code: codeNotExecutable, Reason: "command cannot be executed: permission denied", Err: unix.EACCES}
	}
	return notFound(interpreter)
}

// mayLook reports whether looking into dir ourselves, to save a fork, tells
// the account nothing that it could not see by itself.
func (r *request) mayLook(dir string) bool {
	switch strings.TrimPrefix(dir, "/usr") {
	case "/bin", "/sbin", "/local/bin", "/local/sbin":
		return true
	}
	return r.cred == nil || r.cred.Uid == 0
}

func (r *request) exists(file string) bool {
	if !path.IsAbs(file) {
		file = r.spec.dir() + "/" + file
	}
	_, err := os.Stat(file)
	return !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR)
}

func notFound(interpreter bool) *StartError {
	reason := "command not found"
	if interpreter {
		reason = "command found, but not the interpreter that its #! line or its header names"
	}
	return &StartError{Code: codeNotFound, Reason: reason, Err: unix.ENOENT}
}

// fork starts file, with its limits in place.
func (r *request) fork(file string) error {
	limits, err := r.spec.changes()
	if err != nil {
		return err
	}
	r.pidfd = -1
	attr := r.attr(r.spec.dir())
	attr.Sys.PidFD = &r.pidfd
	attr.Sys.Ptrace = !limits.none()
	r.started, r.ticks = time.Now(), bootTicks()
	pid, err := syscall.ForkExec(file, r.spec.argv(), attr)
	if err != nil {
		if attr.Sys.Ptrace && errors.Is(err, syscall.EPERM) {
			if err := r.stages(); err != nil {
				return err
			}
			return refuse(err, "cannot set limits before the command starts: %v (is ptrace allowed on this system?)", err)
		}
		return err
	}
	r.pid = pid
	if limits.none() {
		return nil
	}
	if err := limits.apply(pid); err != nil {
		r.abandon()
		return refuse(err, "cannot set limits: %v", err)
	}
	return nil
}

func (r *request) attr(dir string) *syscall.ProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, Credential: r.cred}
	sys.Setctty = r.spec.Terminal != nil // Ctty is 0: the command's stdin
	if r.cgroup != nil {
		sys.UseCgroupFD, sys.CgroupFD = true, r.cgroupFD // CLONE_INTO_CGROUP of clone3(2)
	}
	return &syscall.ProcAttr{
		Dir:   dir,
		Env:   r.spec.Env,
		Files: r.files,
		Sys:   sys,
	}
}

// abandon ends a child that has not run an instruction of its command.
func (r *request) abandon() {
	_ = unix.Kill(r.pid, unix.SIGKILL)
	for {
		// A stop that was not collected is reported once more before the end.
		var ws unix.WaitStatus
		_, err := unix.Wait4(r.pid, &ws, unix.WALL, nil)
		if err != unix.EINTR && !ws.Stopped() {
			break
		}
	}
	if r.pidfd >= 0 {
		unix.Close(r.pidfd)
	}
}

// explain turns the error of starting file into what the user is told.
func (r *request) explain(err error, file string) error {
	var refused *StartError
	if errors.As(err, &refused) {
		return refused
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return fmt.Errorf("starting the command: %w", err)
	}
	if err := r.stages(); err != nil {
		return err
	}
	unusable := func(reason string) error {
		return &StartError{Code: codeNotExecutable, Reason: "command cannot be executed: " + reason, Err: errno}
	}
	switch errno {
	case unix.ENOENT:
		return notFound(r.exists(file))
	case unix.E2BIG:
		return &StartError{Code: codeNotExecutable, Reason: tooLong(), Err: errno}
	case unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EPIPE:
		return refuse(errno, "cannot start a process as %s: %v", r.spec.Account.Name, errno)
	case unix.ENOEXEC:
		return unusable("exec format error")
	case unix.EACCES:
		// A directory that the account can enter is named as what it is.
		if r.probe(file) == nil {
			return unusable("is a directory")
		}
	}
	return unusable(errno.Error())
}

// stages reports the account that cannot be assumed or the directory that
// cannot be entered. The kernel gives one error number for the whole of a
// start; where it came from is found by repeating the steps one by one.
func (r *request) stages() error {
	if r.staged {
		return nil
	}
	if err := r.probe(""); err != nil {
		return refuse(err, "cannot start a process as %s: %v", r.spec.Account.Name, err)
	}
	if err := r.probe(r.spec.dir()); err != nil {
		return refuseDir(err, "cannot enter %s: %v", printable(r.spec.dir()), err)
	}
	r.staged = true
	return nil
}

// probe goes through a start up to execve(2), which is given a name that the
// kernel refuses before it looks at anything else.
func (r *request) probe(dir string) error {
	attr := r.attr(dir)
	if dir != "" && !path.IsAbs(dir) {
		attr.Dir = r.spec.dir() + "/" + dir
	}
	_, err := syscall.ForkExec(strings.Repeat("x", unix.PathMax), []string{"x"}, attr)
	if err == syscall.ENAMETOOLONG {
		return nil
	}
	return err
}

// tooLong words E2BIG with the limits of execve(2): 32 pages for one string,
// a quarter of the stack limit but at most 6 MiB for all.
func tooLong() string {
	const most, least = 6 << 20, 128 << 10
	total := uint64(most)
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err == nil {
		total = max(least, min(stack.Cur/4, most))
	}
	return fmt.Sprintf("argument list too long (limit: %d bytes for one argument, %d for all arguments and the environment)",
		32*os.Getpagesize(), total)
}
