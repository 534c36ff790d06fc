//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// clientStart is row 8. OpenSSH's figures are for orientation: the goal is absolute.
func clientStart(ctx context.Context, l *lab) ([]result, error) {
	version := program{path: l.rexecd.rexec, args: []string{"--version"}}
	theirs := program{path: "ssh", args: []string{"-V"}}
	ssh, rexec := l.process(theirs), l.process(version)
	if err := alternate(ctx, l.times(200, 30), ssh, rexec); err != nil {
		return nil, err
	}
	sshPeak := &contender{measure: func(ctx context.Context) (float64, error) { return peak(ctx, theirs) }}
	rexecPeak := &contender{measure: func(ctx context.Context) (float64, error) { return peak(ctx, version) }}
	if err := alternate(ctx, l.times(10, 3), sshPeak, rexecPeak); err != nil {
		return nil, err
	}
	return []result{{
		What: "`rexec --version`", Beside: "`ssh -V`", Unit: ms,
		Theirs: ssh.median(), Ours: rexec.median(), Runs: len(ssh.values), Goal: goal{atMost, 5},
	}, {
		What: "its largest resident set", Beside: "`ssh -V`", Unit: mib,
		Theirs: sshPeak.median(), Ours: rexecPeak.median(), Runs: len(sshPeak.values), Goal: goal{atMost, 15},
	}}, nil
}

// peak returns the largest resident set of a program in MiB. The kernel's ru_maxrss will not do: at
// execve(2) it takes over the peak of the program that forked, which is this one. So the program is
// stopped right before its end (ptrace(2), PTRACE_O_TRACEEXIT), when VmHWM is still there to be read.
func peak(ctx context.Context, p program) (float64, error) {
	// All requests must come from the thread that started the program.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()         //nolint:errcheck // traceToExit has looked at its end
	defer cmd.Process.Kill() //nolint:errcheck // it has ended, unless something went wrong
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return 0, err
	}
	if err := syscall.PtraceSetOptions(pid, ptraceTraceExit); err != nil {
		return 0, fmt.Errorf("tracing %s: %w", p.path, err)
	}
	for signal := 0; ; {
		if err := syscall.PtraceCont(pid, signal); err != nil {
			return 0, fmt.Errorf("tracing %s: %w", p.path, err)
		}
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			return 0, err
		}
		switch {
		case !status.Stopped():
			return 0, fmt.Errorf("tracing %s: it ended without being seen", p.path)
		case status.TrapCause() == ptraceEventExit:
			v, err := kibibytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
			_ = syscall.PtraceDetach(pid)
			return v / (1 << 20), err
		}
		if signal = int(status.StopSignal()); signal == int(syscall.SIGTRAP) {
			signal = 0
		}
	}
}

// From linux/ptrace.h; package syscall has no names for them.
const (
	ptraceTraceExit = 0x40
	ptraceEventExit = 6
)
