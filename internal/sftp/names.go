//go:build linux

package sftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// procName is a name for an open file.
func procName(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (s *server) opendir(r *request) error {
	path := r.path()
	if r.err != nil {
		return r.err
	}
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	s.give(r.id, &handle{fd: fd, dir: os.NewFile(uintptr(fd), path), path: path})
	return nil
}

// perReaddir is how many names one answer has: they stay well below maxPacket, at up to 255 bytes twice.
const perReaddir = 100

func (s *server) readdir(r *request) error {
	h, err := s.handle(r)
	if err != nil {
		return err
	}
	if h.dir == nil {
		return unix.ENOTDIR
	}
	s.answer(typeName, r.id)
	count := len(s.reply)
	s.u32(0)
	n := uint32(0)
	for n == 0 { // an answer without names would be taken for the end
		names, err := h.names()
		if len(names) == 0 {
			return first(err, io.EOF)
		}
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(h.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // it has gone since
			}
			n++
			s.text(name)
			s.text(s.long(name, &st))
			s.attributes(&st)
		}
	}
	s.reply[count+3], s.reply[count+2] = byte(n), byte(n>>8)
	return nil
}

// names are the next ones of a directory, none at its end.
func (h *handle) names() ([]string, error) {
	if !h.begun {
		h.begun = true
		return []string{".", ".."}, nil
	}
	return h.dir.Readdirnames(perReaddir)
}

// long is a line as that of ls -l, which sftp(1) shows as it is.
func (s *server) long(name string, st *unix.Stat_t) string {
	when := time.Unix(st.Mtim.Sec, 0)
	format := "Jan _2 15:04"
	if age := time.Since(when); age > 182*24*time.Hour || age < -24*time.Hour {
		format = "Jan _2  2006"
	}
	return fmt.Sprintf("%s %3d %-8s %-8s %8d %s %s", modeText(st.Mode), st.Nlink, s.names.user(st.Uid),
		s.names.group(st.Gid), st.Size, when.Format(format), name)
}

// modeText is a mode as ls(1) shows it.
func modeText(mode uint32) string {
	kinds := map[uint32]byte{
		unix.S_IFDIR: 'd', unix.S_IFLNK: 'l', unix.S_IFCHR: 'c', unix.S_IFBLK: 'b', unix.S_IFIFO: 'p', unix.S_IFSOCK: 's',
		unix.S_IFREG: '-',
	}
	text := []byte("?rwxrwxrwx")
	if c, ok := kinds[mode&unix.S_IFMT]; ok {
		text[0] = c
	}
	for i := range 9 {
		if mode&(0o400>>i) == 0 {
			text[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit uint32
		at  int
		c   byte
	}{{unix.S_ISUID, 3, 's'}, {unix.S_ISGID, 6, 's'}, {unix.S_ISVTX, 9, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		if text[special.at] == '-' {
			special.c -= 'a' - 'A'
		}
		text[special.at] = special.c
	}
	return string(text)
}

// accounts remembers names, since a directory's files have few owners.
type accounts struct{ users, groups map[uint32]string }

func (a accounts) user(id uint32) string {
	return remembered(a.users, id, func(id string) string {
		u, err := user.LookupId(id)
		if err != nil {
			return id
		}
		return u.Username
	})
}

func (a accounts) group(id uint32) string {
	return remembered(a.groups, id, func(id string) string {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return id
		}
		return g.Name
	})
}

func remembered(names map[uint32]string, id uint32, look func(string) string) string {
	name, ok := names[id]
	if !ok {
		name = look(strconv.FormatUint(uint64(id), 10))
		names[id] = name
	}
	return name
}

func (s *server) remove(r *request) error {
	return s.change(r, func(path string) error { return unix.Unlink(path) })
}

func (s *server) rmdir(r *request) error {
	return s.change(r, func(path string) error { return unix.Rmdir(path) })
}

func (s *server) mkdir(r *request) error {
	return s.change(r, func(path string) error {
		mode, a := uint32(0o777), r.attributes()
		if a.flags&attrMode != 0 {
			mode = a.mode
		}
		return first(r.err, unix.Mkdir(path, mode))
	})
}

// change does something to a path, if anything may be changed.
func (s *server) change(r *request, do func(path string) error) error {
	path := r.path()
	if err := first(r.err, s.mayChange()); err != nil {
		return err
	}
	return s.done(r.id, do(path))
}

// rename does not replace a file that exists (section 6.5).
func (s *server) rename(r *request) error {
	return s.change(r, func(from string) error {
		to := r.path()
		if r.err != nil {
			return r.err
		}
		err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			return err
		}
		// A file system that does not know the flag. What comes into being in between is lost, as it would
		// be with any server on such a one.
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			return first(err, unix.EEXIST)
		}
		return unix.Rename(from, to)
	})
}

// symlink has its arguments in OpenSSH's order: what the link holds, then its name.
func (s *server) symlink(r *request) error {
	return s.change(r, func(holds string) error {
		name := r.path()
		return first(r.err, unix.Symlink(holds, name))
	})
}

func (s *server) readlink(r *request) error {
	path := r.path()
	if r.err != nil {
		return r.err
	}
	holds, err := os.Readlink(path)
	if err != nil {
		return err
	}
	s.tellName(r.id, holds)
	return nil
}

func (s *server) realpath(r *request) error {
	path := r.path()
	if r.err != nil {
		return r.err
	}
	return s.tellReal(r.id, path)
}

// tellReal answers with the absolute name of a path without links. Its last part need not exist: so does a
// client find out where it would write.
func (s *server) tellReal(id uint32, path string) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		path = dir + "/" + path // not cleaned: behind a link, ".." is not the directory before it
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		dir, name := filepath.Split(path)
		if _, lstat := os.Lstat(path); lstat == nil || name == "" || name == ".." {
			return err
		}
		if real, err = filepath.EvalSymlinks(dir); err == nil {
			real = filepath.Join(real, name)
		}
	}
	if err != nil {
		return err
	}
	s.tellName(id, real)
	return nil
}

// tellName answers with one name, whose attributes nobody looks at (section 6.11).
func (s *server) tellName(id uint32, name string) {
	s.answer(typeName, id)
	s.u32(1)
	s.text(name)
	s.text(name)
	s.u32(0)
}
