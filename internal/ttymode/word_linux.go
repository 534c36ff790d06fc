package ttymode

import "golang.org/x/sys/unix"

// word is what termios(3) has its flags in.
type word = uint32

const (
	disabled = 0 // _POSIX_VDISABLE
	get      = unix.TCGETS
)
