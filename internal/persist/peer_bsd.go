//go:build darwin || freebsd

package persist

import "golang.org/x/sys/unix"

// solLocal is the level of LOCAL_PEERCRED (unix(4)).
const solLocal = 0

// peerUID is the user of the process at the other end of a Unix socket, as the kernel knows it.
func peerUID(fd int) (int, error) {
	c, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}

// peerPID is not asked here: nobody is ended whom only a file names.
func peerPID(int) int { return 0 }
