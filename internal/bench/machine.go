//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// machine says what the figures belong to.
type machine struct{ lines [][2]string }

func describeMachine(ctx context.Context) machine {
	m := machine{}
	add := func(name, value string) { m.lines = append(m.lines, [2]string{name, value}) }
	cpu, err := fields("/proc/cpuinfo", "model name\t:")
	if err != nil {
		cpu = []string{"unknown"}
	}
	add("processor", fmt.Sprintf("%s, %d cores", strings.Join(cpu, " "), runtime.NumCPU()))
	if v, err := kibibytes("/proc/meminfo", "MemTotal:"); err == nil {
		add("memory", fmt.Sprintf("%.1f GiB", v/(1<<30)))
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		add("kernel", "Linux "+string(bytes.TrimSpace(b)))
	}
	if name, err := fields("/etc/os-release", "PRETTY_NAME="); err == nil {
		add("system", strings.Trim(strings.Join(name, " "), `"`))
	}
	add("Go", strings.TrimPrefix(runtime.Version(), "go"))
	add("OpenSSH", sshVersion(ctx))
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "golang.org/x/text" {
				add("x/text", m.Version)
			}
		}
	}
	add("glibc", libcVersion())
	add("date", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	return m
}

func (m machine) String() string {
	var b strings.Builder
	for _, l := range m.lines {
		fmt.Fprintf(&b, "%-10s %s\n", l[0], l[1])
	}
	return b.String()
}
