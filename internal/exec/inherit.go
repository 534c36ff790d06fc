//go:build linux

package exec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prepareThread gives the calling thread what commands must inherit: an empty
// signal mask, no inheritable or ambient capabilities (CVE-2022-36109 is a
// runtime that left them), and a umask that can be set without changing that
// of the program. Where seccomp forbids unshare(2), as in most containers, the
// last is not possible: the program's umask then changes for the moment of a
// start, which is why files of the daemon must be created with exact modes.
func prepareThread() error {
	var empty unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &empty, nil); err != nil {
		return fmt.Errorf("emptying the signal mask: %w", err)
	}
	if err := dropInheritable(); err != nil {
		return fmt.Errorf("dropping inheritable capabilities: %w", err)
	}
	_ = unix.Unshare(unix.CLONE_FS)
	return nil
}

// dropInheritable clears the inheritable set of the calling thread; the kernel
// clears the ambient set with it (capabilities(7)).
func dropInheritable() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	if data[0].Inheritable == 0 && data[1].Inheritable == 0 {
		return nil
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return unix.Capset(&hdr, &data[0])
}

// closeInherited marks everything above standard error close-on-exec. What
// the program opens by itself is so from the start.
func closeInherited() error {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil // Linux 5.11
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// resetSignals makes signals that the program inherited as ignored (by nohup,
// or by a shell's background job) default in commands. The Go runtime does that
// for signals it has a handler for, so they get one that does nothing: the
// program itself still ignores them.
type resetSignals struct {
	sink chan os.Signal
}

func newResetSignals() (*resetSignals, error) {
	ignored, err := ignoredSignals()
	if err != nil {
		return nil, err
	}
	r := &resetSignals{sink: make(chan os.Signal, 1)}
	if len(ignored) == 0 {
		return r, nil
	}
	signal.Notify(r.sink, ignored...)
	left, err := ignoredSignals()
	if err != nil {
		return nil, err
	}
	for _, sig := range left {
		// The runtime keeps its hands off signals that C libraries use
		// internally, so a handler is not possible, and default is safe.
		if err := setDefault(sig.(syscall.Signal)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *resetSignals) close() { signal.Stop(r.sink) }

// ignoredSignals reads which signals the program ignores now.
func ignoredSignals() ([]os.Signal, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	_, rest, found := bytes.Cut(status, []byte("\nSigIgn:\t"))
	if !found {
		return nil, errors.New("no SigIgn line in /proc/self/status")
	}
	word, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(word), 16, 64)
	if err != nil {
		return nil, fmt.Errorf("reading SigIgn in /proc/self/status: %w", err)
	}
	var sigs []os.Signal
	for n := 1; n <= rtMax; n++ {
		if mask&(1<<(n-1)) != 0 {
			sigs = append(sigs, syscall.Signal(n))
		}
	}
	return sigs, nil
}

// setDefault is sigaction(2) with SIG_DFL, which is a structure of zeros on
// every architecture.
func setDefault(sig syscall.Signal) error {
	var action [64]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION,
		uintptr(sig), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
