//go:build linux

package servicetest

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestVersionsSort makes a history of commits and tags, and demands that each commit's packages are an upgrade for
// those of the commit before it, by the rules of dpkg and of rpm.
func TestVersionsSort(t *testing.T) {
	script, err := filepath.Abs("../../packaging/version")
	if err != nil {
		t.Fatal(err)
	}
	repository := t.TempDir()
	run := func(date, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = repository
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+date, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("", "git", "init", "-q")
	var versions []string
	for _, commit := range []struct{ date, tag, want string }{
		// The times are those of one moment to the next, across zones.
		{"2026-01-02T00:30:00+02:00", "", "0.0.0~git20260101.223000.*"},
		{"2026-01-01T23:30:00+00:00", "", "0.0.0~git20260101.233000.*"},
		{"2026-01-03T00:00:00+00:00", "v0.1.0-rc.1", "0.1.0~rc.1"},
		{"2026-01-04T00:00:00+00:00", "", "0.1.0~rc.1+git20260104.000000.*"},
		{"2026-01-05T00:00:00+00:00", "v0.1.0", "0.1.0"},
		{"2026-01-06T00:00:00+00:00", "", "0.1.0+git20260106.000000.*"},
		{"2026-01-07T00:00:00+00:00", "v0.1.1", "0.1.1"},
		{"2026-01-08T00:00:00+00:00", "v0.10.0", "0.10.0"},
	} {
		run(commit.date, "git", "commit", "-q", "--allow-empty", "-m", "x")
		if commit.tag != "" {
			run(commit.date, "git", "tag", commit.tag)
		}
		got := run("", script)
		if ok, _ := path.Match(commit.want, got); !ok {
			t.Errorf("%s %s: %s, want %s", commit.date, commit.tag, got, commit.want)
		}
		versions = append(versions, got)
	}
	for i, newer := range versions[1:] {
		for _, older := range versions[:i+1] {
			dpkgNewer(t, older, newer)
			rpmNewer(t, older, newer)
		}
	}
}

func dpkgNewer(t *testing.T, older, newer string) {
	t.Helper()
	if _, err := exec.LookPath("dpkg"); err != nil {
		t.Skip("there is no dpkg here to ask")
	}
	if err := exec.CommandContext(t.Context(), "dpkg", "--compare-versions", newer+"-1", "gt", older+"-1").Run(); err != nil {
		t.Errorf("dpkg: %s is not an upgrade for %s", newer, older)
	}
}

func rpmNewer(t *testing.T, older, newer string) {
	t.Helper()
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("there is no rpm here to ask")
	}
	out, err := exec.CommandContext(t.Context(), "rpm", "--eval", `%{lua:print(rpm.vercmp("`+newer+`", "`+older+`"))}`).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		t.Errorf("rpm: %s is not an upgrade for %s: %s, %v", newer, older, out, err)
	}
}
