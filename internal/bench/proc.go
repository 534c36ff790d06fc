//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc/PID/stat (proc(5)): USER_HZ, 100 on every architecture that Go
// runs Linux on.
const tick = time.Second / 100

// stat are fields of /proc/PID/stat.
type stat struct {
	parent   int
	zombie   bool
	cpu      time.Duration // of its own
	children time.Duration // CPU time of the children it has waited for, and theirs
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The name of the program may hold anything, but no field after it a parenthesis.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 15 {
		return stat{}, fmt.Errorf("reading /proc/%d/stat: %d fields", pid, len(f))
	}
	var n [15]int64
	for _, i := range []int{1, 11, 12, 13, 14} {
		if n[i], err = strconv.ParseInt(string(f[i]), 10, 64); err != nil {
			return stat{}, fmt.Errorf("reading /proc/%d/stat: %w", pid, err)
		}
	}
	return stat{
		parent: int(n[1]), zombie: f[0][0] == 'Z',
		cpu: time.Duration(n[11]+n[12]) * tick, children: time.Duration(n[13]+n[14]) * tick,
	}, nil
}

// descendants returns the processes below pid, in no order. Processes that come and go meanwhile may
// be missed.
func descendants(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(p); err == nil {
			children[s.parent] = append(children[s.parent], p)
		}
	}
	below := slices.Clone(children[pid])
	for i := 0; i < len(below); i++ {
		below = append(below, children[below[i]]...)
	}
	return below
}

// fields returns the fields of the line of a /proc file that begins with key.
func fields(path, key string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), key); ok {
			return strings.Fields(rest), nil
		}
	}
	return nil, fmt.Errorf("no %s in %s", key, path)
}

// kibibytes reads a line such as "Pss:  1234 kB" and returns bytes.
func kibibytes(path, key string) (float64, error) {
	f, err := fields(path, key)
	if err != nil {
		return 0, err
	}
	if len(f) != 2 || f[1] != "kB" {
		return 0, fmt.Errorf("reading %s: %s is %q", path, key, f)
	}
	n, err := strconv.ParseFloat(f[0], 64)
	return n * 1024, err
}

// pss is the proportional set size in bytes: what is shared counts in equal parts.
func pss(pid int) (float64, error) {
	return kibibytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
}

// sockets counts the open sockets of a process.
func sockets(pid int) (int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n, nil
}
