//go:build linux

package exec

import (
	"bytes"
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
// of the program. The last is not possible where seccomp forbids unshare(2), as
// in most containers; it is reported, and the umask of the program then
// changes for the moment of a start.
func prepareThread() (ownUmask bool, err error) {
	var empty unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &empty, nil); err != nil {
		return false, fmt.Errorf("emptying the signal mask: %w", err)
	}
	if err := dropInheritable(); err != nil {
		return false, fmt.Errorf("dropping inheritable capabilities: %w", err)
	}
	return unix.Unshare(unix.CLONE_FS) == nil, nil
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

// inherited is what the program's threads have from whoever started it, as
// proc_pid_status(5) shows it for the main thread.
type inherited struct {
	ignored, blocked uint64 // signal sets: bit 0 is signal 1
	capabilities     uint64 // the inheritable set; the ambient set is a part of it
	umask            int
}

func readInherited() (i inherited, err error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return i, err
	}
	var umask uint64
	for _, field := range []struct {
		name string
		base int
		to   *uint64
	}{
		{"Umask", 8, &umask},
		{"SigIgn", 16, &i.ignored},
		{"SigBlk", 16, &i.blocked},
		{"CapInh", 16, &i.capabilities},
	} {
		_, rest, found := bytes.Cut(text, []byte("\n"+field.name+":\t"))
		if !found {
			return i, fmt.Errorf("no %s line in /proc/self/status", field.name)
		}
		word, _, _ := bytes.Cut(rest, []byte("\n"))
		if *field.to, err = strconv.ParseUint(string(word), field.base, 64); err != nil {
			return i, fmt.Errorf("reading %s in /proc/self/status: %w", field.name, err)
		}
	}
	i.umask = int(umask)
	return i, nil
}

func (i inherited) ignoredSignals() []os.Signal {
	var sigs []os.Signal
	for n := 1; n <= rtMax; n++ {
		if i.ignored&(1<<(n-1)) != 0 {
			sigs = append(sigs, syscall.Signal(n))
		}
	}
	return sigs
}

// resetSignals makes signals that the program inherited as ignored (by nohup,
// or by a shell's background job) default in commands. The Go runtime does that
// for signals it has a handler for, so they get one that does nothing: the
// program itself still ignores them.
type resetSignals struct {
	sink chan os.Signal
}

func newResetSignals(before inherited) (*resetSignals, error) {
	r := &resetSignals{sink: make(chan os.Signal, 1)}
	if before.ignored == 0 {
		return r, nil
	}
	signal.Notify(r.sink, before.ignoredSignals()...)
	after, err := readInherited()
	if err != nil {
		return nil, err
	}
	for _, sig := range after.ignoredSignals() {
		// The runtime keeps its hands off signals that C libraries use
		// internally, so a handler is not possible, and default is safe.
		if err := setDefault(sig.(syscall.Signal)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *resetSignals) close() { signal.Stop(r.sink) }

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
