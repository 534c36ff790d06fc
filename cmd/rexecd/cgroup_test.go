package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"rexec/internal/config"
	"rexec/internal/rexectest"
	"rexec/internal/runner"
)

// TestLimitsThatWouldNotHold: only the default may be left out silently.
func TestLimitsThatWouldNotHold(t *testing.T) {
	c, err := contain(config.Exec{Cgroup: "off"})
	if err != nil {
		t.Fatal(err)
	}
	for text, key := range map[string]string{
		"":                              "",
		"exec.max_processes = 0":        "",
		"exec.max_processes = 4096":     "",
		"exec.max_memory = 'unlimited'": "",
		"exec.max_processes = 4095":     "exec.max_processes",
		"exec.max_memory = '1GiB'":      "exec.max_memory",
	} {
		cfg, err := config.Parse("f.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var o runner.Options
		err = c.limit(&o, cfg.Exec)
		if key == "" && (err != nil || o.MaxProcesses != 0 || o.MaxMemory != 0) {
			t.Errorf("%q: %+v, %v", text, o, err)
		}
		if key != "" && (err == nil || !strings.HasPrefix(err.Error(), key+" would not hold: exec.cgroup is \"off\"")) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCgroupThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	if c, err := contain(config.Exec{Cgroup: dir}); err == nil || !strings.Contains(err.Error(), dir+" is not a cgroup v2; name another one") {
		t.Errorf("got %+v, %v", c, err)
	}
}

// TestGuaranteeIsAnnounced: the log says once what holds, and a reload with a limit that would not hold changes nothing.
func TestGuaranteeIsAnnounced(t *testing.T) {
	p := newProgram(t, "")
	write := func(more string) {
		text := fmt.Sprintf("[exec]\nenv = { %s = %q }\ncgroup = 'off'\n%s\n[server]\ndrain = '100ms'\n", rexectest.MarkName, rexectest.Mark(), more)
		if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	p.start()
	p.logged(`one that leaves all three is not ended with its command","no_cgroups":"exec.cgroup is \\"off\\""`)
	if n := strings.Count(p.log.String(), "ended with"); n != 1 {
		t.Errorf("said %d times", n)
	}
	write("max_memory = '1GiB'")
	p.logged(`"listening"`)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.logged(`"the new configuration is not used.*exec.max_memory would not hold`)
}
