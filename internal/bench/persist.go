//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// inARow is the number of commands of row 15, one after the other.
const inARow = 100

// persistedConnection is row 15: a process for each command, over a connection of its own and over the one that
// a background process keeps.
func persistedConnection(ctx context.Context, l *lab) ([]result, error) {
	kept, end, err := l.kept(ctx)
	if err != nil {
		return nil, err
	}
	theirs, ours := l.row(l.rexecd.command("true"), inARow), l.row(kept, inARow)
	err = alternate(ctx, l.times(10, 2), theirs, ours)
	if err = errors.Join(err, end()); err != nil {
		return nil, err
	}
	return []result{{
		What: "100 x `true`, one after the other, `--persist`", Beside: "a connection for each", Unit: ms,
		Theirs: theirs.median(), Ours: ours.median(), Runs: len(ours.values), Goal: goal{ratioAtMost, 1 / 1.5},
	}}, nil
}

// kept is a client process that runs true over the connection of a background process, which end ends. It is an
// error of end's if that was gone before: nobody would have measured it.
func (l *lab) kept(ctx context.Context, options ...string) (p program, end func() error, err error) {
	run := filepath.Join(l.dir, "run") // short, as the path of a socket must be
	if err := os.MkdirAll(run, 0o700); err != nil {
		return program{}, nil, err
	}
	p = l.rexecd.with(slices.Concat(options, []string{"--persist", "10m"}), "true")
	p.env = append(slices.Clone(p.env), "XDG_RUNTIME_DIR="+run)
	control := func(what string) error {
		order := p
		order.args = slices.Concat(options, []string{"-q", "-O", what, l.rexecd.address})
		_, err := l.run(ctx, order, nil)
		return err
	}
	if _, err := l.run(ctx, p, nil); err != nil { // the first one starts the process
		return program{}, nil, err
	}
	deadline := time.Now().Add(10 * time.Second)
	for control("check") != nil {
		if time.Now().After(deadline) {
			return program{}, nil, control("check")
		}
		time.Sleep(10 * time.Millisecond)
	}
	return p, func() error { return control("exit") }, nil
}

// row is a contender that runs a program n times, one after the other.
func (l *lab) row(p program, n int) *contender {
	return milliseconds(func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		for range n {
			if _, err := l.run(ctx, p, nil); err != nil {
				return 0, err
			}
		}
		return time.Since(begin), nil
	})
}
