//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// transfer is what rows 5 and 6 have measured: one stream of output, with a client that writes it to
// /dev/null, and with one that writes to a pipe that this program reads.
type transfer struct {
	size      int64
	ssh       *streamer
	rexec     *streamer
	sshPipe   *streamer
	rexecPipe *streamer
	udp       *streamer // half of size
}

// streamer runs one program that moves size bytes from a service.
type streamer struct {
	contender // GB/s, where a GB is 10^9 bytes
	lab       *lab
	program   program
	service   *service
	size      int64
	times     string // where the command's shell writes its CPU time
	cpu       []cpuShare
}

// cpuShare is CPU time in seconds per GB.
type cpuShare struct {
	all     float64 // client, service and command
	command float64 // the command alone
}

// transferred measures once and remembers it.
func (l *lab) transferred(ctx context.Context) (*transfer, error) {
	if l.stream != nil {
		return l.stream, nil
	}
	t := &transfer{size: 2 << 30}
	if l.quick {
		t.size = 512 << 20
	}
	command := fmt.Sprintf("head -c %d /dev/zero && times >'%s'", t.size, filepath.Join(l.dir, timesFile))
	// The fastest cipher that OpenSSH has where the processor knows AES.
	ssh := l.sshd.with([]string{"-c", "aes128-gcm@openssh.com"}, command)
	rexec := l.rexecd.command(command)
	t.ssh = l.streamer(ssh, l.sshd.service, t.size, toNull)
	t.rexec = l.streamer(rexec, l.rexecd.service, t.size, toNull)
	t.sshPipe = l.streamer(ssh, l.sshd.service, t.size, toPipe)
	t.rexecPipe = l.streamer(rexec, l.rexecd.service, t.size, toPipe)
	t.udp = l.streamer(l.rexecd.with([]string{"--udp"}, strings.Replace(command, fmt.Sprint(t.size), fmt.Sprint(t.size/2), 1)),
		l.rexecd.service, t.size/2, toNull)
	if err := alternate(ctx, l.times(5, 2), &t.ssh.contender, &t.rexec.contender, &t.udp.contender); err != nil {
		return nil, err
	}
	if err := alternate(ctx, l.times(3, 1), &t.sshPipe.contender, &t.rexecPipe.contender); err != nil {
		return nil, err
	}
	l.stream = t
	return t, nil
}

// timesFile lies in the lab's directory.
const timesFile = "times"

type sink bool

const (
	toNull sink = false
	toPipe sink = true
)

func (l *lab) streamer(p program, s *service, size int64, to sink) *streamer {
	st := &streamer{lab: l, program: p, service: s, size: size, times: filepath.Join(l.dir, timesFile)}
	st.measure = st.toNull
	if to == toPipe {
		st.measure = st.toPipe
	}
	return st
}

func (s *streamer) rate(took time.Duration) float64 {
	return float64(s.size) / 1e9 / took.Seconds()
}

func (s *streamer) toNull(ctx context.Context) (float64, error) {
	before, err := s.serviceCPU(ctx)
	if err != nil {
		return 0, err
	}
	took, err := s.lab.run(ctx, s.program, nil)
	if err != nil {
		return 0, err
	}
	after, err := s.serviceCPU(ctx)
	if err != nil {
		return 0, err
	}
	command, err := shellTimes(s.times)
	if err != nil {
		return 0, err
	}
	perGB := func(d time.Duration) float64 { return d.Seconds() * 1e9 / float64(s.size) }
	s.cpu = append(s.cpu, cpuShare{all: perGB(took.cpu + after - before), command: perGB(command)})
	return s.rate(took.wall), nil
}

// shellTimes adds up what the shell's times wrote: user and system time of the shell, and on a second
// line of its children.
func shellTimes(path string) (time.Duration, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, f := range strings.Fields(string(b)) {
		d, err := time.ParseDuration(f)
		if err != nil {
			return 0, fmt.Errorf("reading the shell's times: %w", err)
		}
		sum += d
	}
	return sum, nil
}

// serviceCPU is the CPU time of a service, of its ended sessions and of the commands they ran. It
// waits until all of them have ended, because the kernel adds a process to its parent's account when
// the parent has waited for it.
func (s *streamer) serviceCPU(ctx context.Context) (time.Duration, error) {
	err := poll(ctx, 5*time.Second, func() bool { return len(descendants(s.service.pid())) == 0 })
	if err != nil {
		return 0, fmt.Errorf("waiting for the processes of a finished command: %w", err)
	}
	st, err := readStat(s.service.pid())
	return st.cpu + st.children, err
}

// toPipe also counts the bytes that arrive.
func (s *streamer) toPipe(ctx context.Context) (float64, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	type count struct {
		n   int64
		err error
	}
	counted := make(chan count, 1)
	go func() {
		n, err := io.CopyBuffer(onlyWriter{io.Discard}, r, make([]byte, 256<<10))
		counted <- count{n, err}
	}()
	took, err := s.lab.run(ctx, s.program, w)
	w.Close()
	got := <-counted
	switch {
	case err != nil:
		return 0, err
	case got.err != nil:
		return 0, got.err
	case got.n != s.size:
		return 0, fmt.Errorf("%d bytes arrived, want %d", got.n, s.size)
	}
	return s.rate(took.wall), nil
}

// onlyWriter hides ReadFrom, whose buffer is small.
type onlyWriter struct{ io.Writer }

// throughput is row 5.
func throughput(ctx context.Context, l *lab) ([]result, error) {
	t, err := l.transferred(ctx)
	if err != nil {
		return nil, err
	}
	size := fmt.Sprintf("%.3g GiB of output", float64(t.size)/(1<<30))
	return []result{{
		What: size + " to /dev/null", Beside: "ssh, aes128-gcm", Unit: gbPerSecond,
		Theirs: t.ssh.median(), Ours: t.rexec.median(), Runs: len(t.ssh.values), Goal: goal{ratioAtLeast, 1.25},
	}, {
		What: size + " into a pipe", Beside: "ssh, aes128-gcm", Unit: gbPerSecond,
		Theirs: t.sshPipe.median(), Ours: t.rexecPipe.median(), Runs: len(t.sshPipe.values),
	}, {
		What: fmt.Sprintf("%.3g GiB of output over UDP to /dev/null", float64(t.udp.size)/(1<<30)), Beside: "ssh, aes128-gcm",
		Unit: gbPerSecond, Theirs: t.ssh.median(), Ours: t.udp.median(), Runs: len(t.udp.values), Goal: goal{atLeast, 0.3},
	}}, nil
}

// cpuTime is row 6.
func cpuTime(ctx context.Context, l *lab) ([]result, error) {
	t, err := l.transferred(ctx)
	if err != nil {
		return nil, err
	}
	var without, with [2][]float64
	for i, s := range []*streamer{t.ssh, t.rexec} {
		for _, c := range s.cpu[1:] { // the first round fills caches
			without[i] = append(without[i], c.all-c.command)
			with[i] = append(with[i], c.all)
		}
	}
	return []result{{
		What: "CPU time of row 5, client + server", Beside: "ssh, aes128-gcm", Unit: secondsPerGB,
		Theirs: median(without[0]), Ours: median(without[1]), Runs: len(without[0]), Goal: goal{ratioAtMost, 0.8},
	}, {
		What: "the same with the command's own", Beside: "ssh, aes128-gcm", Unit: secondsPerGB,
		Theirs: median(with[0]), Ours: median(with[1]), Runs: len(with[0]),
	}}, nil
}
