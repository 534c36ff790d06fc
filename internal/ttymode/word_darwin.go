package ttymode

import "golang.org/x/sys/unix"

// word is what termios(4) has its flags in.
type word = uint64

const (
	disabled = 0xff // _POSIX_VDISABLE
	get      = unix.TIOCGETA
)
