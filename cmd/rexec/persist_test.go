package main

import (
	"strings"
	"testing"
	"time"

	"rexec/internal/hosts"
)

// TestPersistOption: the command line goes before config.toml, and "no" on either is an answer.
func TestPersistOption(t *testing.T) {
	const ten = hosts.Persist(10 * time.Minute)
	for _, tt := range []struct {
		args     string
		settings hosts.Persist
		want     time.Duration
	}{
		{"h", 0, 0},
		{"h", ten, 10 * time.Minute},
		{"h", -1, 0},
		{"--persist 90 h", 0, 90 * time.Second},
		{"--persist=1h30m h", ten, 90 * time.Minute},
		{"--persist no h", ten, 0},
		{"--persist 0 h", ten, 0},
		{"--persist 5s h --persist no", -1, 5 * time.Second},
		{"--persist no h --persist 5s", ten, 0},
	} {
		o, err := parseOptions(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		if got := o.persistTime(hosts.Settings{Persist: tt.settings}); got != tt.want {
			t.Errorf("%s, settings %d: %s, want %s", tt.args, tt.settings, got, tt.want)
		}
	}
	for _, bad := range []string{"yes", "-5s", "", "never"} {
		if _, err := parseOptions([]string{"--persist", bad, "h"}); err == nil || !strings.Contains(err.Error(), "want a time such as 10m, or no") {
			t.Errorf("--persist %q: %v", bad, err)
		}
	}
}

func TestControlOption(t *testing.T) {
	for args, want := range map[string]string{
		"-O check h": "check", "-Oexit h": "exit", "h -O stop": "stop", "-O check -O exit h": "check", "h": "",
	} {
		if o, err := parseOptions(strings.Fields(args)); err != nil || o.ssh.control != want {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	if _, err := parseOptions([]string{"-O", "what", "h"}); err == nil || !strings.Contains(err.Error(), "want check, stop or exit") {
		t.Errorf("-O what: %v", err)
	}
}
