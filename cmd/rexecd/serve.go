package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/config"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/runner"
	"rexec/internal/server"
	"rexec/internal/systemd"
	"rexec/internal/transport"
)

// daemon is the wiring of one running rexecd.
type daemon struct {
	common *common
	cfg    config.Config
	log    *zap.Logger
	level  zap.AtomicLevel
	store  *auth.Store
	runner *runner.Runner
	server *server.Server
}

// serve runs the daemon until ctx ends, then drains it.
func serve(ctx context.Context, c *common, io streams) error {
	d := &daemon{common: c}
	var err error
	if d.cfg, _, err = c.load(); err != nil {
		return err
	}
	d.log, d.level = newLogger(d.cfg.Log, io.err)
	defer func() { _ = d.log.Sync() }()
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := identity(dir)
	if err != nil {
		return err
	}
	unlock, err := lockState(dir)
	if err != nil {
		return err
	}
	defer unlock()
	launcher, err := exec.NewLauncher()
	if err != nil {
		return fmt.Errorf("preparing to start commands: %w", err)
	}
	defer launcher.Close()
	if err := d.build(dir, id, launcher); err != nil {
		return err
	}
	ln, err := transport.Listen(ctx, d.cfg.Listen, id.Key, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		return err
	}
	d.announce(id, ln.Addr())
	systemd.Ready() // the socket accepts from here on
	return d.run(ctx, ln)
}

// build makes everything between the listeners and the launcher.
func (d *daemon) build(dir string, id auth.Identity, launcher *exec.Launcher) error {
	var err error
	if d.store, err = auth.OpenStore(keysPath(dir)); err != nil {
		return err
	}
	verifier, err := auth.NewVerifier(id.ID, d.store, time.Now)
	if err != nil {
		return err
	}
	ledger, err := job.OpenLedger(filepath.Join(dir, "named"), d.cfg.Jobs.KeepNamed)
	if err != nil {
		return err
	}
	options, err := runnerOptions(d.cfg.Exec)
	if err != nil {
		return err
	}
	d.runner = runner.New(verifier, d.store, launcher, options, func(err error) {
		d.log.Error("the key file cannot be used; the keys read before stay in force", zap.Error(err))
	})
	table := job.NewTable(job.Options{
		Grace:     max(d.cfg.Server.Grace, time.Nanosecond), // the zero value would mean the default
		StopGrace: max(d.cfg.Exec.StopGrace, time.Nanosecond),
		Ledger:    ledger,
		Ended:     d.ended,
	})
	d.server = server.New(d.runner, table, server.Options{
		HandshakeTimeout:   d.cfg.Server.HandshakeTimeout,
		MaxUnauthenticated: d.cfg.Server.MaxUnauthenticated,
		MaxConnections:     d.cfg.Server.MaxConnections,
		Log:                d.log,
	})
	return nil
}

func runnerOptions(e config.Exec) (runner.Options, error) {
	o := runner.Options{
		Path: e.Path, Lang: e.Lang, Env: e.Env, AcceptEnv: e.AcceptEnv,
		Umask: int(e.Umask), OOMScoreAdj: e.OOMScoreAdj,
	}
	for name, l := range e.Limits {
		resource, err := runner.Resource(name)
		if err != nil {
			return o, err
		}
		o.Limits = append(o.Limits, exec.Limit{Resource: resource, Soft: l.Soft, Hard: l.Hard})
	}
	return o, nil
}

func (d *daemon) announce(id auth.Identity, addr net.Addr) {
	d.log.Info("listening", zap.Stringer("address", addr), zap.Stringer("id", id.ID),
		zap.String("version", version), zap.Int("keys", len(d.store.Keys())))
	d.log.Info("a command's processes are found by session, parentage and environment: " +
		"one that leaves all three is not ended with its command")
	if len(d.store.Keys()) == 0 {
		d.log.Warn("there are no keys, so everybody is refused; make one with: rexecd key add NAME")
	}
}

// ended logs the outcome of a job.
func (d *daemon) ended(j *job.Job, x *proto.Exit) {
	d.log.Info("command ended", zap.Stringer("id", j.ID), zap.String("key", j.KeyID),
		zap.Stringer("state", x.State), zap.Uint8("code", x.Code), zap.String("signal", x.Signal),
		zap.Duration("took", time.Duration(x.End-x.Start)))
}

// run serves until ctx ends or a listener fails. SIGHUP reloads.
func (d *daemon) run(ctx context.Context, ln net.Listener) error {
	// Sessions outlive ctx: they are drained, not cut.
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	failed := make(chan error, 1)
	go func() { failed <- d.server.Serve(live, ln) }() // Shutdown below makes it return
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			d.reload()
		case err := <-failed:
			d.shutdown(0)
			return fmt.Errorf("accepting connections: %w", err)
		case <-ctx.Done():
			systemd.Stopping()
			d.log.Info("stopping; running commands get time to end", zap.Duration("drain", d.cfg.Server.Drain))
			d.shutdown(d.cfg.Server.Drain)
			if err := <-failed; !errors.Is(err, server.ErrClosed) {
				return err
			}
			d.log.Info("stopped")
			return nil
		}
	}
}

// shutdown drains for at most d; a further signal cuts it short.
func (d *daemon) shutdown(drain time.Duration) {
	ctx, cancel := signal.NotifyContext(context.Background(), d.common.endSignals...)
	defer cancel()
	ctx, cancelTime := context.WithTimeout(ctx, drain)
	defer cancelTime()
	d.server.Shutdown(ctx)
}

// reload takes over a changed configuration, all of it or, if anything is wrong, nothing.
func (d *daemon) reload() {
	systemd.Reloading()
	defer systemd.Ready()
	cfg, path, err := d.common.load()
	if err != nil {
		d.log.Error("the new configuration is not used, the old one stays in force", zap.Error(err))
		return
	}
	options, err := runnerOptions(cfg.Exec)
	if err != nil {
		d.log.Error("the new configuration is not used, the old one stays in force", zap.Error(err))
		return
	}
	if _, err := d.store.Refresh(); err != nil {
		d.log.Error("the key file cannot be used; the keys read before stay in force", zap.Error(err))
	}
	if cfg.Listen != d.cfg.Listen || cfg.Server != d.cfg.Server || cfg.Jobs != d.cfg.Jobs ||
		cfg.Log.Format != d.cfg.Log.Format || cfg.Exec.StopGrace != d.cfg.Exec.StopGrace {
		d.log.Warn("listen, [server], [jobs], log.format and exec.stop_grace take effect at the next start")
	}
	d.runner.Configure(options)
	setLevel(d.level, cfg.Log.Level)
	d.log.Info("reloaded", zap.String("config", path), zap.Int("keys", len(d.store.Keys())))
}

// lockState keeps two daemons from using one state directory.
func lockState(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid := make([]byte, 32)
		n, _ := f.Read(pid)
		f.Close()
		return nil, fmt.Errorf("already running (pid %s) with state directory %s", pid[:n], dir)
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d", os.Getpid())
	return func() { f.Close() }, nil
}
