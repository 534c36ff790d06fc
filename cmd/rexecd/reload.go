package main

import (
	"errors"

	"go.uber.org/zap"

	"rexec/internal/systemd"
)

// reload takes over a changed configuration, all of it or, if anything is wrong, nothing.
func (d *daemon) reload() {
	systemd.Reloading()
	defer systemd.Ready()
	if _, err := d.store.Refresh(); err != nil {
		d.keyProblem(err)
	}
	path, err := d.reconfigure()
	d.problems.set(aboutConfig, err)
	d.reloads.note(errors.Join(err, d.store.Problem()))
	d.showLine(true)
	if err != nil {
		d.log.Error("the new configuration is not used, the old one stays in force", zap.Error(err))
		return
	}
	d.log.Info("reloaded", zap.String("config", path), zap.Int("keys", len(d.store.Keys())))
}

// reconfigure reads the configuration again and uses what can be changed without a new start.
func (d *daemon) reconfigure() (path string, err error) {
	cfg, path, err := d.common.load()
	if err != nil {
		return path, err
	}
	options, err := runnerOptions(cfg.Exec)
	if err == nil {
		err = d.contained.limit(&options, cfg.Exec)
	}
	if err == nil {
		options.Banner, err = bannerText(cfg.Banner)
	}
	if err != nil {
		return path, err
	}
	if cfg.Listen != d.cfg.Listen || cfg.Server != d.cfg.Server || cfg.Jobs != d.cfg.Jobs ||
		cfg.Classic != d.cfg.Classic || cfg.Metrics != d.cfg.Metrics || cfg.Log.Format != d.cfg.Log.Format ||
		cfg.Exec.StopGrace != d.cfg.Exec.StopGrace || cfg.Exec.Cgroup != d.cfg.Exec.Cgroup {
		d.log.Warn("listen, [server], [jobs], [classic], [metrics], log.format, exec.stop_grace and exec.cgroup " +
			"take effect at the next start")
	}
	options.VouchFor = vouchFor(d.cfg.Classic)
	d.runner.Configure(options)
	setLevel(d.level, cfg.Log.Level)
	return path, nil
}
