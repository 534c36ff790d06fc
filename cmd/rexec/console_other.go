//go:build !windows

package main

import "rexec/internal/charset"

// consoleCharset is not there: the locale says what a terminal takes.
func consoleCharset() (m charset.Mode, chinese, ok bool) { return charset.UTF8, false, false }
