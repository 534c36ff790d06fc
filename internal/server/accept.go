package server

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
)

// Serve accepts connections until the listener fails or is closed, ctx ends or Shutdown has drained; all but the
// first give ErrClosed. It closes the listener, whose connections must be Channels.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	short := newShortage(s) // a listener that counts as served has all that it needs
	defer short.close()
	if !s.track(ln) {
		ln.Close()
		return ErrClosed
	}
	defer s.untrack(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return ErrClosed
			}
			if !passing(err) {
				return err
			}
			short.wait(ctx, ln, err)
			continue
		}
		short.over()
		s.admit(ctx, conn)
	}
}

// passing reports whether an error of accept(2) ends by itself: the limits on files and memory, or a
// peer that left before it was accepted.
func passing(err error) bool {
	for _, e := range []error{syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return noFiles(err)
}

func noFiles(err error) bool { return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) }

// shortage is a time in which a listener cannot accept. Who knocks meanwhile waits in the kernel's queue, for it may be
// brief; if it is not, a file that was kept for this makes room to turn them away one by one, which is better
// for them than silence.
type shortage struct {
	server  *Server
	backoff time.Duration // 0: there is none
	spare   *os.File      // nil: it could not be had
	turned  int           // connections turned away
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
	// turnAway bounds how many are turned away after one wait.
	turnAway = 1024
)

func newShortage(s *Server) *shortage {
	h := &shortage{server: s}
	h.keep()
	return h
}

func (h *shortage) keep() { h.spare, _ = os.Open(os.DevNull) }

func (h *shortage) close() {
	if h.spare != nil {
		h.spare.Close()
	}
}

// wait follows on an error of Accept.
func (h *shortage) wait(ctx context.Context, ln net.Listener, err error) {
	lasting := h.backoff == maxBackoff
	h.backoff = min(max(2*h.backoff, minBackoff), maxBackoff)
	if noFiles(err) && lasting {
		h.turn(ln)
	}
	if h.backoff == maxBackoff {
		fields := []zap.Field{zap.Error(err), zap.Duration("retry", h.backoff), zap.Int("turned_away", h.turned)}
		if noFiles(err) {
			fields = append(fields, zap.String("hint", "raise the limit on open files: LimitNOFILE= of the service, or ulimit -n"))
		}
		h.server.log.Warn("no connection can be accepted", fields...)
	}
	sleep(ctx, h.backoff)
}

// turn turns away who waits in the queue, until it is empty or as long as there is no other file to be had.
func (h *shortage) turn(ln net.Listener) {
	waits, ok := ln.(interface{ SetDeadline(time.Time) error })
	if !ok || h.spare == nil {
		return
	}
	h.spare.Close()
	_ = waits.SetDeadline(time.Now().Add(minBackoff))
	for range turnAway {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		conn.Close()
		h.turned++
	}
	_ = waits.SetDeadline(time.Time{})
	h.keep()
}

// over follows on a connection that was accepted.
func (h *shortage) over() {
	if h.backoff == maxBackoff {
		h.server.log.Info("connections are accepted again", zap.Int("turned_away", h.turned))
	}
	h.backoff, h.turned = 0, 0
	if h.spare == nil {
		h.keep()
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
