//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// newConnection is row 1: the whole life of a client process that runs true.
func newConnection(ctx context.Context, l *lab) ([]result, error) {
	ssh, rexec := l.process(l.sshd.command("true")), l.process(l.rexecd.command("true"))
	if err := alternate(ctx, l.times(80, 10), ssh, rexec); err != nil {
		return nil, err
	}
	return []result{{
		What: "`true`, new connection", Beside: "ssh", Unit: ms,
		Theirs: ssh.median(), Ours: rexec.median(), Runs: len(ssh.values), Goal: goal{ratioAtMost, 1.0 / 30},
	}}, nil
}

// multiplexed is row 2: ours still makes a new connection.
func multiplexed(ctx context.Context, l *lab) ([]result, error) {
	m, err := l.sshd.startMaster(ctx, "mux")
	if err != nil {
		return nil, err
	}
	defer m.stop()
	ssh, rexec := l.process(l.sshd.through(m, "true")), l.process(l.rexecd.command("true"))
	if err := alternate(ctx, l.times(300, 30), ssh, rexec); err != nil {
		return nil, err
	}
	return []result{{
		What: "`true`, new connection", Beside: "ssh, multiplexed", Unit: ms,
		Theirs: ssh.median(), Ours: rexec.median(), Runs: len(ssh.values), Goal: goal{ratioAtMost, 1},
	}}, nil
}

// nextCommand is row 3: what the network and two programs add to a local start of the same command.
func nextCommand(ctx context.Context, l *lab) ([]result, error) {
	c := l.rexecd.client()
	defer func() { _ = c.Close() }() // nothing is lost with it
	local := milliseconds(func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		err := exec.CommandContext(ctx, "sh", "-c", "true").Run()
		return time.Since(begin), err
	})
	remote := milliseconds(func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		err := runTrue(ctx, c)
		return time.Since(begin), err
	})
	if err := alternate(ctx, l.times(2000, 200), local, remote); err != nil {
		return nil, err
	}
	return []result{{
		What: "`sh -c true`, next on an open connection, library call", Beside: "local os/exec", Unit: ms,
		Theirs: local.median(), Ours: remote.median(), Runs: len(local.values), Goal: goal{ratioAtMost, 1.25},
	}}, nil
}

// runTrue runs sh -c true over a client's connection.
func runTrue(ctx context.Context, c *client.Client) error {
	r, err := c.Run(ctx, &client.Command{Run: proto.Run{Argv: [][]byte{[]byte("sh"), []byte("-c"), []byte("true")}}})
	if err != nil {
		return err
	}
	if r.State != proto.StateExited || r.Code != 0 {
		return fmt.Errorf("sh -c true ended with %s, code %d", r.State, r.Code)
	}
	return nil
}

// atATime is the number of clients that row 4 runs at once.
const atATime = 8

// manyCommands is row 4.
func manyCommands(ctx context.Context, l *lab) ([]result, error) {
	m, err := l.sshd.startMaster(ctx, "mux")
	if err != nil {
		return nil, err
	}
	defer m.stop()
	n, few := l.times(500, 100), l.times(48, 16)
	mux := l.crowd(l.sshd.through(m, "true"), n)
	rexec := l.crowd(l.rexecd.command("true"), n)
	if err := alternate(ctx, l.times(5, 2), mux, rexec); err != nil {
		return nil, err
	}
	plain := l.crowd(l.sshd.command("true"), few)
	again := l.crowd(l.rexecd.command("true"), few)
	if err := alternate(ctx, l.times(3, 1), plain, again); err != nil {
		return nil, err
	}
	scale := float64(n) / float64(few)
	what := fmt.Sprintf("%d x `true`, %d at a time, a process each", n, atATime)
	return []result{{
		What: what, Beside: "ssh, multiplexed", Unit: ms,
		Theirs: mux.median(), Ours: rexec.median(), Runs: len(mux.values), Goal: goal{ratioAtMost, 0.9},
	}, {
		What: fmt.Sprintf("the same, extrapolated from %d", few), Beside: "ssh", Unit: ms,
		Theirs: plain.median() * scale, Ours: again.median() * scale, Runs: len(plain.values),
	}}, nil
}

// crowd is a contender that runs a program n times, some at a time.
func (l *lab) crowd(p program, n int) *contender {
	return milliseconds(func(ctx context.Context) (time.Duration, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		begin := time.Now()
		for range atATime {
			wg.Go(func() {
				for left.Add(-1) >= 0 && ctx.Err() == nil {
					if _, err := l.run(ctx, p, nil); err != nil {
						cancel(err)
					}
				}
			})
		}
		wg.Wait()
		return time.Since(begin), context.Cause(ctx)
	})
}
