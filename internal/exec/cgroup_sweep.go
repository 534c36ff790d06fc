//go:build linux

package exec

import "time"

// removal is a cgroup whose command has ended.
type removal struct {
	*cgroup
	due   time.Time
	pause time.Duration // before the next try
}

// The first try leaves the processor to those who wait for the outcome. The last
// pause is long: what is still there then is a process in the background.
const (
	firstSweep = 2 * time.Millisecond
	lastSweep  = 5 * time.Second
)

// remove has g removed as soon as no process is left in it. It does not wait.
func (c *Cgroups) remove(g *cgroup) {
	c.mu.Lock()
	c.ended = append(c.ended, removal{g, time.Now().Add(firstSweep), firstSweep})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// sweep removes cgroups until quit. Trying it is the cheapest way to see whether
// one is empty, and needs no watch that could be missed or leaked.
func (c *Cgroups) sweep() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Reset(c.sweepOnce(time.Now()))
	}
}

// sweepOnce tries what is due and returns how long the rest can wait.
func (c *Cgroups) sweepOnce(now time.Time) time.Duration {
	c.mu.Lock()
	all := c.ended
	c.ended = nil
	c.mu.Unlock()
	next := time.Hour
	var left []removal
	for _, r := range all {
		if !r.due.After(now) {
			if r.removed() {
				continue
			}
			r.pause = min(2*r.pause, lastSweep)
			r.due = now.Add(r.pause)
		}
		next = min(next, r.due.Sub(now))
		left = append(left, r)
	}
	c.mu.Lock()
	c.ended = append(c.ended, left...)
	c.mu.Unlock()
	return next
}
