//go:build !linux && !darwin

package ttymode

import "rexec/internal/proto"

// Read returns none: what a terminal has here has no numbers.
func Read(int) []proto.Mode { return nil }
