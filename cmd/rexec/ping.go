package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// ping is rexec ping: round trips over an authenticated connection, told as ping(8) tells them. It
// returns the exit code: 0 if every question was answered, 1 if some were not.
func (p *program) ping(ctx context.Context, args []string) int {
	count, every, err := p.pingOptions(args)
	if err == nil && p.options.help {
		fmt.Fprint(p.out, usage)
		return 0
	}
	if err == nil {
		err = p.locate()
	}
	if err != nil {
		return p.fail(err)
	}
	p.client = p.newClient(nil)
	defer func() { _ = p.client.Close() }()
	if err := p.client.Connect(ctx); err != nil {
		return p.fail(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := catchSignals()
	go func() {
		<-signals
		cancel()
	}()
	s := pingStats{out: output(p.out)}
	s.say("PING %s (%s) over %s\n", p.target.host, p.target.address, p.client.Transport())
	s.run(ctx, p, count, every)
	s.print(p)
	if s.failed != nil && !errors.Is(s.failed, syscall.EPIPE) {
		return p.fail(s.failed)
	}
	if s.answered < s.sent || s.sent == 0 {
		return 1
	}
	return 0
}

// pingOptions reads the command line behind the word ping. A count of 0 has no end.
func (p *program) pingOptions(args []string) (count int, every time.Duration, err error) {
	every = time.Second
	o := &options{statusFD: -1}
	p.options = o
	set := pflag.NewFlagSet("rexec ping", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.IntVarP(&count, "count", "c", 0, "")
	set.VarP(span{&every}, "interval", "i", "")
	set.VarP(&o.port, "port", "p", "")
	set.Var(&o.keys, "identity", "")
	set.BoolVar(&o.tcp, "tcp", false, "")
	set.BoolVar(&o.udp, "udp", false, "")
	set.BoolVarP(&o.quiet, "quiet", "q", false, "")
	set.CountVarP(&o.verbose, "verbose", "v", "")
	set.BoolVarP(&o.help, "help", "h", false, "")
	if err := set.Parse(args); err != nil {
		return 0, 0, misuse("ping: %v", err)
	}
	switch {
	case o.help:
		return 0, 0, nil
	case set.NArg() != 1:
		return 0, 0, misuse("ping: want one host, not %d", set.NArg())
	case set.Changed("count") && count < 1:
		return 0, 0, misuse("ping: -c %d: want at least 1", count)
	}
	o.destination = set.Arg(0)
	return count, every, o.check()
}

// pingStats are the round trips so far.
type pingStats struct {
	began          time.Time
	sent, answered int
	min, max       time.Duration
	sum, squares   float64 // milliseconds

	out    io.Writer
	failed error // of out; whoever cannot be told anything needs no answers
}

func (s *pingStats) say(format string, args ...any) {
	if s.failed == nil {
		_, s.failed = fmt.Fprintf(s.out, format, args...)
	}
}

// run asks until count is reached, ctx ends or nobody reads the answers. An answer that is late delays the next question.
func (s *pingStats) run(ctx context.Context, p *program, count int, every time.Duration) {
	s.began = time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		d, err := p.client.Ping(ctx)
		if err != nil && ctx.Err() != nil {
			return // the last question was withdrawn
		}
		s.sent++
		if err != nil {
			s.say("seq=%d lost: %s\n", s.sent, printable(err.Error()))
		} else {
			s.add(d)
			if !p.options.quiet {
				s.say("seq=%d time=%.3f ms\n", s.sent, milliseconds(d))
			}
		}
		if s.sent == count || s.failed != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *pingStats) add(d time.Duration) {
	if s.answered == 0 || d < s.min {
		s.min = d
	}
	s.max = max(s.max, d)
	s.answered++
	ms := milliseconds(d)
	s.sum += ms
	s.squares += ms * ms
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *pingStats) print(p *program) {
	s.say("\n--- %s ping statistics ---\n", p.target.host)
	lost := 0
	if s.sent > 0 {
		lost = 100 * (s.sent - s.answered) / s.sent
	}
	s.say("%d sent, %d answered, %d%% lost, time %d ms\n", s.sent, s.answered, lost,
		time.Since(s.began).Milliseconds())
	if s.answered == 0 {
		return
	}
	n := float64(s.answered)
	mean := s.sum / n
	deviation := math.Sqrt(max(0, s.squares/n-mean*mean))
	s.say("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", milliseconds(s.min), mean,
		milliseconds(s.max), deviation)
}
