package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"
)

// rawMode is what a console was like before it was changed.
type rawMode struct {
	saved *term.State
	undo  func()
}

func (m *rawMode) enter(in, out *os.File) error {
	if m.saved != nil {
		return nil
	}
	saved, err := term.MakeRaw(int(in.Fd()))
	if err == nil {
		m.saved, m.undo = saved, showRaw(out)
	}
	return err
}

func (m *rawMode) leave(in, _ *os.File) {
	if m.saved == nil {
		return
	}
	m.undo()
	_ = term.Restore(int(in.Fd()), m.saved)
	m.saved = nil
}

// Consoles know neither background nor stops, and put themselves back after a process that did not: nothing of this
// has anything to do.

func (*rawMode) lose()                                            {}
func (*rawMode) end()                                             {}
func inForeground(*os.File) bool                                  { return true }
func awaitForeground(*os.File)                                    {}
func (*rawTerminal) watchStops(context.Context, *os.File, func()) {}
func suspend()                                                    {}
func standGuard([]string) bool                                    { return false }

// terminalInput is what is typed at a console; a file that is none is read as it is.
func terminalInput(f *os.File, raw *rawTerminal) io.Reader {
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	return &consoleReader{f, raw.isOn}
}
