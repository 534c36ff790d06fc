package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"rexec/internal/systemd"
)

// problems are what is wrong while the daemon goes on, by what they are about, in words that say what to
// do. The zero value has none.
type problems struct {
	mu  sync.Mutex
	all map[string]string
}

// set remembers a problem, or with nil that there is none any more, and reports whether that is news.
func (p *problems) set(about string, err error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if p.all[about] == text {
		return false
	}
	if p.all == nil {
		p.all = map[string]string{}
	}
	p.all[about] = text
	return true
}

// texts are the problems in a fixed order.
func (p *problems) texts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for about, text := range p.all {
		if text != "" {
			all = append(all, about+": "+text)
		}
	}
	slices.Sort(all)
	return all
}

// What problems are about.
const (
	aboutConfig = "the new configuration is not used"
	aboutCheck  = "self-check"
)

// statusEvery is how often the line in the service manager's status is brought up to date.
const statusEvery = 2 * time.Second

// supervise tells the service manager how the daemon is doing until ctx ends: a line for systemctl status,
// and for as long as the self-check is answered that the watchdog need not act.
func (d *daemon) supervise(ctx context.Context, listeners []net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	if !systemd.Managed() {
		return
	}
	if limit := systemd.Watchdog(); limit > 0 {
		wg.Go(func() { d.feed(ctx, limit/3, listeners) }) // two may be missed
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		if _, err := d.store.Refresh(); err != nil { // else a new file would be noticed by the next client only
			d.keyProblem(err)
		}
		d.showLine(false)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// feed checks again and again, and feeds the watchdog. What is only short of something, as of processes, is told and not ended:
// that would end all running commands, and the shortage may be theirs.
func (d *daemon) feed(ctx context.Context, every time.Duration, listeners []net.Listener) {
	systemd.Alive()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limit, cancel := context.WithTimeout(ctx, every)
		err := d.selfCheck(limit, listeners)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if d.problems.set(aboutCheck, err) && err != nil {
			d.log.Error("the self-check does not succeed", zap.Error(err))
		}
		if !errors.Is(err, errStuck) {
			systemd.Alive()
		}
	}
}

// shownLine is the line that the service manager was told last.
type shownLine struct {
	mu   sync.Mutex
	last string
	over bool
}

// end leaves the line to whoever tells of the daemon's end.
func (l *shownLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// showLine tells the service manager how the daemon is doing, if that is news or it is wanted again.
func (d *daemon) showLine(again bool) {
	d.shown.mu.Lock()
	defer d.shown.mu.Unlock()
	line := d.statusLine()
	if d.shown.over || line == d.shown.last && !again {
		return
	}
	systemd.Status(line)
	d.shown.last = line
}

// statusLine is the line for systemctl status. What is wrong comes first.
func (d *daemon) statusLine() string {
	parts := d.problems.texts()
	if err := d.store.Problem(); err != nil {
		parts = append(parts, "the key file is not used, the keys read before stay in force: "+err.Error())
	}
	if len(d.store.Keys()) == 0 {
		parts = append(parts, noKeys)
	}
	c := d.server.Counts()
	open := c.Unproven.TCP + c.Unproven.UDP + c.Sessions.TCP + c.Sessions.UDP
	return strings.Join(append(parts, count(int(open), "connection")+", "+
		count(d.jobs.Totals().Running, "command")+" running"), "; ")
}

const noKeys = "there are no keys, so everybody is refused; make one with: rexecd key add NAME"

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

// answering returns the listeners that answer, once they do. One that does not, as where the machine's packet
// filter keeps it from reaching itself, is told and not watched.
func (d *daemon) answering(ctx context.Context, listeners []net.Listener) []net.Listener {
	if !systemd.Managed() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(listeners), func(ln net.Listener) bool {
		ctx, cancel := context.WithTimeout(ctx, firstAnswer)
		defer cancel()
		err := d.within(ctx, func(ctx context.Context) error { return d.reach(ctx, ln) })
		if err != nil && ctx.Err() != context.Canceled {
			d.log.Warn("the daemon cannot reach itself, so the watchdog does not watch this",
				zap.String("transport", ln.Addr().Network()), zap.Stringer("address", ln.Addr()), zap.Error(err))
		}
		return err != nil
	})
}

// firstAnswer is how long the daemon's start may be held up by that for each listener.
const firstAnswer = 5 * time.Second

// askForTime keeps the service manager from ending the daemon while it drains, which is bounded by the
// configuration and not by the unit file, until stop is called.
func (d *daemon) askForTime() (stop func()) {
	return d.background(func(ctx context.Context) {
		const every = 5 * time.Second
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			systemd.Extend(3 * every)
			systemd.Alive()
			systemd.Status("stopping: " + count(d.jobs.Totals().Running, "command") + " still running")
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}
