//go:build linux

package exec

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// stdio holds both ends of a command's standard streams.
type stdio struct {
	child    [3]int      // blocking, for descriptors 0 to 2; -1 when not open
	parent   [3]*os.File // non-blocking and known to the runtime's poller; parent[0] may be nil
	terminal *terminal   // all of child is its; parent[2] is nil then

	report       int // the command's end of the pipe for its report, blocking; valid if reportReader is not nil
	reportReader *os.File
}

// openStdio opens the streams. The pipes are given to the command's account,
// so that it can open /dev/stdout and /dev/stderr by name.
func openStdio(stdin bool, cred *syscall.Credential) (*stdio, error) {
	s := &stdio{child: [3]int{-1, -1, -1}}
	for i := range s.child {
		var err error
		if i == 0 && !stdin {
			s.child[0], err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		} else {
			err = s.openPipe(i, cred)
		}
		if err != nil {
			s.closeChild()
			s.closeParent()
			return nil, err
		}
	}
	return s, nil
}

func (s *stdio) openPipe(i int, cred *syscall.Credential) error {
	theirs, ours, err := newPipe(i == 0, cred)
	if err != nil {
		return err
	}
	s.child[i], s.parent[i] = theirs, os.NewFile(uintptr(ours), [...]string{"stdin", "stdout", "stderr"}[i])
	return nil
}

func (s *stdio) openReport(cred *syscall.Credential) error {
	theirs, ours, err := newPipe(false, cred)
	if err != nil {
		return err
	}
	s.report, s.reportReader = theirs, os.NewFile(uintptr(ours), "report")
	return nil
}

// newPipe opens a pipe from the command, or to it.
func newPipe(to bool, cred *syscall.Credential) (theirs, ours int, err error) {
	var ends [2]int // read, write
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	ours, theirs = ends[0], ends[1]
	if to {
		ours, theirs = theirs, ours
	}
	// Each end has flags of its own, so the command's end stays blocking.
	if err := unix.SetNonblock(ours, true); err != nil {
		unix.Close(ours)
		unix.Close(theirs)
		return -1, -1, err
	}
	if cred != nil && cred.Uid != 0 {
		// An ID that this user namespace does not have is reported by the
		// start itself, which then cannot assume it.
		_ = unix.Fchown(theirs, int(cred.Uid), int(cred.Gid))
	}
	return theirs, ours, nil
}

// descriptors are those that the command begins with, by their numbers; one that it does not have is -1.
func (s *stdio) descriptors() []uintptr {
	var all []uintptr
	for _, fd := range s.child {
		all = append(all, uintptr(fd))
	}
	if s.reportReader == nil {
		return all
	}
	for len(all) < ReportFD {
		all = append(all, ^uintptr(0))
	}
	return append(all, uintptr(s.report))
}

// closeChild closes what only the command needs.
func (s *stdio) closeChild() {
	if s.reportReader != nil {
		unix.Close(s.report)
	}
	if s.terminal != nil {
		return
	}
	for i, fd := range s.child {
		if fd >= 0 {
			unix.Close(fd)
			s.child[i] = -1
		}
	}
}

func (s *stdio) closeParent() {
	s.terminal.close()
	for _, f := range s.parent {
		if f != nil {
			f.Close()
		}
	}
	if s.reportReader != nil {
		s.reportReader.Close()
	}
}
