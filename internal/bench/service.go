//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// service is a process that runs beside the measurements.
type service struct {
	cmd    *exec.Cmd
	log    string        // path of its standard error
	exited chan struct{} // closed when it has ended
}

// startService starts a program in its own process group, so that an interrupt from the terminal
// reaches this program only, which then ends everything in order.
func startService(cmd *exec.Cmd, log string) (*service, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &service{cmd: cmd, log: log, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(s.exited)
	}()
	return s, nil
}

func (s *service) pid() int { return s.cmd.Process.Pid }

// stop ends the process and waits for it.
func (s *service) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// ready polls until check succeeds; a process that has ended instead is an error with its last words.
func (s *service) ready(ctx context.Context, check func() bool) error {
	err := poll(ctx, 10*time.Second, func() bool {
		select {
		case <-s.exited:
			return true
		default:
			return check()
		}
	})
	select {
	case <-s.exited:
		err = errors.New("it ended at once")
	default:
	}
	if err != nil {
		return fmt.Errorf("starting %s: %w: %s", s.cmd.Path, err, lastWords(s.log))
	}
	return nil
}

// poll waits until done, for at most limit.
func poll(ctx context.Context, limit time.Duration, done func() bool) error {
	deadline := time.Now().Add(limit)
	for !done() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no success within %s", limit)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// accepts reports whether somebody listens on a TCP address.
func accepts(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// site is where a daemon listens.
type site struct {
	address string
	enter   []string // what a command line begins with that is to run there; nil: it is here
}

// command is a program that runs there.
func (s site) command(path string, args ...string) *exec.Cmd {
	words := slices.Concat(s.enter, []string{path}, args)
	return exec.Command(words[0], words[1:]...) // ended by stop, after its clients
}

// here is a site on the loopback interface.
func here() (site, error) {
	address, err := freeAddress()
	return site{address: address}, err
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// lastWords is the end of a log.
func lastWords(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 500
	b = bytes.TrimSpace(b)
	return string(b[max(0, len(b)-most):])
}
