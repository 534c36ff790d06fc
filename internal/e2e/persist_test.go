//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kept waits until there is a background process, not the one with the process ID in BG, and puts its ID there:
//
//	kept [ARG...]      of rexec $HOST with these arguments before it
func (w *world) kept(args []string) {
	before := w.ts.Getenv("BG")
	pid := ""
	w.pollKept(args, "another background process", func(code int, text string) bool {
		m := regexp.MustCompile(`process (\d+) keeps`).FindStringSubmatch(text)
		if code == 0 && m != nil {
			pid = m[1]
		}
		return pid != "" && pid != before
	})
	w.ts.Setenv("BG", pid)
}

// unkept waits until there is none, and the one in BG has ended.
func (w *world) unkept(args []string) {
	pid, _ := strconv.Atoi(w.ts.Getenv("BG"))
	w.pollKept(args, "no background process", func(code int, _ string) bool {
		return code == 255 && !backgroundProcess(pid)
	})
}

func (w *world) pollKept(args []string, what string, done func(code int, text string) bool) {
	deadline := time.Now().Add(hang)
	for {
		var text bytes.Buffer
		cmd := w.command("rexec", append(append([]string{"-O", "check"}, args...), w.ts.Getenv("HOST"))...)
		cmd.Stderr = &text
		_ = cmd.Run()
		if done(cmd.ProcessState.ExitCode(), text.String()) {
			return
		}
		if time.Now().After(deadline) {
			w.ts.Fatalf("there is not %s, but: %s", what, text.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// backgroundProcess reports whether a process is one of rexec's background processes, and no zombie.
func backgroundProcess(pid int) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && strings.Contains(string(line), "--background-process")
}

// endKept ends the background processes that a script has left, each by its ID.
func (w *world) endKept() {
	files, _ := filepath.Glob(filepath.Join(w.dir, "run", "rexec", "*.lock"))
	for _, file := range files {
		deadline := time.Now().Add(5 * time.Second)
		for {
			text, err := os.ReadFile(file)
			if pid, bad := strconv.Atoi(string(text)); bad == nil && backgroundProcess(pid) {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			if err != nil || len(text) > 0 || time.Now().After(deadline) {
				break
			}
			time.Sleep(10 * time.Millisecond) // it has only just been started
		}
	}
}
