//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"rexec/internal/auth"
	"rexec/internal/client"
)

// holdVerb makes this program a holder of connections, in a process of its own because of the limit
// of open files. Both sides exchange lines: the token, the number of connections and the transport,
// "held", "check", "alive"; the end of input ends it.
const holdVerb = "hold-connections"

// sampled is how many of the held connections run a command to show that they are alive.
const sampled = 100

// holder is the process that holds connections.
type holder struct {
	*service
	in  io.WriteCloser
	out *bufio.Reader
}

// startHolder returns once n connections are authenticated.
func startHolder(ctx context.Context, d *daemon, n int, over client.Transport) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, holdVerb)
	h := &holder{}
	if h.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd.Stdout, h.out = w, bufio.NewReader(r)
	if h.service, err = startService(cmd, filepath.Join(filepath.Dir(d.log), "holder.log")); err != nil {
		return nil, err
	}
	w.Close()
	stop := context.AfterFunc(ctx, func() { h.in.Close() })
	defer stop()
	// The token is a secret, and the command line is none.
	if err := h.ask(fmt.Sprintf("%s %d %d", d.token.Encode(), n, over), "held"); err != nil {
		h.stop()
		return nil, err
	}
	return h, nil
}

func (h *holder) check() error { return h.ask("check", "alive") }

// ask sends a line and waits for an answer.
func (h *holder) ask(line, want string) error {
	if _, err := fmt.Fprintln(h.in, line); err != nil {
		return err
	}
	if got, _ := h.out.ReadString('\n'); strings.TrimSpace(got) != want { // at an end of file it lacks the rest
		return fmt.Errorf("holding connections: %q instead of %q: %s", got, want, lastWords(h.log))
	}
	return nil
}

func (h *holder) stop() {
	h.in.Close()
	h.service.stop()
}

// hold is the holder's side.
func hold(ctx context.Context, in *bufio.Reader, out io.Writer) error {
	var text string
	var n int
	var over client.Transport
	if _, err := fmt.Fscanln(in, &text, &n, &over); err != nil {
		return fmt.Errorf("reading the token, a number and a transport: %w", err)
	}
	token, err := auth.ParseToken(text)
	if err != nil {
		return err
	}
	clients := make([]*client.Client, n)
	for i := range clients {
		clients[i] = client.New(client.Options{Address: token.Address, Key: token.Key, Transport: over})
		defer func() { _ = clients[i].Close() }() // nothing is lost with it
	}
	if err := connect(ctx, clients); err != nil {
		return err
	}
	fmt.Fprintln(out, "held")
	if line, err := in.ReadString('\n'); err != nil || line != "check\n" {
		return errors.New("told to end before the check")
	}
	for i := range min(n, sampled) {
		if err := runTrue(ctx, clients[i*n/min(n, sampled)]); err != nil {
			return fmt.Errorf("running a command over held connection %d: %w", i, err)
		}
	}
	fmt.Fprintln(out, "alive")
	_, _ = in.ReadString('\n') // until the other side is done
	return nil
}

// connect opens all connections, a few at a time: the daemon drops some when many come at once.
func connect(ctx context.Context, clients []*client.Client) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atATime {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(clients) {
					return
				}
				if err := clients[i].Connect(ctx); err != nil {
					cancel(fmt.Errorf("opening connection %d: %w", i, err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
