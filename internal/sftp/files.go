//go:build linux

package sftp

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// handle is an open file or directory.
type handle struct {
	fd    int
	dir   *os.File // nil for a file
	path  string   // of the directory
	begun bool     // its own name and its parent's were listed
}

// Flags of open (section 6.3).
const (
	openRead   = 0x01
	openWrite  = 0x02
	openAppend = 0x04
	openCreate = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
)

func (s *server) open(r *request) error {
	path, asked, a := r.path(), r.u32(), r.attributes()
	if r.err != nil {
		return r.err
	}
	if asked&^openRead != 0 {
		if err := s.mayChange(); err != nil {
			return err
		}
	}
	flags := unix.O_CLOEXEC | unix.O_NOCTTY
	switch asked & (openRead | openWrite) {
	case openRead | openWrite:
		flags |= unix.O_RDWR
	case openWrite:
		flags |= unix.O_WRONLY
	}
	for flag, ours := range map[uint32]int{
		openAppend: unix.O_APPEND, openCreate: unix.O_CREAT, openTrunc: unix.O_TRUNC, openExcl: unix.O_EXCL,
	} {
		if asked&flag != 0 {
			flags |= ours
		}
	}
	mode := uint32(0o666)
	if a.flags&attrMode != 0 {
		mode = a.mode
	}
	fd, err := again(func() (int, error) { return unix.Open(path, flags, mode) })
	if err != nil {
		return err
	}
	s.give(r.id, &handle{fd: fd})
	return nil
}

// again repeats a system call that a signal has interrupted.
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// give answers with a handle.
func (s *server) give(id uint32, h *handle) {
	n := s.next
	s.next++
	s.handles[n] = h
	s.answer(typeHandle, id)
	s.u32(4)
	s.u32(n)
}

// handle finds the one that a request names.
func (s *server) handle(r *request) (*handle, error) {
	b := request{rest: r.bytes()}
	h, ok := s.handles[b.u32()]
	if r.err != nil || b.err != nil || len(b.rest) > 0 || !ok {
		return nil, unix.EBADF
	}
	return h, nil
}

func (s *server) close(r *request) error {
	b := request{rest: r.bytes()}
	n := b.u32()
	h, ok := s.handles[n]
	if r.err != nil || b.err != nil || len(b.rest) > 0 || !ok {
		return unix.EBADF
	}
	delete(s.handles, n)
	return s.done(r.id, h.close())
}

func (h *handle) close() error {
	if h.dir != nil {
		return h.dir.Close()
	}
	return unix.Close(h.fd) // not again: after EINTR it is closed (close(2))
}

func (s *server) closeAll() {
	for _, h := range s.handles {
		_ = h.close() // whoever wanted to know has closed it
	}
}

func (s *server) readFile(r *request) error {
	h, err := s.handle(r)
	offset, n := r.u64(), r.u32()
	if err != nil || r.err != nil {
		return first(err, r.err)
	}
	n = min(n, maxIO)
	s.answer(typeData, r.id)
	s.u32(0)
	begin := len(s.reply)
	s.reply = slices.Grow(s.reply, int(n))
	got, err := again(func() (int, error) { return unix.Pread(h.fd, s.reply[begin:begin+int(n)], int64(offset)) })
	if err != nil {
		return err
	}
	if got == 0 && n > 0 {
		return io.EOF
	}
	s.reply = s.reply[:begin+got]
	binary.BigEndian.PutUint32(s.reply[begin-4:], uint32(got))
	return nil
}

func (s *server) writeFile(r *request) error {
	h, err := s.handle(r)
	offset, data := r.u64(), r.bytes()
	if err != nil || r.err != nil {
		return first(err, r.err)
	}
	for len(data) > 0 {
		n, err := again(func() (int, error) { return unix.Pwrite(h.fd, data, int64(offset)) })
		if err != nil {
			return err
		}
		data, offset = data[n:], offset+uint64(n)
	}
	return s.done(r.id, nil)
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *server) stat(r *request) error {
	path := r.path()
	return s.tellAttributes(r, func(st *unix.Stat_t) error { return unix.Stat(path, st) })
}

func (s *server) lstat(r *request) error {
	path := r.path()
	return s.tellAttributes(r, func(st *unix.Stat_t) error { return unix.Lstat(path, st) })
}

func (s *server) fstat(r *request) error {
	h, err := s.handle(r)
	if err != nil {
		return err
	}
	return s.tellAttributes(r, func(st *unix.Stat_t) error { return unix.Fstat(h.fd, st) })
}

func (s *server) tellAttributes(r *request, stat func(*unix.Stat_t) error) error {
	var st unix.Stat_t
	if _, err := again(func() (int, error) { return 0, stat(&st) }); err != nil || r.err != nil {
		return first(r.err, err)
	}
	s.answer(typeAttrs, r.id)
	s.attributes(&st)
	return nil
}

func (s *server) setstat(r *request) error {
	path, a := r.path(), r.attributes()
	if err := first(r.err, s.mayChange()); err != nil {
		return err
	}
	return s.done(r.id, a.apply(target{
		truncate: func(n int64) error { return unix.Truncate(path, n) },
		chmod:    func(mode uint32) error { return unix.Chmod(path, mode) },
		times:    func(t []unix.Timespec) error { return unix.UtimesNanoAt(unix.AT_FDCWD, path, t, 0) },
		chown:    func(uid, gid int) error { return unix.Chown(path, uid, gid) },
	}))
}

func (s *server) fsetstat(r *request) error {
	h, err := s.handle(r)
	a := r.attributes()
	if err := first(err, r.err, s.mayChange()); err != nil {
		return err
	}
	return s.done(r.id, a.apply(target{
		truncate: func(n int64) error { return unix.Ftruncate(h.fd, n) },
		chmod:    func(mode uint32) error { return unix.Fchmod(h.fd, mode) },
		// futimens(3) is utimensat(2) with the descriptor and no name, for which there is no wrapper.
		times: func(t []unix.Timespec) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, procName(h.fd), t, 0)
		},
		chown: func(uid, gid int) error { return unix.Fchown(h.fd, uid, gid) },
	}))
}

// target is what the attributes of a file are set with.
type target struct {
	truncate func(int64) error
	chmod    func(uint32) error
	times    func([]unix.Timespec) error
	chown    func(uid, gid int) error
}

// apply sets what is there to be set, all that can be, and returns the first error.
func (a attributes) apply(to target) error {
	var errs []error
	if a.flags&attrSize != 0 {
		errs = append(errs, to.truncate(int64(a.size)))
	}
	if a.flags&attrMode != 0 {
		errs = append(errs, to.chmod(a.mode))
	}
	if a.flags&attrTimes != 0 {
		errs = append(errs, to.times([]unix.Timespec{{Sec: int64(a.atime)}, {Sec: int64(a.mtime)}}))
	}
	if a.flags&attrOwner != 0 {
		errs = append(errs, to.chown(int(a.uid), int(a.gid)))
	}
	return first(errs...)
}
