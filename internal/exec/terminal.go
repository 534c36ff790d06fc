//go:build linux

package exec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Terminal asks for a pseudo-terminal (pty(7)) instead of pipes.
type Terminal struct {
	Size  TerminalSize
	Setup func(*unix.Termios) // changes the settings with which a terminal begins; nil leaves them
	// Variables are names that are added to the command's environment, with the terminal's file as value.
	Variables []string
}

// TerminalSize is in characters, and in pixels where known; zeros are not known.
type TerminalSize struct{ Rows, Columns, Width, Height uint16 }

// terminal is the command's side. It stays open here until the command's main process has ended: without
// that, reading our side fails while the command has closed its files, though it may open /dev/tty again.
type terminal struct {
	name string

	mu    sync.Mutex
	slave int // -1 once closed
}

// openTerminal opens both sides; ours is stdio's.
func (s *stdio) openTerminal(spec *Spec, cred *syscall.Credential, groupFile string) error {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	s.parent[1] = os.NewFile(uintptr(master), "terminal")
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlocking it: %w", err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("finding its number: %w", err)
	}
	// Not by its name, which could be that of another mount of devpts.
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno != 0 {
		return fmt.Errorf("opening the command's side: %w", errno)
	}
	s.terminal = &terminal{name: "/dev/pts/" + strconv.Itoa(number), slave: int(slave)}
	s.child = [3]int{int(slave), int(slave), int(slave)}
	if err := s.terminal.give(cred, groupFile); err != nil {
		return err
	}
	if err := s.terminal.setUp(spec.Terminal); err != nil {
		return err
	}
	return s.openTyping(spec.Stdin, master)
}

// openTyping opens what stdin is written to. Without a stdin the end of it is typed now.
func (s *stdio) openTyping(stdin bool, master int) error {
	if !stdin {
		_, err := unix.Write(master, []byte{s.terminal.endOfFile()})
		return err
	}
	fd, err := unix.FcntlInt(uintptr(master), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	s.parent[0] = os.NewFile(uintptr(fd), "terminal")
	return nil
}

// give makes the terminal the account's. As write(1) and wall(1) expect, the group tty may write to it; where
// there is no such group nobody else may. Who cannot change the owner leaves it: the command has the terminal
// open, and only cannot open it by its name.
func (t *terminal) give(cred *syscall.Credential, groupFile string) error {
	mode := uint32(0o600)
	var st unix.Stat_t
	if tty, found := groupID(groupFile, "tty"); found {
		_ = unix.Fchown(t.slave, -1, int(tty)) // devpts may have done it
		if err := unix.Fstat(t.slave, &st); err != nil {
			return err
		}
		if st.Gid == tty {
			mode = 0o620
		}
	}
	// While it is ours: afterwards that would take CAP_FOWNER.
	if err := unix.Fchmod(t.slave, mode); err != nil {
		return fmt.Errorf("setting its mode: %w", err)
	}
	if cred != nil && cred.Uid != 0 {
		_ = unix.Fchown(t.slave, int(cred.Uid), -1)
	}
	return nil
}

// groupID looks a group up in group(5); that of terminals is the system's own.
func groupID(file, name string) (gid uint32, found bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, ":"); f[0] == name && len(f) > 2 {
			n, err := strconv.ParseUint(f[2], 10, 32)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

func (t *terminal) setUp(want *Terminal) error {
	if err := t.resize(want.Size); err != nil {
		return fmt.Errorf("setting its size: %w", err)
	}
	if want.Setup == nil {
		return nil
	}
	mode, err := unix.IoctlGetTermios(t.slave, unix.TCGETS)
	if err == nil {
		want.Setup(mode)
		err = unix.IoctlSetTermios(t.slave, unix.TCSETS, mode)
	}
	if err != nil {
		return fmt.Errorf("setting its modes: %w", err)
	}
	return nil
}

// resize has the kernel send SIGWINCH to the foreground process group, if the size is another one.
func (t *terminal) resize(size TerminalSize) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slave < 0 {
		return ErrEnded
	}
	return unix.IoctlSetWinsize(t.slave, unix.TIOCSWINSZ,
		&unix.Winsize{Row: size.Rows, Col: size.Columns, Xpixel: size.Width, Ypixel: size.Height})
}

// endOfFile is the character that ends the input of a program that reads lines (termios(3), VEOF).
func (t *terminal) endOfFile() byte {
	const usual = 4 // ^D
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slave < 0 {
		return usual
	}
	mode, err := unix.IoctlGetTermios(t.slave, unix.TCGETS)
	if err != nil || mode.Cc[unix.VEOF] == 0 { // _POSIX_VDISABLE
		return usual
	}
	return mode.Cc[unix.VEOF]
}

// unread takes what was typed and nobody has read, and leaves nothing of it. It must be called before the command's main
// process has ended: with that the kernel hangs the terminal up and forgets what was typed.
func (t *terminal) unread() []byte {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slave < 0 {
		return nil
	}
	mode, err := unix.IoctlGetTermios(t.slave, unix.TCGETS)
	if err != nil {
		return nil
	}
	byChar := *mode
	byChar.Lflag &^= unix.ICANON // in which also the line can be read that has no end yet
	byChar.Cc[unix.VMIN], byChar.Cc[unix.VTIME] = 0, 0
	if unix.IoctlSetTermios(t.slave, unix.TCSETS, &byChar) != nil {
		return nil
	}
	defer func() { _ = unix.IoctlSetTermios(t.slave, unix.TCSETS, mode) }() // nobody minds any more
	var all []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := unix.Read(t.slave, buf)
		if err == unix.EINTR { //nolint:errorlint // a system call's own
			continue
		}
		if n <= 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	if mode.Lflag&unix.ICANON != 0 { // where the kernel has kept a NUL for the key that ends the input
		all = bytes.ReplaceAll(all, []byte{0}, []byte{mode.Cc[unix.VEOF]})
	}
	return all
}

func (t *terminal) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slave >= 0 {
		unix.Close(t.slave)
		t.slave = -1
	}
}

// errNoTerminal is returned for what only a terminal has.
var errNoTerminal = errors.New("the command has no terminal")

// Resize tells the command's terminal its size.
func (p *Process) Resize(size TerminalSize) error {
	if p.terminal == nil {
		return errNoTerminal
	}
	return p.terminal.resize(size)
}

// EndOfFile is the character that ends the input of a program that reads lines from the command's terminal,
// if it is typed at the begin of a line; inside of one it must be typed twice.
func (p *Process) EndOfFile() byte { return p.terminal.endOfFile() }

// Unread takes what was typed at the command's terminal and nobody has read. What is typed later is lost at the
// command's end.
func (p *Process) Unread() []byte { return p.terminal.unread() }
