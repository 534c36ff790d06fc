//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// lab is what the rows are measured with.
type lab struct {
	dir    string // thrown away at the end
	quick  bool
	rexecd *daemon
	sshd   *sshd
	log    *os.File       // standard error of the measured clients
	stream *transfer      // once it was measured, since two rows need it
	texts  map[kind]*text // those that were made
}

// newLab builds and starts what is needed, each daemon at a site of its own.
func newLab(ctx context.Context, quick bool, n need, next func() (site, error)) (*lab, error) {
	dir, err := os.MkdirTemp("", "rexec-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, quick: quick}
	if err := l.start(ctx, n, next); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) start(ctx context.Context, n need, next func() (site, error)) error {
	var err error
	if l.log, err = os.OpenFile(filepath.Join(l.dir, "clients.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if n == noDaemon {
		return nil
	}
	if err := buildPrograms(ctx, l.bin()); err != nil {
		return err
	}
	if n == rexecdAndSSHD {
		at, err := next()
		if err != nil {
			return err
		}
		if l.sshd, err = startSSHD(ctx, filepath.Join(l.dir, "ssh"), at); err != nil {
			return err
		}
	}
	at, err := next()
	if err != nil {
		return err
	}
	l.rexecd, err = startDaemon(ctx, l.bin(), daemonFiles{dir: filepath.Join(l.dir, "rexec")}, at)
	return err
}

func (l *lab) bin() string { return filepath.Join(l.dir, "bin") }

// close ends everything that was started and removes its files.
func (l *lab) close() {
	if l.rexecd != nil {
		l.rexecd.stop()
	}
	if l.sshd != nil {
		l.sshd.stop()
	}
	if l.log != nil {
		l.log.Close()
	}
	_ = os.RemoveAll(l.dir)
}

// times is a number of repetitions: all of them, or few for a rough picture.
func (l *lab) times(full, quick int) int {
	if l.quick {
		return quick
	}
	return full
}

// program is a command line to be run.
type program struct {
	path string
	args []string
	env  []string // nil: ours
}

// ran is what one process took.
type ran struct {
	wall time.Duration // from before its fork until it was waited for
	cpu  time.Duration // user and system
}

// run runs a program with no input. Its output goes to /dev/null, or is what stdout says. It must
// exit with 0.
func (l *lab) run(ctx context.Context, p program, stdout *os.File) (ran, error) {
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Env, cmd.Stderr = p.env, l.log
	if stdout != nil { // else a nil *os.File would be no nil io.Writer
		cmd.Stdout = stdout
	}
	begin := time.Now()
	err := cmd.Run()
	took := ran{wall: time.Since(begin)}
	if err != nil {
		if ctx.Err() != nil {
			return took, ctx.Err()
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, lastWords(l.log.Name()))
		}
		return took, fmt.Errorf("running %s: %w", filepath.Base(p.path), err)
	}
	took.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return took, nil
}
