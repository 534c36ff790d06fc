package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/term"

	"rexec/internal/proto"
)

// unknownTerminal is what a console is, once it is told to understand escape sequences.
const unknownTerminal = "xterm-256color"

// windowOf is the size of a console; zero if it is not known.
func windowOf(f *os.File) proto.Window {
	var info windows.ConsoleScreenBufferInfo
	for _, f := range []*os.File{f, os.Stdout, os.Stderr} { // input has no size
		if windows.GetConsoleScreenBufferInfo(windows.Handle(f.Fd()), &info) == nil {
			columns, rows, err := term.GetSize(int(f.Fd()))
			if err == nil {
				return proto.Window{Rows: uint16(rows), Columns: uint16(columns)}
			}
		}
	}
	return proto.Window{}
}

// watchWindow tells of other sizes than the last one, until ctx ends. Nothing here says when it changes.
func watchWindow(ctx context.Context, f *os.File, last proto.Window, changes chan<- proto.Window) {
	const every = time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if now := windowOf(f); now != last && now != (proto.Window{}) {
			select {
			case changes <- now:
				last = now
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// showRaw makes a console understand escape sequences, and leave line feeds to them.
func showRaw(out *os.File) (undo func()) {
	console := windows.Handle(out.Fd())
	var mode uint32
	if windows.GetConsoleMode(console, &mode) != nil {
		return func() {}
	}
	_ = windows.SetConsoleMode(console, mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING|
		windows.DISABLE_NEWLINE_AUTO_RETURN)
	return func() { _ = windows.SetConsoleMode(console, mode) }
}
