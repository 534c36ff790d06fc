//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"rexec/internal/proto"
)

// unknownTerminal is a type with which no program does anything special (terminfo(5)).
const unknownTerminal = "dumb"

// windowOf is the size of a terminal; zero if it is not known.
func windowOf(f *os.File) proto.Window {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return proto.Window{}
	}
	return proto.Window{Rows: w.Row, Columns: w.Col, Width: w.Xpixel, Height: w.Ypixel}
}

// watchWindow tells of other sizes than the last one, until ctx ends.
func watchWindow(ctx context.Context, f *os.File, last proto.Window, changes chan<- proto.Window) {
	changed := make(chan os.Signal, 1)
	// Only the foreground is told of changes, so that one that was missed is found when this program goes on.
	signal.Notify(changed, unix.SIGWINCH, unix.SIGCONT)
	defer signal.Stop(changed)
	for { // a change before the first signal would be missed without looking once
		if now := windowOf(f); now != last && now != (proto.Window{}) {
			select {
			case changes <- now:
				last = now
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
