//go:build linux

package exec

import (
	"slices"
	"strings"
	"testing"
)

const (
	hybridMounts = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"31 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
	unifiedMounts = "25 1 0:22 / /sys rw - sysfs sysfs rw\n29 25 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	boundMounts   = `40 25 0:26 /machine /mnt/a\040b rw - cgroup2 cgroup2 rw` + "\n"
)

func TestDelegatedCgroup(t *testing.T) {
	const service = "/sys/fs/cgroup/system.slice/rexecd.service"
	for _, tt := range []struct {
		name, membership, mounts string
		marked                   []string
		want, why                string
	}{
		{"delegated", "0::/system.slice/rexecd.service\n", unifiedMounts, []string{service}, service, ""},
		{"in its leaf already", "0::/system.slice/rexecd.service/daemon\n", unifiedMounts, []string{service}, service, ""},
		{"another leaf", "0::/system.slice/rexecd.service/main\n", unifiedMounts, []string{service}, "", "was not delegated"},
		{"login session", "0::/user.slice/user-1.slice/session-3.scope\n", unifiedMounts, []string{"/sys/fs/cgroup/user.slice/user-1.slice"}, "", "session-3.scope, was not delegated"},
		{"user's service", "0::/user@1.service/app.slice/alone.service\n", unifiedMounts, []string{"/sys/fs/cgroup/user@1.service"},
			"/sys/fs/cgroup/user@1.service/app.slice/alone.service", ""},
		{"with others", "0::/user@1.service/app.slice/shell.scope\n", unifiedMounts, []string{"/sys/fs/cgroup/user@1.service"}, "", "was not delegated"},
		{"nobody's", "0::/user@1.service/app.slice/alone.service\n", unifiedMounts, nil, "", "was not delegated"},
		{"hybrid", "2:memory:/x\n0::/a\n", hybridMounts, []string{"/sys/fs/cgroup/unified/a"}, "/sys/fs/cgroup/unified/a", ""},
		{"root", "0::/\n", hybridMounts, nil, "", "was not delegated"},
		{"version 1", "3:memory:/x\n1:name=systemd:/x\n", hybridMounts, nil, "", "cgroup v1 only"},
		{"not mounted", "0::/a\n", "25 1 0:22 / /sys rw - sysfs sysfs rw\n", nil, "", "not mounted"},
		{"part of it is mounted", "0::/machine/a\n", boundMounts, []string{"/mnt/a b/a"}, "/mnt/a b/a", ""},
		{"another part is mounted", "0::/machines/a\n", boundMounts, nil, "", "outside"},
		{"above the namespace", "0::/../a\n", unifiedMounts, nil, "", "outside"},
		{"short lines", "0::/a\n", "1 2 - cgroup2 x\n- cgroup2 \n", nil, "", "not mounted"},
	} {
		h := cgroupHost{
			membership: write(t, "cgroup", tt.membership, 0o600), mounts: write(t, "mountinfo", tt.mounts, 0o600),
			delegated: func(dir string) bool { return slices.Contains(tt.marked, dir) },
			alone:     func(dir string) bool { return strings.HasSuffix(dir, "/app.slice/alone.service") },
		}
		got, err := h.delegatedCgroup()
		if got != tt.want || (err == nil) != (tt.why == "") || err != nil && !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: got %q, %v", tt.name, got, err)
		}
	}
}

// What is no cgroup, or the root of all, is refused with its reason.
func TestOpenCgroupsRefuses(t *testing.T) {
	for dir, why := range map[string]string{t.TempDir(): "is not a cgroup v2", "/nowhere": "no such file"} {
		if c, err := OpenCgroups(dir); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v, %v", dir, c, err)
		}
	}
}

func TestValue(t *testing.T) {
	const text = "oom 3\noom_kill 12\nbad x\n"
	for name, want := range map[string]uint64{"oom": 3, "oom_kill": 12, "bad": 0, "oom_": 0, "none": 0} {
		if got := value(text, name); got != want {
			t.Errorf("%s: got %d", name, got)
		}
	}
}
