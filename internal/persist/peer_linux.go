package persist

import "golang.org/x/sys/unix"

// peerUID is the user of the process at the other end of a Unix socket, as the kernel knows it (unix(7),
// SO_PEERCRED).
func peerUID(fd int) (int, error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, err
	}
	return int(c.Uid), nil
}

// peerPID is the process that listens at the other end, as it is called here: in another namespace of processes
// it may have another ID (pid_namespaces(7)). 0 if it cannot be told.
func peerPID(fd int) int {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0
	}
	return int(c.Pid)
}
