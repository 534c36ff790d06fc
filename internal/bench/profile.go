//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/runner"
	"rexec/internal/server"
	"rexec/internal/transport"
)

// subject is client and server in this process, so that one profile shows both.
type subject struct {
	token auth.Token
	store *auth.ClientStore
	close func()
}

func (s *subject) client(t client.Transport) *client.Client {
	return client.New(client.Options{Address: s.token.Address, Key: s.token.Key, Pins: s.store, Transport: t})
}

// profile writes a CPU profile for each of rows 1, 3 and 5 to a directory, for row 5 one more over UDP.
func profile(ctx context.Context, dir string, quick bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	s, err := newSubject(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	n, size := 5000, 8<<30
	if quick {
		n, size = 1000, 2<<30
	}
	open, udp := s.client(client.TCP), s.client(client.UDP)
	defer func() { _ = errors.Join(open.Close(), udp.Close()) }() // nothing is lost with them
	for _, r := range []struct {
		name string
		work func() error
	}{
		{"row1", func() error { return s.connections(ctx, n) }},
		{"row3", func() error { return repeat(n, func() error { return runTrue(ctx, open) }) }},
		{"row5", func() error { return output(ctx, open, size) }},
		{"row5-udp", func() error { return output(ctx, udp, size/4) }},
	} {
		path := filepath.Join(dir, r.name+".pprof")
		took, err := profiled(path, r.work)
		if err != nil {
			return fmt.Errorf("profiling %s: %w", r.name, err)
		}
		fmt.Printf("%s  %s; look at it with: go tool pprof -top %s\n", r.name, took.Round(time.Millisecond), path)
	}
	return nil
}

func profiled(path string, work func() error) (time.Duration, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = work()
	took := time.Since(begin)
	pprof.StopCPUProfile()
	return took, errors.Join(err, f.Close())
}

func repeat(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) connections(ctx context.Context, n int) error {
	return repeat(n, func() error {
		c := s.client(client.TCP)
		defer func() { _ = c.Close() }() // nothing is lost with it
		return runTrue(ctx, c)
	})
}

func output(ctx context.Context, c *client.Client, size int) error {
	command := fmt.Sprintf("head -c %d /dev/zero", size)
	r, err := c.Run(ctx, &client.Command{Run: proto.Run{Shell: []byte(command)}})
	if err == nil && r.StdoutBytes != uint64(size) {
		err = fmt.Errorf("%d bytes of output, want %d", r.StdoutBytes, size)
	}
	return err
}

// newSubject wires the daemon the way rexecd does, without a log.
func newSubject(ctx context.Context) (*subject, error) {
	dir, err := os.MkdirTemp("", "rexec-profile-")
	if err != nil {
		return nil, err
	}
	s := &subject{store: auth.OpenClientStore(filepath.Join(dir, "client"))}
	if err := s.serve(ctx, dir); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *subject) serve(ctx context.Context, dir string) error {
	id, err := auth.CreateIdentity(dir)
	if err != nil {
		return err
	}
	secret, err := auth.NewSecret()
	if err != nil {
		return err
	}
	keys := filepath.Join(dir, "keys.json")
	if err := auth.AddKey(keys, auth.Key{ID: "bench", Secret: secret, Created: time.Now().UTC().Truncate(time.Second)}); err != nil {
		return err
	}
	store, err := auth.OpenStore(keys)
	if err != nil {
		return err
	}
	verifier, err := auth.NewVerifier(id.ID, store, time.Now)
	if err != nil {
		return err
	}
	launcher, err := exec.NewLauncher()
	if err != nil {
		return err
	}
	o := transport.Options{ALPN: proto.ALPN}
	ln, err := transport.Listen(ctx, "127.0.0.1:0", id.Key, o)
	if err != nil {
		launcher.Close()
		return err
	}
	udp, err := transport.ListenQUIC(ctx, ln.Addr().String(), id.Key, transport.QUICOptions{Options: o})
	if err != nil {
		launcher.Close()
		ln.Close()
		return err
	}
	s.token = auth.Token{Address: ln.Addr().String(), Key: auth.ClientKey{Server: id.ID, KeyID: "bench", Secret: secret}}
	run := runner.New(verifier, store, launcher, runner.Options{Path: os.Getenv("PATH"), Umask: 0o022}, func(error) {})
	srv := server.New(run, job.NewTable(job.Options{}), server.Options{})
	var served sync.WaitGroup
	for _, ln := range []net.Listener{ln, udp} {
		served.Go(func() { _ = srv.Serve(ctx, ln) }) // its end is what close asks for
	}
	s.close = func() {
		srv.Shutdown(ctx)
		served.Wait()
		udp.Release()
		launcher.Close()
		_ = os.RemoveAll(dir)
	}
	return nil
}
