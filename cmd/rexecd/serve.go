package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/classic"
	"rexec/internal/config"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/metrics"
	"rexec/internal/proto"
	"rexec/internal/runner"
	"rexec/internal/server"
	"rexec/internal/systemd"
)

// daemon is the wiring of one running rexecd.
type daemon struct {
	common *common
	cfg    config.Config
	log    *zap.Logger
	level  zap.AtomicLevel
	store  *auth.Store
	uses   *auth.Uses
	clock  *auth.Clock
	runner *runner.Runner
	jobs   *job.Table
	server *server.Server
	hangup chan os.Signal // of SIGHUP, which asks for a reload

	contained containment
	classic   classicListeners
	metrics   *metrics.Metrics // nil while [metrics] is off
	reloads   reloads
	problems  problems
	shown     shownLine
	checkup   checkup
}

// serve runs the daemon until ctx or a signal ends it, then drains it.
func serve(ctx context.Context, c *common, io streams) error {
	d := &daemon{common: c, hangup: make(chan os.Signal, 1), log: zap.NewNop()}
	// First of all: one that comes before the daemon serves would end it, where it only has to wait.
	signal.Notify(d.hangup, syscall.SIGHUP)
	defer signal.Stop(d.hangup)
	ctx, hurry, stop := untilSignals(ctx, c.endSignals, oneEvent)
	defer stop()
	err := d.serve(ctx, hurry, io)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		d.log.Info("stopped before it served", zap.Error(err))
		return nil
	}
	return err
}

// serve starts all there is and runs it. When ctx has ended, running commands may go on until hurry ends as well.
func (d *daemon) serve(ctx, hurry context.Context, io streams) error {
	var err error
	if d.cfg, _, err = d.common.load(); err != nil {
		return err
	}
	d.log, d.level = newLogger(d.cfg.Log, io.err)
	defer func() { _ = d.log.Sync() }()
	dir, err := d.common.state()
	if err != nil {
		return err
	}
	if _, err := identity(dir); err != nil { // which makes the directory
		return err
	}
	unlock, err := lockState(dir)
	if err != nil {
		return err
	}
	defer unlock()
	id, err := identity(dir) // again: until now it could be replaced
	if err != nil {
		return err
	}
	if d.contained, err = contain(d.cfg.Exec); err != nil {
		return unusable(err)
	}
	defer d.contained.close() // after the launcher
	launcher, err := exec.NewLauncher()
	if err != nil {
		return fmt.Errorf("preparing to start commands: %w", err)
	}
	defer launcher.Close()
	if err := d.build(dir, id, launcher); err != nil {
		return err
	}
	defer d.classic.close()
	if err := d.listenClassic(ctx, dir); err != nil {
		return err
	}
	s, err := d.listen(ctx, id)
	if err != nil {
		return err
	}
	defer s.release()
	unwatch, err := d.watch(ctx, dir, s, id)
	if err != nil {
		return err
	}
	defer unwatch()
	d.announce(s, id) // so who has read that can ask for the status as well
	if id.Moved() {
		d.log.Warn("the identity was made on another machine, so a clone may pose as this server; on a clone type: "+
			"rexecd reset-identity; if it is the same machine, remove the line machine", zap.String("from", auth.IdentityPath(dir)))
	}
	defer d.keepUses()()
	defer d.keepClock()()
	return d.run(ctx, hurry, s)
}

// build makes everything between the listeners and the launcher.
func (d *daemon) build(dir string, id auth.Identity, launcher *exec.Launcher) error {
	var err error
	if d.store, err = auth.OpenStore(keysPath(dir)); err != nil {
		return unusable(err)
	}
	verifier, err := auth.NewVerifier(id.ID, d.store, time.Now)
	if err != nil {
		return err
	}
	if d.uses, err = auth.OpenUses(usesPath(dir)); err != nil {
		d.log.Warn("it is not known when keys were used before", zap.Error(err))
	}
	verifier.Record(d.uses)
	if d.clock, err = auth.OpenClock(clockPath(dir)); err != nil {
		return unusable(err)
	}
	verifier.Watch(d.clock)
	ledger, err := job.OpenLedger(namedPath(dir), d.cfg.Jobs.KeepNamed)
	if err != nil {
		return unusable(err)
	}
	options, err := runnerOptions(d.cfg.Exec)
	if err != nil {
		return err
	}
	if options.Banner, err = bannerText(d.cfg.Banner); err != nil {
		return err
	}
	if err := d.contained.limit(&options, d.cfg.Exec); err != nil {
		return unusable(err)
	}
	if d.contained.groups != nil {
		launcher.UseCgroups(d.contained.groups)
	}
	options.VouchFor = vouchFor(d.cfg.Classic)
	d.runner = runner.New(verifier, d.store, launcher, options, d.keyProblem)
	d.metrics = d.newMetrics()
	table := job.NewTable(job.Options{
		Grace:     max(d.cfg.Server.Grace, time.Nanosecond), // the zero value would mean the default
		StopGrace: max(d.cfg.Exec.StopGrace, time.Nanosecond),
		Ledger:    ledger,
		Started:   d.started(),
		Ended:     d.ended,
	})
	d.jobs = table
	d.server = server.New(d.runner, table, server.Options{
		HandshakeTimeout:   d.cfg.Server.HandshakeTimeout,
		MaxUnauthenticated: d.cfg.Server.MaxUnauthenticated,
		MaxConnections:     d.cfg.Server.MaxConnections,
		Log:                d.log,
		Observer:           d.observer(),
	})
	return nil
}

func runnerOptions(e config.Exec) (runner.Options, error) {
	printed, err := charset.ParseMode(e.Charset)
	if err != nil {
		return runner.Options{}, err
	}
	o := runner.Options{
		Path: e.Path, Lang: e.Lang, Charset: printed, Env: e.Env, AcceptEnv: e.AcceptEnv,
		Umask: int(e.Umask), OOMScoreAdj: e.OOMScoreAdj,
		// Not by its name: after an upgrade another program may have that.
		SFTP:     []string{"/proc/self/exe", "sftp-server"},
		Complete: []string{"/proc/self/exe", "complete"},
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

func (d *daemon) announce(s sockets, id auth.Identity) {
	d.announceSockets(s, id)
	d.contained.announce(d.log, d.cfg.Exec)
	if len(d.store.Keys()) == 0 {
		d.log.Warn(noKeys)
	}
	d.announceClassic()
}

// ended logs the outcome of a job.
func (d *daemon) ended(j *job.Job, x *proto.Exit) {
	d.log.Info("command ended", zap.Stringer("job", j.ID), zap.String("key", j.KeyID), zap.String("peer", j.Peer),
		zap.Stringer("outcome", x.State), zap.Uint8("code", x.Code), zap.String("signal", x.Signal),
		zap.Duration("took", time.Duration(x.End-x.Start)))
	d.countEnd(x)
}

// run serves until ctx ends or a listener fails. SIGHUP reloads.
func (d *daemon) run(ctx, hurry context.Context, s sockets) error {
	// Sessions outlive ctx: they are drained, not cut.
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	services := d.classic.services()
	for _, ln := range s.all() {
		services = append(services, func(ctx context.Context) error { return d.server.Serve(ctx, ln) })
	}
	failed := make(chan error, len(services))
	for _, serve := range services {
		go func() { failed <- serve(live) }() // shutdown below makes it return
	}
	watched := d.answering(ctx, s.all())
	systemd.Ready()
	defer d.background(func(ctx context.Context) { d.supervise(ctx, watched) })()
	for {
		select {
		case <-d.hangup:
			d.reload()
		case err := <-failed:
			d.shutdown(hurry, 0)
			return fmt.Errorf("accepting connections: %w", err)
		case <-ctx.Done():
			systemd.Stopping()
			d.shown.end()
			defer d.askForTime()()
			d.log.Info("stopping; running commands get time to end", zap.Duration("drain", d.cfg.Server.Drain))
			if s.inherited {
				s.close() // who comes now waits for the next daemon
			}
			d.shutdown(hurry, d.cfg.Server.Drain)
			for range services {
				if err := <-failed; !errors.Is(err, server.ErrClosed) && !errors.Is(err, classic.ErrClosed) {
					return err
				}
			}
			d.log.Info("stopped")
			return nil
		}
	}
}

// shutdown drains for at most drain, or until hurry ends.
func (d *daemon) shutdown(hurry context.Context, drain time.Duration) {
	ctx, cancel := context.WithTimeout(hurry, drain)
	defer cancel()
	var wg sync.WaitGroup
	if d.classic.server != nil {
		wg.Go(func() { d.classic.server.Shutdown(ctx) })
	}
	d.server.Shutdown(ctx)
	wg.Wait()
}
