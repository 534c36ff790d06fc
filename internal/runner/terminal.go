//go:build linux

package runner

import (
	"golang.org/x/sys/unix"

	"rexec/internal/exec"
	"rexec/internal/proto"
	"rexec/internal/ttymode"
)

// terminal is the one that a request asks for.
func terminal(m *proto.Run, utf8 bool) *exec.Terminal {
	return &exec.Terminal{
		Size: exec.TerminalSize(m.Window),
		Setup: func(t *unix.Termios) {
			if utf8 { // the erase key takes whole characters away
				t.Iflag |= unix.IUTF8
			}
			ttymode.Set(t, m.Modes)
		},
		Variables: []string{envTTY, envSSHTTY},
	}
}

// screen adapts a process on a terminal to what a job knows of it.
type screen struct{ p *exec.Process }

func (s screen) Resize(w proto.Window) error { return s.p.Resize(exec.TerminalSize(w)) }
func (s screen) EndOfFile() byte             { return s.p.EndOfFile() }
func (s screen) Unread() []byte              { return s.p.Unread() }
