//go:build linux

package exec

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupHost is where a process learns of its cgroup.
type cgroupHost struct {
	membership string // /proc/self/cgroup (cgroups(7))
	mounts     string // /proc/self/mountinfo (proc_pid_mountinfo(5))
	delegated  func(dir string) bool
	alone      func(dir string) bool
}

func thisHost() cgroupHost {
	return cgroupHost{membership: "/proc/self/cgroup", mounts: "/proc/self/mountinfo", delegated: isDelegated, alone: isAlone}
}

// OwnCgroup returns the directory of the cgroup v2 that this program is in, or of
// the one above if it is in the leaf for daemons already.
func OwnCgroup() (string, error) { return thisHost().ownCgroup() }

func (h cgroupHost) ownCgroup() (string, error) {
	membership, err := os.ReadFile(h.membership)
	if err != nil {
		return "", errors.New("this kernel has no cgroups")
	}
	own, err := cgroupPath(string(membership))
	if err != nil {
		return "", err
	}
	mounts, err := os.ReadFile(h.mounts)
	if err != nil {
		return "", fmt.Errorf("reading the mounts: %w", err)
	}
	dir, err := cgroupDir(string(mounts), own)
	if err == nil && path.Base(own) == daemonLeaf {
		// A service manager has put us where we would go ourselves, or we were
		// started by a daemon (DelegateSubgroup= of systemd.resource-control(5)).
		dir = path.Dir(dir)
	}
	return dir, err
}

// delegatedCgroup returns our own cgroup if it was delegated to us. One that was not
// is somebody else's to arrange, whatever our rights: the processes of a login
// session, for example, are in one cgroup with what the user starts.
func (h cgroupHost) delegatedCgroup() (string, error) {
	dir, err := h.ownCgroup()
	if err != nil {
		return "", err
	}
	if !h.delegated(dir) && !h.delegatedToUser(dir) {
		return "", fmt.Errorf("the cgroup of this process, %s, was not delegated to it", dir)
	}
	return dir, nil
}

// cgroupPath returns the path of the one hierarchy that has no number.
func cgroupPath(membership string) (string, error) {
	for line := range strings.Lines(membership) {
		if own, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return own, nil
		}
	}
	return "", errors.New("this host has cgroup v1 only")
}

// cgroupDir returns where a cgroup is to be found in the file system.
func cgroupDir(mounts, own string) (string, error) {
	mounted := false
	for line := range strings.Lines(mounts) {
		front, back, ok := strings.Cut(line, " - ")
		f := strings.Fields(front)
		if !ok || len(f) < 5 || !strings.HasPrefix(back, "cgroup2 ") {
			continue
		}
		mounted = true
		root, point := unescapeMount(f[3]), unescapeMount(f[4])
		if rest, ok := strings.CutPrefix(own, strings.TrimSuffix(root, "/")); ok && (rest == "" || rest[0] == '/') && !strings.HasPrefix(rest, "/..") {
			return path.Join(point, rest), nil
		}
	}
	if mounted {
		return "", errors.New("the cgroup of this process lies outside of what is mounted here")
	}
	return "", errors.New("cgroup v2 is not mounted")
}

func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// delegatedToUser reports whether dir is a user's alone, inside of what was
// delegated to the user. A user's service manager does not mark what it delegates,
// so that it is enough if nobody else is in there.
func (h cgroupHost) delegatedToUser(dir string) bool {
	for up := path.Dir(dir); up != "/" && up != "."; up = path.Dir(up) {
		if h.delegated(up) {
			return h.alone(dir)
		}
	}
	return false
}

// isAlone reports whether dir belongs to our account, which is not root, and has no
// other process in it than this one.
func isAlone(dir string) bool {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || st.Uid == 0 || int(st.Uid) != os.Geteuid() {
		return false
	}
	pids, err := readPids(dir)
	return err == nil && !slices.ContainsFunc(pids, func(pid int) bool { return pid != os.Getpid() })
}

// isDelegated looks for the marks that systemd sets on a cgroup with Delegate=.
// The first of them everybody may read.
func isDelegated(dir string) bool {
	for _, name := range []string{"user.delegate", "trusted.delegate"} {
		var value [2]byte
		if n, err := unix.Getxattr(dir, name, value[:]); err == nil && string(value[:n]) == "1" {
			return true
		}
	}
	return false
}
