package client

import (
	"context"

	"rexec/internal/proto"
)

// forwardWindows passes the sizes of the caller's terminal on.
func (x *execution) forwardWindows(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w, ok := <-x.cmd.Windows:
			if !ok {
				return
			}
			x.resize(w)
		}
	}
}

// resize sends a size. While there is no connection it is kept: the next one begins with it.
func (x *execution) resize(w proto.Window) {
	x.mu.Lock()
	l := x.link
	x.window = w
	x.mu.Unlock()
	if l != nil {
		_ = l.write(w) // the request that follows a lost connection says it, too
	}
}

// resendWindow sends a size that came after the request over this connection and before it was linked.
func (x *execution) resendWindow(l *link) {
	x.mu.Lock()
	w := x.window
	x.mu.Unlock()
	if w != x.run.Window {
		_ = l.write(w)
	}
}
