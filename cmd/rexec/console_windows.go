package main

import (
	"golang.org/x/sys/windows"

	"rexec/internal/charset"
)

// Code pages of GBK and GB 18030 (Code Page Identifiers, Win32).
const (
	cpGBK     = 936
	cpGB18030 = 54936
)

// consoleCharset is always UTF-8: the Go runtime reads and writes consoles and arguments in UTF-16, and
// turns them from and into UTF-8. The console's code page only tells what its user reads.
func consoleCharset() (m charset.Mode, chinese, ok bool) {
	cp, err := windows.GetConsoleOutputCP()
	return charset.UTF8, err == nil && (cp == cpGBK || cp == cpGB18030), true
}
