//go:build unix

package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/unixsock"
)

// patience is how long a background process has to answer an invocation, which then goes its own way.
const patience = 250 * time.Millisecond

// Use asks the target's background process for a conversation, and to live for idle after it. The error is
// ErrNone, ErrHung or ErrBusy, or says why what is there is not used.
func Use(ctx context.Context, t Target, idle time.Duration) (*client.Proven, int, error) {
	id, err := t.ID()
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, h, err := ask(ctx, hello{op: opUse, id: id, idle: idle})
	if err != nil {
		return nil, h.pid, err
	}
	if h.choice == nil || h.choice.Instance == ([proto.IDLen]byte{}) {
		_ = conn.Close() // nothing was said on it
		return nil, h.pid, errForeign
	}
	return h.proven(&channel{UnixConn: conn, kind: h.kind}), h.pid, nil
}

// Check returns the process ID of the target's background process. The error is as that of Use.
func Check(ctx context.Context, t Target) (pid int, err error) { return t.tell(ctx, opCheck) }

// Stop lets the background process end once its last conversation does, and takes it away from later
// invocations.
func Stop(ctx context.Context, t Target) (pid int, err error) { return t.tell(ctx, opStop) }

// Exit ends the background process. Commands that run go on over connections of their own.
func Exit(ctx context.Context, t Target) (pid int, err error) { return t.tell(ctx, opExit) }

func (t Target) tell(ctx context.Context, what op) (int, error) {
	const patience = 2 * time.Second // nobody waits to run a command
	id, err := t.ID()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, h, err := ask(ctx, hello{op: what, id: id})
	if err != nil {
		return 0, err
	}
	return h.pid, conn.Close()
}

// ask connects to a background process, says hello, and reads the header.
func ask(ctx context.Context, q hello) (conn *net.UnixConn, h header, err error) {
	dir, err := directory(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, h, ErrNone
	}
	if err != nil {
		return nil, h, err
	}
	c, err := unixsock.Dial(ctx, socketPath(dir, q.id))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, h, ErrNone
	case errors.Is(err, syscall.EAGAIN), ctx.Err() != nil: // nobody accepts what waits
		return nil, h, ErrHung
	case err != nil:
		return nil, h, err
	}
	conn = c.(*net.UnixConn)
	if h, err = greet(ctx, conn, q); err != nil {
		_ = conn.Close() // nothing was said on it
		return nil, h, err
	}
	return conn, h, nil
}

func greet(ctx context.Context, conn *net.UnixConn, q hello) (h header, err error) {
	if err := samePeer(conn); err != nil {
		return h, err
	}
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(q.append(nil)); err != nil {
		return h, lateOrGone(err)
	}
	if h, err = readHeader(conn); err != nil {
		return h, lateOrGone(err)
	}
	switch {
	case !stop():
		return h, ErrHung // its deadline may be set at any moment now
	case h.status == statusBusy:
		return h, ErrBusy
	case h.status != statusReady:
		return h, errForeign
	}
	return h, conn.SetDeadline(time.Time{})
}

// lateOrGone tells a process that does not answer from one that ends.
func lateOrGone(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrHung
	case errors.Is(err, errForeign):
		return err
	}
	return fmt.Errorf("%w (%w)", ErrNone, err)
}
