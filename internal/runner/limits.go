//go:build linux

package runner

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/exec"
)

// Resource returns the number of a resource of setrlimit(2) by its name in lower case without
// RLIMIT_, as rexecd.toml writes it.
func Resource(name string) (int, error) {
	n, ok := map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
		"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}[name]
	if !ok {
		return 0, fmt.Errorf("no resource limit is called %q", name)
	}
	return n, nil
}

// tightened returns the limits of a key's commands: of each the tighter one of what the key says and what holds
// without it, which is what is configured or else what commands inherit from the daemon.
func tightened(configured []exec.Limit, key []auth.Limit) ([]exec.Limit, error) {
	all := slices.Clone(configured)
	for _, k := range key {
		resource, err := Resource(k.Name)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(l exec.Limit) bool { return l.Resource == resource })
		if at < 0 {
			var own unix.Rlimit
			if err := unix.Prlimit(0, resource, nil, &own); err != nil {
				return nil, fmt.Errorf("reading the limit %s: %w", k.Name, err)
			}
			// The Go runtime has raised our soft limit of open files, as a command may do itself.
			at, all = len(all), append(all, exec.Limit{Resource: resource, Soft: own.Cur, Hard: own.Max})
		}
		hard := min(all[at].Hard, k.Hard)
		all[at].Soft, all[at].Hard = min(all[at].Soft, k.Soft, hard), hard
	}
	return all, nil
}
