//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// wanCold is a client process that runs true over a new connection.
func wanCold(ctx context.Context, l *lab) ([]result, error) {
	ssh := l.process(l.sshd.command("true"))
	tcp := l.process(l.rexecd.with([]string{"--tcp"}, "true"))
	udp := l.process(l.rexecd.with([]string{"--udp"}, "true"))
	auto := l.process(l.rexecd.command("true"))
	if err := alternate(ctx, l.times(15, 3), ssh, tcp, udp, auto); err != nil {
		return nil, err
	}
	line := func(what string, c *contender, most float64) result {
		return result{
			What: "`true`, new connection, " + what, Beside: "ssh", Unit: ms, Theirs: ssh.median(), Ours: c.median(),
			Runs: len(c.values), Goal: goal{atMost, most * roundTrip},
		}
	}
	return []result{line("`--tcp`", tcp, 3.2), line("`--udp`", udp, 2.2), line("auto", auto, 2.2)}, nil
}

// roundTrip of the link, in milliseconds.
const roundTrip = float64(2 * oneWay / time.Millisecond)

// wanNext is the next command on an open connection.
func wanNext(ctx context.Context, l *lab) ([]result, error) {
	m, err := l.sshd.startMaster(ctx, "mux")
	if err != nil {
		return nil, err
	}
	defer m.stop()
	next := func(c *client.Client) *contender {
		return milliseconds(func(ctx context.Context) (time.Duration, error) {
			begin := time.Now()
			err := runTrue(ctx, c)
			return time.Since(begin), err
		})
	}
	overTCP, overUDP := l.rexecd.over(client.TCP), l.rexecd.over(client.UDP)
	defer func() { _ = errors.Join(overTCP.Close(), overUDP.Close()) }() // nothing is lost with them
	ssh, tcp, udp := l.process(l.sshd.through(m, "true")), next(overTCP), next(overUDP)
	kept, end, err := l.kept(ctx)
	if err != nil {
		return nil, err
	}
	persist := l.process(kept)
	err = alternate(ctx, l.times(15, 3), ssh, tcp, udp, persist)
	if err = errors.Join(err, end()); err != nil {
		return nil, err
	}
	line := func(what string, c *contender) result {
		return result{
			What: what, Beside: "ssh, multiplexed, a process",
			Unit: ms, Theirs: ssh.median(), Ours: c.median(), Runs: len(c.values), Goal: goal{atMost, 1.1 * roundTrip},
		}
	}
	const library = "`sh -c true`, next on an open connection, library call, "
	return []result{line(library+"TCP", tcp), line(library+"UDP", udp), line("`true`, `--persist`, a process", persist)}, nil
}

// wanLossy is a large file over a link that loses packets, once each way of carrying it.
func wanLossy(ctx context.Context, l *lab) ([]result, error) {
	size := 100_000_000
	if l.quick {
		size = 2_000_000
	}
	path, want, err := l.noise(size)
	if err != nil {
		return nil, err
	}
	fetch := func(p program) *contender {
		return &contender{measure: func(ctx context.Context) (float64, error) {
			got, err := os.Create(filepath.Join(l.dir, "got"))
			if err != nil {
				return 0, err
			}
			defer got.Close()
			took, err := l.run(ctx, p, got)
			if err != nil {
				return 0, err
			}
			return took.wall.Seconds(), compare(got.Name(), want)
		}}
	}
	ssh := fetch(l.sshd.command("cat", path))
	tcp := fetch(l.rexecd.with([]string{"--tcp"}, "cat", path))
	udp := fetch(l.rexecd.with([]string{"--udp"}, "cat", path))
	auto := fetch(l.rexecd.command("cat", path))
	for _, c := range []*contender{ssh, tcp, auto, udp} {
		v, err := c.measure(ctx) // minutes: no round to warm up
		if err != nil {
			return nil, err
		}
		c.values = []float64{v}
	}
	line := func(what string, c *contender) result {
		return result{
			What: fmt.Sprintf("%d MB, 1 %% loss each way, byte-exact, %s", size/1e6, what), Beside: "ssh",
			Unit: seconds, Theirs: ssh.median(), Ours: c.median(), Runs: 1,
		}
	}
	return []result{line("`--tcp`", tcp), line("auto", auto), line("`--udp`", udp)}, nil
}

func compare(path string, want []byte) error {
	got, err := os.ReadFile(path)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%d bytes that are not the %d of the file", len(got), len(want))
	}
	return err
}

// wanFailures breaks the path of a transfer over UDP in the middle.
func wanFailures(ctx context.Context, l *lab) ([]result, error) {
	path, want, err := l.noise(50_000_000)
	if err != nil {
		return nil, err
	}
	a, b := os.Getenv("NS_A"), os.Getenv("NS_B")
	link, err := strconv.Atoi(os.Getenv("WANLINK_PID"))
	if err != nil {
		return nil, fmt.Errorf("the slow link's process: %w", err)
	}
	device := strings.TrimSuffix(a, "-a")
	var results []result
	for _, f := range []failure{
		{"link cut for 20 s", client.UDP, "", [][]string{{"kill", "-USR1", fmt.Sprint(link)}, {"sleep", "20"}, {"kill", "-USR2", fmt.Sprint(link)}}},
		{"the client's address changed: the same connection", client.UDP, "lost", [][]string{
			{"ip", "-n", b, "route", "add", "10.77.0.3", "dev", device + "b"},
			{"ip", "-n", a, "addr", "del", "10.77.0.1", "peer", "10.77.0.2", "dev", device + "a"},
			{"sleep", "0.3"}, // without any
			{"ip", "-n", a, "addr", "add", "10.77.0.3", "peer", "10.77.0.2", "dev", device + "a"},
		}},
		{"UDP dropped from there on: ended over TCP", client.Auto, "", [][]string{
			{"ip", "netns", "exec", b, "nft", "add table inet wan; add chain inet wan in { type filter hook input priority 0; }; " +
				"add rule inet wan in meta l4proto udp drop"},
		}},
	} {
		took, err := f.measure(ctx, l, path, want)
		if err != nil {
			return results, fmt.Errorf("%s: %w", f.what, err)
		}
		results = append(results, result{
			What: "50 MB over UDP, " + f.what + "; complete, run once", Unit: seconds, Ours: took.Seconds(), Runs: 1,
		})
	}
	return results, nil
}

// failure is what happens to a transfer once a fifth of it is there.
type failure struct {
	what      string
	transport client.Transport
	never     string // what the client's log must not say
	commands  [][]string
}

func (f failure) measure(ctx context.Context, l *lab, path string, want []byte) (time.Duration, error) {
	var log progress
	c := client.New(client.Options{
		Address: l.rexecd.address, Key: l.rexecd.token.Key, Pins: l.rexecd.store, Transport: f.transport, Log: log.add,
	})
	defer func() { _ = c.Close() }() // nothing is lost with it
	runs := filepath.Join(l.dir, "runs")
	_ = os.Remove(runs)
	failed := make(chan error, 1)
	var got bytes.Buffer
	out := writer(func(b []byte) (int, error) {
		if n := got.Len(); n < len(want)/5 && n+len(b) >= len(want)/5 {
			go func() { failed <- f.happen(ctx) }() // waited for below
		}
		return got.Write(b)
	})
	begin := time.Now()
	r, err := c.Run(ctx, &client.Command{
		Run: proto.Run{Shell: fmt.Appendf(nil, "echo run >>'%s'; cat '%s'", runs, path)}, Stdout: out,
	})
	took := time.Since(begin)
	if err != nil {
		return 0, err
	}
	if err := <-failed; err != nil {
		return 0, err
	}
	times, err := os.ReadFile(runs)
	switch {
	case err != nil:
		return 0, err
	case string(times) != "run\n":
		return 0, fmt.Errorf("run %d times", strings.Count(string(times), "\n"))
	case r.Code != 0 || !bytes.Equal(got.Bytes(), want):
		return 0, fmt.Errorf("code %d, %d of %d bytes, or not the same", r.Code, got.Len(), len(want))
	case f.transport == client.Auto && c.Transport() != "TCP":
		return 0, errors.New("it did not go on over TCP:\n" + log.text())
	case f.never != "" && strings.Contains(log.text(), f.never):
		return 0, errors.New("not as it should go:\n" + log.text())
	case !strings.Contains(log.text(), "over UDP in"):
		return 0, errors.New("it did not begin over UDP:\n" + log.text())
	}
	return took, nil
}

func (f failure) happen(ctx context.Context) error {
	for _, words := range f.commands {
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", words[0], err, out)
		}
	}
	return nil
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// progress collects what a client tells.
type progress struct {
	mu sync.Mutex
	b  strings.Builder
}

func (p *progress) add(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(&p.b, format+"\n", args...)
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}
