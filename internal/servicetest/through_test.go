//go:build linux

package servicetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestThroughDaemon: the scripts that stop or start the daemon see that they run because of one of its commands, also
// where the cgroup does not tell any more. This process stands for the daemon.
func TestThroughDaemon(t *testing.T) {
	for _, script := range []string{"deb/prerm", "deb/postinst", "rpm/preun", "rpm/postun"} {
		text, err := os.ReadFile("../../packaging/scripts/" + script)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(text), "through_rexecd() {\n")
		body, _, closed := strings.Cut(rest, "\n}\n")
		if !found || !closed {
			t.Errorf("%s has no through_rexecd", script)
			continue
		}
		for pid, want := range map[int]string{os.Getpid(): "through it\n", 0: "not\n"} {
			dir := t.TempDir()
			systemctl := "#!/bin/sh\necho " + strconv.Itoa(pid) + "\n"
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(systemctl), 0o755); err != nil {
				t.Fatal(err)
			}
			// One more process in between, as su(1) would be.
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -ec "$1"; exit $?`, "sh",
				"through_rexecd() {\n"+body+"\n}\nif through_rexecd; then echo through it; else echo not; fi")
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
				t.Errorf("%s with the daemon's PID %d: %q, %v; want %q", script, pid, out, err, want)
			}
		}
	}
}
