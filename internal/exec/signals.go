//go:build linux

package exec

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Realtime signals as glibc numbers them for programs (signal(7)): the kernel
// has 32 to 64, the C library keeps the first two.
const (
	rtMin = 34
	rtMax = 64
)

// SignalName returns the name of sig without "SIG", such as KILL or RTMIN+1,
// and the number for one that has no name.
func SignalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	switch {
	case sig == rtMin:
		return "RTMIN"
	case sig == rtMax:
		return "RTMAX"
	case sig > rtMin && sig < rtMax:
		return "RTMIN+" + strconv.Itoa(int(sig)-rtMin)
	}
	return strconv.Itoa(int(sig))
}

// ParseSignal returns the signal with the given name, with or without "SIG",
// in either case. Numbers are refused: they differ between systems.
func ParseSignal(name string) (syscall.Signal, error) {
	bare := strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if sig := unix.SignalNum("SIG" + bare); sig != 0 {
		return sig, nil
	}
	switch bare {
	case "RTMIN":
		return rtMin, nil
	case "RTMAX":
		return rtMax, nil
	}
	if digits, ok := strings.CutPrefix(bare, "RTMIN+"); ok {
		n, err := strconv.ParseUint(digits, 10, 8)
		if err == nil && strconv.FormatUint(n, 10) == digits && n <= rtMax-rtMin {
			return syscall.Signal(rtMin + n), nil
		}
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}
