//go:build unix && !linux

package auth

import "syscall"

// changeTime is zero where the field has another name: the daemon, which asks, runs on Linux.
func changeTime(*syscall.Stat_t) (seconds, nanos int64) { return 0, 0 }
