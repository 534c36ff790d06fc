//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// cgroupCost is row 14: two daemons that differ in nothing but the cgroup of each command.
func cgroupCost(ctx context.Context, l *lab) ([]result, error) {
	group, err := makeCgroup()
	if err != nil {
		fmt.Fprintln(os.Stderr, "row 14 is left out:", err)
		return nil, nil
	}
	defer os.Remove(group) //nolint:errcheck // the daemon has taken back what it made below it
	without, err := l.configured(ctx, "without", `exec.cgroup = "off"`)
	if err != nil {
		return nil, err
	}
	defer without.stop()
	with, err := l.configured(ctx, "with", fmt.Sprintf("exec.cgroup = %q", group))
	if err != nil {
		return nil, err
	}
	defer with.stop()
	a, b := l.process(without.command("true")), l.process(with.command("true"))
	if err := alternate(ctx, l.times(500, 40), a, b); err != nil {
		return nil, err
	}
	c, d := next(without), next(with)
	if err := alternate(ctx, l.times(1000, 100), c.contender, d.contender); err != nil {
		return nil, err
	}
	c.close()
	d.close()
	return []result{{
		What: "`true`, new connection, a cgroup for each command", Beside: "without", Unit: ms,
		Theirs: a.median(), Ours: b.median(), Runs: len(a.values), Goal: goal{ratioAtMost, 1.05},
	}, {
		What: "`sh -c true`, next on an open connection, the same", Beside: "without", Unit: ms,
		Theirs: c.median(), Ours: d.median(), Runs: len(c.values),
	}}, nil
}

// makeCgroup makes a cgroup v2 for a daemon.
func makeCgroup() (string, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("only root can make a cgroup for it")
	}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err == nil {
			return os.MkdirTemp(root, "bench-")
		}
	}
	return "", fmt.Errorf("this machine has no cgroup v2 mounted")
}

// configured starts a further rexecd with this configuration.
func (l *lab) configured(ctx context.Context, name, config string) (*daemon, error) {
	at, err := here()
	if err != nil {
		return nil, err
	}
	return startDaemon(ctx, l.bin(), daemonFiles{filepath.Join(l.dir, name), config}, at)
}

// openConnection is a contender whose connection is to be closed.
type openConnection struct {
	*contender
	close func()
}

// next is the next command on an open connection.
func next(d *daemon) openConnection {
	c := d.client()
	return openConnection{milliseconds(func(ctx context.Context) (time.Duration, error) {
		begin := time.Now()
		err := runTrue(ctx, c)
		return time.Since(begin), err
	}), func() { _ = c.Close() }}
}
