//go:build linux || darwin

package ttymode

import (
	"slices"

	"golang.org/x/sys/unix"

	"rexec/internal/proto"
)

// none as a special character says that there is none (RFC 4254 8).
const none = 255

// characters are the opcodes of special characters with their places in Termios.Cc.
func characters() map[uint8]int {
	return map[uint8]int{
		1: unix.VINTR, 2: unix.VQUIT, 3: unix.VERASE, 4: unix.VKILL, 5: unix.VEOF, 6: unix.VEOL, 7: unix.VEOL2,
		8: unix.VSTART, 9: unix.VSTOP, 10: unix.VSUSP, 12: unix.VREPRINT, 13: unix.VWERASE, 14: unix.VLNEXT,
		18: unix.VDISCARD,
	}
}

// flag is one bit of one of a terminal's words.
type flag struct {
	word func(*unix.Termios) *word
	bit  word
}

func input(t *unix.Termios) *word  { return &t.Iflag }
func output(t *unix.Termios) *word { return &t.Oflag }
func local(t *unix.Termios) *word  { return &t.Lflag }

func flags() map[uint8]flag {
	return map[uint8]flag{
		30: {input, unix.IGNPAR}, 31: {input, unix.PARMRK}, 32: {input, unix.INPCK}, 33: {input, unix.ISTRIP},
		34: {input, unix.INLCR}, 35: {input, unix.IGNCR}, 36: {input, unix.ICRNL}, 38: {input, unix.IXON},
		39: {input, unix.IXANY}, 40: {input, unix.IXOFF}, 41: {input, unix.IMAXBEL}, 42: {input, unix.IUTF8},
		50: {local, unix.ISIG}, 51: {local, unix.ICANON}, 53: {local, unix.ECHO}, 54: {local, unix.ECHOE},
		55: {local, unix.ECHOK}, 56: {local, unix.ECHONL}, 57: {local, unix.NOFLSH}, 58: {local, unix.TOSTOP},
		59: {local, unix.IEXTEN}, 60: {local, unix.ECHOCTL}, 61: {local, unix.ECHOKE}, 62: {local, unix.PENDIN},
		70: {output, unix.OPOST}, 72: {output, unix.ONLCR}, 73: {output, unix.OCRNL}, 74: {output, unix.ONOCR},
		75: {output, unix.ONLRET},
	}
}

// Read returns the settings of the terminal that fd is; none if it is no terminal.
func Read(fd int) []proto.Mode {
	t, err := unix.IoctlGetTermios(fd, get)
	if err != nil {
		return nil
	}
	return Of(t)
}

// Of returns the settings of a terminal that have numbers, in ascending order of those.
func Of(t *unix.Termios) []proto.Mode {
	var modes []proto.Mode
	for code, at := range characters() {
		value := uint32(t.Cc[at])
		if t.Cc[at] == disabled {
			value = none
		}
		modes = append(modes, proto.Mode{Opcode: code, Value: value})
	}
	for code, f := range flags() {
		value := uint32(0)
		if *f.word(t)&f.bit != 0 {
			value = 1
		}
		modes = append(modes, proto.Mode{Opcode: code, Value: value})
	}
	slices.SortFunc(modes, func(a, b proto.Mode) int { return int(a.Opcode) - int(b.Opcode) })
	return modes
}

// Set changes what the modes name. What has no number here stays as it is.
func Set(t *unix.Termios, modes []proto.Mode) {
	places, bits := characters(), flags()
	for _, m := range modes {
		if at, ok := places[m.Opcode]; ok {
			t.Cc[at] = uint8(m.Value)
			if m.Value >= none {
				t.Cc[at] = disabled
			}
		}
		if f, ok := bits[m.Opcode]; ok {
			*f.word(t) &^= f.bit
			if m.Value != 0 {
				*f.word(t) |= f.bit
			}
		}
	}
}
