//go:build unix

package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// wasClosed reports whether a standard file was closed when this program started. The Go runtime then
// puts /dev/null there, open both ways, which nobody does who means /dev/null for output.
func wasClosed(f *os.File) bool {
	fd := int(f.Fd())
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return true
	}
	var file, null unix.Stat_t
	if unix.Fstat(fd, &file) != nil || unix.Stat(os.DevNull, &null) != nil {
		return false
	}
	return flags&unix.O_ACCMODE == unix.O_RDWR && file.Rdev == null.Rdev && file.Ino == null.Ino && file.Dev == null.Dev
}

// isWriteOnly reports whether nothing can be read from a file, whatever is in it.
func isWriteOnly(f *os.File) bool {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_WRONLY
}

// canWrite reports whether a descriptor number is the user's and open for writing; the Go runtime has
// descriptors of its own among the low numbers.
func canWrite(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return false
	}
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	return err != nil || !strings.HasPrefix(name, "anon_inode:")
}
