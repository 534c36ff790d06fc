//go:build linux

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"rexec/internal/client"
)

// connections is how many row 7 holds; sshConnections are enough for a process each.
const (
	connections      = 10_000
	quickConnections = 1_000
	udpConnections   = 1_000
	sshConnections   = 5
	// spareFiles is what a process opens besides one socket per connection.
	spareFiles = 200
)

// idleMemory is row 7.
func idleMemory(ctx context.Context, l *lab) ([]result, error) {
	theirs, err := l.sshMemory(ctx)
	if err != nil {
		return nil, err
	}
	n, err := affordable(l.times(connections, quickConnections))
	if err != nil {
		return nil, err
	}
	ours, err := l.rexecMemory(ctx, n, client.TCP)
	if err != nil {
		return nil, err
	}
	few := min(n, udpConnections)
	udp, err := l.rexecMemory(ctx, few, client.UDP)
	if err != nil {
		return nil, err
	}
	return []result{{
		What: fmt.Sprintf("memory (PSS) per idle connection, %d held", n), Beside: fmt.Sprintf("sshd, %d held", sshConnections),
		Unit: kib, Theirs: theirs / 1024, Ours: ours / 1024, Runs: 1, Goal: goal{atMost, 64},
	}, {
		What: fmt.Sprintf("the same over UDP, %d held", few), Beside: fmt.Sprintf("sshd, %d held", sshConnections),
		Unit: kib, Theirs: theirs / 1024, Ours: udp / 1024, Runs: 1,
	}}, nil
}

// affordable raises the limit of open files, which the daemon and the holder inherit, and returns how
// many of the wanted connections it allows.
func affordable(want int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit of open files: %w", err)
	}
	need := uint64(want + spareFiles)
	if limit.Max < need {
		raised := syscall.Rlimit{Cur: need, Max: need}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) != nil { // only root may
			fewer := int(limit.Max) - spareFiles
			fmt.Fprintf(os.Stderr, "only %d connections are held: the hard limit of open files is %d\n", fewer, limit.Max)
			return fewer, nil
		}
	}
	return want, nil
}

// sshMemory is the memory of the processes that sshd has for each connection.
func (l *lab) sshMemory(ctx context.Context) (float64, error) {
	for i := range sshConnections {
		m, err := l.sshd.startMaster(ctx, fmt.Sprintf("idle%d", i))
		if err != nil {
			return 0, err
		}
		defer m.stop()
	}
	// Of each connection one process, which was for the time before authentication, is about to end.
	processes := 0
	if err := poll(ctx, 10*time.Second, func() bool {
		before := processes
		processes = len(descendants(l.sshd.pid()))
		time.Sleep(250 * time.Millisecond)
		return processes == before && processes >= sshConnections
	}); err != nil {
		return 0, fmt.Errorf("waiting for sshd to come to rest: %w", err)
	}
	total := 0.0
	for _, pid := range descendants(l.sshd.pid()) {
		v, err := pss(pid)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total / sshConnections, nil
}

// rexecMemory is what n connections add to a daemon of their own.
func (l *lab) rexecMemory(ctx context.Context, n int, over client.Transport) (float64, error) {
	at, err := here()
	if err != nil {
		return 0, err
	}
	d, err := startDaemon(ctx, l.bin(), daemonFiles{dir: filepath.Join(l.dir, fmt.Sprint("memory", over))}, at)
	if err != nil {
		return 0, err
	}
	defer d.stop()
	// One command first: what the daemon sets up once is no connection's.
	if _, err := l.run(ctx, d.command("true"), nil); err != nil {
		return 0, err
	}
	before, err := settled(ctx, d.pid())
	if err != nil {
		return 0, err
	}
	h, err := startHolder(ctx, d, n, over)
	if err != nil {
		return 0, err
	}
	defer h.stop()
	after, err := settled(ctx, d.pid())
	if err != nil {
		return 0, err
	}
	open, err := sockets(d.pid())
	if err != nil {
		return 0, err
	}
	if over == client.TCP && open < n { // over UDP all share one
		return 0, fmt.Errorf("the daemon has %d sockets open, want %d connections", open, n)
	}
	if err := h.check(); err != nil {
		return 0, err
	}
	return (after - before) / float64(n), nil
}

// settled is the memory of a process once it changes no more, or after a quarter of a minute: a
// garbage collector is not done at once. It forces nothing that an idle daemon would not do.
func settled(ctx context.Context, pid int) (float64, error) {
	const step, steps = time.Second, 15
	last := math.Inf(1)
	for range steps {
		now, err := pss(pid)
		if err != nil || math.Abs(now-last) < 0.002*now {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(step):
		}
	}
	return last, nil
}
