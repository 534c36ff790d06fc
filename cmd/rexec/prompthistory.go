package main

import (
	"errors"
	"path/filepath"
	"runtime"
)

// historyPath is the file of a server's history: in the directory for what is neither a setting nor worth a backup (XDG
// Base Directory Specification, which says to pass over relative paths), on Windows beside the keys. The server goes by
// its identity: it may have many names, and addresses.
func historyPath(getenv func(string) string, server string) (string, error) {
	dir := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		dir = ""
	}
	if dir == "" && runtime.GOOS == "windows" {
		config, err := configDir()
		return filepath.Join(config, "history", server), err
	}
	if home := getenv("HOME"); dir == "" && filepath.IsAbs(home) {
		dir = filepath.Join(home, ".local", "state")
	}
	if dir == "" {
		return "", errNoState
	}
	return filepath.Join(dir, "rexec", "history", server), nil
}

var errNoState = errors.New("no place for it; set HOME or XDG_STATE_HOME")
