//go:build linux

// Package rexectest runs a whole daemon inside a test: listener, runner, jobs and server on a free
// loopback port, with a state directory of the test's own, everything ended with the test.
//
// It owns the wiring, a peer that can break every rule of the protocol, a proxy that fails as networks
// do, and the check that a test left nothing behind. It decides nothing about the product and must
// not be imported by anything but tests.
package rexectest

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/classic"
	"rexec/internal/client"
	"rexec/internal/config"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/runner"
	"rexec/internal/server"
	"rexec/internal/transport"
)

// Options are what a test wants otherwise than by default. The zero value works.
type Options struct {
	// Key is the policy of the key that Daemon.Key returns. An empty ID is "test", an empty secret is
	// made, an empty RunAs is the account of the test.
	Key      auth.Key
	StateDir string // default: a new temporary directory
	Listen   string // default: 127.0.0.1 and a free port
	Server   server.Options
	Jobs     job.Options // Ledger is set by the harness
	Runner   func(*runner.Options)
	// Transport is what Daemon's clients and peers use, over which the daemon always listens: TCP, or QUIC
	// with client.UDP. The zero value is TCP, too, which is what auto is on a loopback interface.
	Transport client.Transport
	// Classic makes the daemon serve the classic protocols, too, with Key. If it is Insecure, the senders of
	// datagrams appear to be at ForeignAddress.
	Classic *classic.Options
}

// Daemon is a running daemon.
type Daemon struct {
	t       testing.TB
	options Options
	key     auth.ClientKey
	address string
	port    *os.File // keeps the port of the address while the daemon is down
	home    string
	lines   logLines
	starts  atomic.Int64

	mu       sync.Mutex
	instance *instance // nil while the daemon is down
}

// instance is what does not survive a restart.
type instance struct {
	launcher *exec.Launcher
	store    *auth.Store
	table    *job.Table
	server   *server.Server
	udp      *transport.QUICListener
	classic  *classicListeners // nil without Options.Classic
	cut      context.CancelFunc
	served   chan error
}

// New starts a daemon that ends with the test.
func New(t testing.TB, o Options) *Daemon {
	t.Helper()
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	if o.Key.ID == "" {
		o.Key.ID = "test"
	}
	d := &Daemon{t: t, options: o, home: t.TempDir()}
	t.Cleanup(func() { d.port.Close() })
	d.lines.t = t
	id := d.identity()
	d.key = d.AddKey(o.Key)
	d.key.Server = id.ID
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

func (d *Daemon) identity() auth.Identity {
	id, err := auth.CreateIdentity(d.options.StateDir)
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

// AddKey adds a key to the key file and returns the client's half of it.
func (d *Daemon) AddKey(k auth.Key) auth.ClientKey {
	d.t.Helper()
	if k.Secret == (auth.Secret{}) {
		var err error
		if k.Secret, err = auth.NewSecret(); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := auth.AddKey(d.KeysPath(), k); err != nil {
		d.t.Fatal(err)
	}
	return auth.ClientKey{Server: d.identity().ID, KeyID: k.ID, Secret: k.Secret}
}

// Address is where the daemon listens. It stays the same over restarts.
func (d *Daemon) Address() string { return d.address }

// StateDir is the daemon's state directory, KeysPath the key file in it.
func (d *Daemon) StateDir() string { return d.options.StateDir }

// KeysPath is the daemon's key file.
func (d *Daemon) KeysPath() string { return filepath.Join(d.options.StateDir, "keys") }

// Home is the home directory of the account of the test, as the daemon sees it: an empty one, so that no test depends
// on somebody's startup files or leaves anything in theirs.
func (d *Daemon) Home() string { return d.home }

// Key is the client's half of the key in Options.
func (d *Daemon) Key() auth.ClientKey { return d.key }

// Token is what a user would enroll.
func (d *Daemon) Token() auth.Token { return auth.Token{Address: d.address, Key: d.key} }

// ServerID is the daemon's identity.
func (d *Daemon) ServerID() auth.ServerID { return d.key.Server }

// Table holds the jobs of the running instance.
func (d *Daemon) Table() *job.Table {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.instance == nil {
		d.t.Fatal("the daemon is down")
	}
	return d.instance.table
}

// Starts counts how often any instance was asked to start a process, refused or not.
func (d *Daemon) Starts() int64 { return d.starts.Load() }

// Logs returns the lines logged so far, one JSON object each.
func (d *Daemon) Logs() []string { return d.lines.all() }

// ClientOptions reach this daemon with its key; progress goes to the test's log.
func (d *Daemon) ClientOptions() client.Options {
	o := client.Options{Address: d.address, Key: d.key, Log: d.lines.clientLog, Transport: client.TCP}
	if d.options.Transport == client.UDP {
		o.Transport = client.UDP
	}
	return o
}

// Client returns a client that is closed with the test.
func (d *Daemon) Client(t testing.TB) *client.Client { return NewClient(t, d.ClientOptions()) }

// NewClient returns a client with other options that is closed with the test.
func NewClient(t testing.TB, o client.Options) *client.Client {
	c := client.New(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Start starts an instance on the state directory and the address of the one before.
func (d *Daemon) Start() {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.instance != nil {
		d.t.Fatal("the daemon runs already")
	}
	in, ln, err := d.build()
	if err != nil {
		d.t.Fatal(err)
	}
	d.address = ln.Addr().String()
	d.options.Listen = d.address
	ctx, cut := context.WithCancel(context.Background())
	in.cut = cut
	for _, ln := range []net.Listener{ln, in.udp} {
		go func() { in.served <- in.server.Serve(ctx, ln) }() // stop waits for it
	}
	if in.classic != nil {
		in.classic.start(ctx)
	}
	if !in.awaitServed() {
		d.t.Error("the listeners are not served")
	}
	d.instance = in
}

// awaitServed waits until all listeners are served, so that whoever counts open files or goroutines now counts what
// belongs to the daemon, too.
func (in *instance) awaitServed() bool {
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n, _ := in.server.Serving()
		if n == cap(in.served) && (in.classic == nil || in.classic.server.Listening() == cap(in.classic.served)) {
			return true
		}
	}
	return false
}

func (d *Daemon) build() (*instance, net.Listener, error) {
	in := &instance{served: make(chan error, 2)}
	id := d.identity()
	var err error
	if in.store, err = auth.OpenStore(d.KeysPath()); err != nil {
		return nil, nil, err
	}
	verifier, err := auth.NewVerifier(id.ID, in.store, time.Now)
	if err != nil {
		return nil, nil, err
	}
	jobs := d.options.Jobs
	if jobs.Ledger, err = job.OpenLedger(filepath.Join(d.options.StateDir, "named"), time.Hour); err != nil {
		return nil, nil, err
	}
	if in.launcher, err = exec.NewLauncher(); err != nil {
		return nil, nil, err
	}
	log := d.lines.logger()
	run := runner.New(verifier, in.store, in.launcher, d.runnerOptions(), func(err error) {
		log.Error("key file", zap.Error(err))
	})
	in.table = job.NewTable(jobs)
	so := d.options.Server
	if so.Log == nil {
		so.Log = log
	}
	in.server = server.New(counted{run, &d.starts}, in.table, so)
	if d.options.Classic != nil {
		if in.classic, err = listenClassic(counted{run, &d.starts}, in.table, *d.options.Classic, log); err != nil {
			return nil, nil, err
		}
	}
	ln, err := d.listen(id, in)
	return in, ln, err
}

// listen takes the address again even if the last connections to it are not quite gone, or a client has its UDP port.
func (d *Daemon) listen(id auth.Identity, in *instance) (net.Listener, error) {
	deadline := time.Now().Add(patience)
	for {
		if d.address == "" && (d.port != nil || d.options.Listen == "") {
			d.port.Close() // of the try before
			var err error
			if d.port, d.options.Listen, err = KeepPort(); err != nil {
				return nil, err
			}
		}
		ln, err := d.listenOnce(id, in)
		if err == nil || time.Now().After(deadline) {
			return ln, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (d *Daemon) listenOnce(id auth.Identity, in *instance) (net.Listener, error) {
	ctx, o := context.Background(), transport.Options{ALPN: proto.ALPN}
	ln, err := transport.Listen(ctx, d.options.Listen, id.Key, o)
	if err != nil {
		return nil, err
	}
	in.udp, err = transport.ListenQUIC(ctx, ln.Addr().String(), id.Key, transport.QUICOptions{
		Options: o, ResetKey: id.ResetKey(),
		MaxPending: d.options.Server.MaxUnauthenticated, HandshakeTimeout: d.options.Server.HandshakeTimeout,
		Failed: in.server.Failed,
	})
	if err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

func (d *Daemon) runnerOptions() runner.Options {
	e := config.Default().Exec
	o := runner.Options{
		Path: e.Path, Lang: e.Lang, Charset: charset.Auto, Env: map[string]string{}, AcceptEnv: e.AcceptEnv,
		Umask: int(e.Umask), OOMScoreAdj: e.OOMScoreAdj, Accounts: accounts{exec.NewAccounts(), d.home},
	}
	if d.options.Classic != nil {
		o.VouchFor = d.options.Key.ID
	}
	if d.options.Runner != nil {
		d.options.Runner(&o)
	}
	o.Env[MarkName] = Mark()
	return o
}

// counted counts the ways into the code that starts processes.
type counted struct {
	*runner.Runner
	starts *atomic.Int64
}

func (c counted) Start(ctx context.Context, g *auth.Grant, peer job.Peer, m *proto.Run) (*job.Process, error) {
	c.starts.Add(1)
	return c.Runner.Start(ctx, g, peer, m)
}

// Stop shuts the daemon down without waiting for commands, which clients are told. It does nothing if
// the daemon is down.
func (d *Daemon) Stop() { d.stop(false) }

// Crash ends the daemon as kill -9 would look to clients: connections break without a last word. (The
// commands are ended too, which kill -9 would not do.)
func (d *Daemon) Crash() { d.stop(true) }

// Restart is Stop and Start: another instance with the same state, address and key.
func (d *Daemon) Restart() {
	d.t.Helper()
	d.Stop()
	d.Start()
}

func (d *Daemon) stop(abrupt bool) {
	d.mu.Lock()
	in := d.instance
	d.instance = nil
	d.mu.Unlock()
	if in == nil {
		return
	}
	if abrupt {
		in.cut()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	in.shutdown(ended)
	in.cut()
	for range cap(in.served) {
		if err := <-in.served; !errors.Is(err, server.ErrClosed) {
			d.t.Errorf("Serve returned %v", err)
		}
	}
	if in.classic != nil {
		in.classic.wait(d.t)
	}
	in.udp.Release()
	in.launcher.Close()
}

// Drain shuts the daemon down and gives commands until ctx ends.
func (d *Daemon) Drain(ctx context.Context) {
	d.mu.Lock()
	in := d.instance
	d.mu.Unlock()
	if in != nil {
		in.shutdown(ctx)
		d.Stop()
	}
}
