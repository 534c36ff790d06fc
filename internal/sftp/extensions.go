//go:build linux

package sftp

import (
	"errors"
	"fmt"
	"os/user"
	"strings"

	"golang.org/x/sys/unix"
)

// extension is something beyond version 3, as OpenSSH's PROTOCOL describes it.
type extension struct {
	name, version string
	act           func(*server, *request) error
}

func extensions() []extension {
	return []extension{
		{"posix-rename@openssh.com", "1", (*server).posixRename},
		{"statvfs@openssh.com", "2", (*server).statvfs},
		{"fstatvfs@openssh.com", "2", (*server).fstatvfs},
		{"hardlink@openssh.com", "1", (*server).hardlink},
		{"fsync@openssh.com", "1", (*server).fsync},
		{"lsetstat@openssh.com", "1", (*server).lsetstat},
		{"limits@openssh.com", "1", (*server).limits},
		{"expand-path@openssh.com", "1", (*server).expandPath},
	}
}

func (s *server) extended(r *request) error {
	name := string(r.bytes())
	for _, e := range extensions() {
		if e.name == name {
			return e.act(s, r)
		}
	}
	return first(r.err, errUnsupported)
}

func (s *server) posixRename(r *request) error {
	return s.change(r, func(from string) error {
		to := r.path()
		if r.err != nil {
			return r.err
		}
		return unix.Rename(from, to)
	})
}

func (s *server) hardlink(r *request) error {
	return s.change(r, func(from string) error {
		to := r.path()
		if r.err != nil {
			return r.err
		}
		return unix.Link(from, to)
	})
}

func (s *server) fsync(r *request) error {
	h, err := s.handle(r)
	if err != nil {
		return err
	}
	_, err = again(func() (int, error) { return 0, unix.Fsync(h.fd) })
	return s.done(r.id, err)
}

func (s *server) statvfs(r *request) error {
	path := r.path()
	var st unix.Statfs_t
	_, err := again(func() (int, error) { return 0, unix.Statfs(path, &st) })
	return s.tellFileSystem(r, &st, err)
}

func (s *server) fstatvfs(r *request) error {
	h, err := s.handle(r)
	var st unix.Statfs_t
	if err == nil {
		_, err = again(func() (int, error) { return 0, unix.Fstatfs(h.fd, &st) })
	}
	return s.tellFileSystem(r, &st, err)
}

// tellFileSystem answers with what statvfs(3) makes of statfs(2).
func (s *server) tellFileSystem(r *request, st *unix.Statfs_t, err error) error {
	if err := first(r.err, err); err != nil {
		return err
	}
	const readOnly, noSetuid = 1, 2 // on the wire, and the kernel's, too
	s.answer(typeExtendedReply, r.id)
	for _, v := range []uint64{
		uint64(st.Bsize), uint64(st.Frsize), st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree, st.Ffree,
		uint64(uint32(st.Fsid.Val[0])) | uint64(uint32(st.Fsid.Val[1]))<<32,
		uint64(st.Flags) & (readOnly | noSetuid), uint64(st.Namelen),
	} {
		s.u64(v)
	}
	return nil
}

// lsetstat is setstat for a link itself. A link has no mode and no length of its own to set.
func (s *server) lsetstat(r *request) error {
	path, a := r.path(), r.attributes()
	if err := first(r.err, s.mayChange()); err != nil {
		return err
	}
	if a.flags&attrSize != 0 {
		return errBadMessage
	}
	return s.done(r.id, a.apply(target{
		chmod: func(mode uint32) error { return unix.Fchmodat(unix.AT_FDCWD, path, mode, unix.AT_SYMLINK_NOFOLLOW) },
		times: func(t []unix.Timespec) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, path, t, unix.AT_SYMLINK_NOFOLLOW)
		},
		chown: func(uid, gid int) error { return unix.Lchown(path, uid, gid) },
	}))
}

// limits lets clients ask for more at once than the 32 KiB that they otherwise dare.
func (s *server) limits(r *request) error {
	s.answer(typeExtendedReply, r.id)
	s.u64(maxPacket)
	s.u64(maxIO)
	s.u64(maxIO)
	var open unix.Rlimit
	handles := uint64(0) // unknown
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &open) == nil && open.Cur > 16 {
		handles = open.Cur - 16 // for what the program itself needs
	}
	s.u64(handles)
	return nil
}

// expandPath is realpath for a name that may begin with "~" or "~user".
func (s *server) expandPath(r *request) error {
	path := r.path()
	if r.err != nil {
		return r.err
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		name, rest, _ := strings.Cut(rest, "/")
		home, err := homeOf(name)
		if err != nil {
			return err
		}
		path = home + "/" + rest
	}
	return s.tellReal(r.id, path)
}

func homeOf(name string) (string, error) {
	look := user.Current
	if name != "" {
		look = func() (*user.User, error) { return user.Lookup(name) }
	}
	u, err := look()
	if err != nil {
		var unknown user.UnknownUserError
		if errors.As(err, &unknown) {
			return "", unix.ENOENT
		}
		return "", fmt.Errorf("looking for a home: %w", err)
	}
	return u.HomeDir, nil
}
