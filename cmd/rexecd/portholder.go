package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder is who has a port of this machine, as its name and process ID; empty if /proc does not show it, which it
// does to root and to who runs that process. network is tcp or udp, or one of them with a 4 or 6 (proc_pid_net(5)).
func portHolder(network, port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return ""
	}
	inodes := map[string]bool{}
	for _, version := range []string{"", "6"} {
		text, _ := os.ReadFile("/proc/self/net/" + strings.TrimRight(network, "46") + version)
		for line := range strings.Lines(string(text)) {
			if inode := boundTo(line, n); inode != "" {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && inodes[target] {
			pid := strings.Split(file, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}

// boundTo returns the inode of the socket in a line, if it waits on the port for peers; else nothing.
func boundTo(line string, port uint64) string {
	f := strings.Fields(line)
	if len(f) < 10 || !strings.HasSuffix(f[2], ":0000") { // it has a peer, or is the heading
		return ""
	}
	_, hex, _ := strings.Cut(f[1], ":")
	if n, err := strconv.ParseUint(hex, 16, 16); err != nil || n != port {
		return ""
	}
	return f[9]
}
