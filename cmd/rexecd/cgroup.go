package main

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"rexec/internal/config"
	"rexec/internal/exec"
	"rexec/internal/runner"
)

// containment is what holds for the processes of commands on this host.
type containment struct {
	groups *exec.Cgroups // nil: commands have none
	why    string        // and this is why
}

// contain opens the cgroups for commands. Only a cgroup that the configuration names must be usable: by
// default the daemon takes what the host gives it, and says so.
func contain(e config.Exec) (containment, error) {
	switch e.Cgroup {
	case "off":
		return containment{why: `exec.cgroup is "off"`}, nil
	case "auto":
		groups, err := exec.OpenCgroups("")
		if err != nil {
			return containment{why: err.Error()}, nil
		}
		return containment{groups: groups}, nil
	}
	dir := e.Cgroup
	var err error
	if dir == "own" {
		dir, err = exec.OwnCgroup()
	}
	var groups *exec.Cgroups
	if err == nil {
		groups, err = exec.OpenCgroups(dir)
	}
	if err != nil {
		return containment{}, fmt.Errorf(`exec.cgroup cannot be used: %w; name another one, or set it to "auto" or "off"`, err)
	}
	return containment{groups: groups}, nil
}

func (c containment) close() {
	if c.groups != nil {
		c.groups.Close()
	}
}

// limit puts the limits of every command into o. One that somebody has set and that would not hold is an
// error; the default for processes holds where it can.
func (c containment) limit(o *runner.Options, e config.Exec) error {
	if e.MaxMemory != (config.Memory{}) {
		if why := c.lacks("memory"); why != "" {
			return cannotHold("exec.max_memory", why)
		}
		var host unix.Sysinfo_t
		if err := unix.Sysinfo(&host); err != nil {
			return fmt.Errorf("looking at the memory of this machine: %w", err)
		}
		o.MaxMemory = e.MaxMemory.Of(uint64(host.Totalram) * uint64(host.Unit))
	}
	if why := c.lacks("pids"); why != "" {
		if e.MaxProcesses != 0 && e.MaxProcesses != config.Default().Exec.MaxProcesses {
			return cannotHold("exec.max_processes", why)
		}
		return nil
	}
	o.MaxProcesses = e.MaxProcesses
	// One command must not take what the daemon needs to start and end the others.
	if all := c.groups.MostPids(); all > 1 && o.MaxProcesses > all/2 {
		o.MaxProcesses = all / 2
	}
	return nil
}

// lacks says why a controller is not there for commands; empty if it is.
func (c containment) lacks(controller string) string {
	switch {
	case c.groups == nil:
		return c.why
	case controller == "memory" && !c.groups.Memory(), controller == "pids" && !c.groups.Pids():
		return "cgroup " + c.groups.Dir() + " has no controller " + controller
	}
	return ""
}

func cannotHold(key, why string) error {
	return errors.New(key + " would not hold: " + why +
		"; remove it, or give the daemon a cgroup: Delegate=yes in its systemd unit, or exec.cgroup")
}

// announce says in one line what ending a command ends.
func (c containment) announce(log *zap.Logger, e config.Exec) {
	if c.groups == nil {
		log.Info("a command's processes are found by session, parentage and environment: "+
			"one that leaves all three is not ended with its command", zap.String("no_cgroups", c.why))
		return
	}
	var o runner.Options
	_ = c.limit(&o, e) // an error has kept the daemon from starting
	fields := []zap.Field{zap.String("cgroup", c.groups.Dir())}
	if why := c.lacks("pids"); why != "" {
		fields = append(fields, zap.String("max_processes", "none: "+why))
	} else {
		fields = append(fields, zap.Int("max_processes", o.MaxProcesses))
	}
	if o.MaxMemory > 0 {
		fields = append(fields, zap.Uint64("max_memory", o.MaxMemory))
	}
	leave := "which only root can leave"
	if os.Geteuid() != 0 {
		leave = "which it could leave on purpose, as it has the rights of the daemon"
	}
	log.Info("every process of a command is ended with it: each command has a cgroup of its own, "+leave, fields...)
}
