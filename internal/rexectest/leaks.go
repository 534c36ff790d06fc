//go:build linux

package rexectest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// MarkName is the environment variable by which a process that a test's daemon started is recognised.
const MarkName = "REXECTEST_RUN"

// Mark is the variable's value: the same for all daemons of one test binary, and of no other one that
// runs beside it.
func Mark() string { return strconv.Itoa(os.Getpid()) }

// settle is how long what ends by itself may take, on a machine that has much else to do.
const settle = 30 * time.Second

// CheckLeaks fails a test that leaves goroutines, open files, children or started processes behind.
// Call it first, so that it looks after everything else was cleaned up. Not for parallel tests.
func CheckLeaks(t testing.TB) {
	before := snapshot()
	t.Cleanup(func() {
		if left := before.settled(); left != "" {
			t.Errorf("left behind: %s", left)
		}
	})
}

// Main runs a package's tests and returns an exit code that is not 0 if they left something behind.
func Main(m *testing.M) int {
	before := snapshot()
	code := m.Run()
	if left := before.settled(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "left behind after all tests:", left)
		return 1
	}
	return code
}

// count is how much of everything there is.
type count struct{ goroutines, files, children, processes int }

func snapshot() count {
	return count{len(goroutines()), len(openFiles()), len(children()), len(Processes())}
}

func (c count) settled() string {
	deadline := time.Now().Add(settle)
	for {
		left := c.left()
		if left == "" || time.Now().After(deadline) {
			return left
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c count) left() string {
	var left []string
	for _, part := range []struct {
		what   string
		before int
		now    []string
	}{
		{"goroutines", c.goroutines, goroutines()},
		{"open files", c.files, openFiles()},
		{"children", c.children, children()},
		{"processes", c.processes, Processes()},
	} {
		if len(part.now) > part.before {
			left = append(left, fmt.Sprintf("%d %s, %d before:\n%s", len(part.now), part.what, part.before,
				strings.Join(part.now, "\n")))
		}
	}
	return strings.Join(left, "\n")
}

// goroutines returns the stacks of all but those of the runtime and of package testing.
func goroutines() []string {
	buf := make([]byte, 8<<20)
	var found []string
	for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if !strings.Contains(g, "rexectest.goroutines") && !strings.Contains(g, "created by testing.") &&
			!strings.Contains(g, "testing.(*M).") && !strings.Contains(g, "os/signal.loop") {
			found = append(found, g)
		}
	}
	return found
}

// Goroutines is their number while everything stands still. runtime.NumGoroutine adds up lists that the garbage
// collector moves at that moment, and on a busy machine counts hundreds that have ended.
func Goroutines() int {
	n, _ := runtime.GoroutineProfile(make([]runtime.StackRecord, 1)) // too few of them: it only counts
	return n
}

// openFiles returns what descriptors there are, but for the poller's own, which the runtime keeps.
func openFiles() []string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var found []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(target, "anon_inode:[event") {
			found = append(found, e.Name()+" "+target)
		}
	}
	return found
}

// children returns the command lines of this process's children, zombies included.
func children() []string {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	var found []string
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(b)) {
			found = append(found, describe(pid))
		}
	}
	return found
}

// Processes returns the command lines of all live processes that daemons of this test binary started.
func Processes() []string {
	entries, _ := os.ReadDir("/proc")
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || e.Name() == strconv.Itoa(os.Getpid()) {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		if bytes.Contains(env, []byte(MarkName+"="+Mark()+"\x00")) {
			found = append(found, describe(e.Name()))
		}
	}
	return found
}

func describe(pid string) string {
	line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
	return pid + " " + strings.TrimSpace(string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
}
