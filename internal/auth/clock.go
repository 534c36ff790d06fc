package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Clock remembers the latest time that this server has seen, in a file, so that a clock that is set back
// gives no key back its validity: the ends of keys are judged by that time. It may be used by many
// goroutines at once, and none of them waits for the disk.
//
// A clock that was once wrong in the other direction leaves a time in the future behind, and keys that have
// an end seem to be over. Who administers the server then removes the file; Keep notices.
type Clock struct {
	path string

	mu     sync.Mutex
	latest time.Time // without a monotonic reading
	saved  time.Time // what the file says; zero: there is none of ours
}

// clockSlack is how far a clock may be behind the latest time without a word: corrections of that size are
// everyday.
const clockSlack = 2 * time.Minute

// clockEvery is how far the latest time moves before it is written without need.
const clockEvery = time.Hour

const (
	clockLimit   = 4 << 10
	clockComment = `# The latest time that this server has seen, by which it judges the ends of keys. If it lies in the
# future, since the clock was wrong, remove this file; a running rexecd notices within seconds.
`
)

// OpenClock reads the file of the latest time. A missing one is no error, a bad one a *FileError.
func OpenClock(path string) (*Clock, error) {
	latest, err := readClock(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the latest time seen: %w", err)
	}
	return &Clock{path: path, latest: latest, saved: latest}, nil
}

func readClock(path string) (latest time.Time, err error) {
	text, _, err := readSecret(path, clockLimit)
	if err != nil {
		return latest, err
	}
	bad := &FileError{Path: path, Msg: "does not say a time", Fix: "remove it"}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		t, err := time.Parse(time.RFC3339, line)
		if err != nil || !latest.IsZero() {
			return time.Time{}, bad
		}
		latest = t.UTC()
	}
	if latest.IsZero() {
		return latest, bad
	}
	return latest, nil
}

// at makes an instant of what the clock says now. Without a Clock there is no other time than that.
func (c *Clock) at(now time.Time) instant {
	now = now.Round(0).UTC() // by the monotonic clock, nothing was ever set back
	if c == nil {
		return instant{now, now}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.latest) {
		c.latest = now
	}
	return instant{now, c.latest}
}

// Latest returns the latest time that this server has seen, at least now.
func (c *Clock) Latest(now time.Time) time.Time { return c.at(now).latest }

// instant is the time by which a key is judged.
type instant struct {
	now    time.Time // what the clock says
	latest time.Time // the latest time that this server has seen, never before now
}

// behind reports whether the clock was set back by more than a correction.
func (i instant) behind() bool { return i.latest.Sub(i.now) > clockSlack }

// String says what the clock says, and what is wrong with it.
func (i instant) String() string {
	text := "the server's clock says " + date(i.now)
	if i.behind() {
		text += ", but it has said " + date(i.latest) + " before, which counts"
	}
	return text
}

// Save writes the latest time if it matters: if it is the end of a key of the store that has passed since the last
// time, or if it is much later than the time in the file.
func (c *Clock) Save(s *Store) error {
	latest, saved := c.times()
	if latest.Sub(saved) < clockEvery && !passed(s.Keys(), saved, latest) {
		return nil
	}
	return c.write(latest)
}

// passed reports whether a key ended after from, and not after to.
func passed(keys []Key, from, to time.Time) bool {
	between := func(end time.Time) bool { return end.After(from) && !end.After(to) }
	for _, k := range keys {
		if between(k.NotAfter) || k.Old != nil && between(k.Old.Until) {
			return true
		}
	}
	return false
}

func (c *Clock) times() (latest, saved time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest, c.saved
}

func (c *Clock) write(latest time.Time) error {
	// Rounded up: what ended within this second has ended for good.
	latest = latest.Add(time.Second - 1).Truncate(time.Second)
	if err := replaceFile(c.path, []byte(clockComment+latest.Format(time.RFC3339)+"\n")); err != nil {
		return fmt.Errorf("writing the latest time seen: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved = latest
	return nil
}

// look takes over what the clock says now. If the file is gone that was there before, what the clock says is the
// latest time, whatever was seen before; not so if the directory is gone with it, as that was nobody's decision.
func (c *Clock) look(now time.Time) instant {
	_, saved := c.times()
	if saved.IsZero() {
		return c.adopt(now)
	}
	_, err := os.Lstat(c.path)
	if _, dirErr := os.Lstat(filepath.Dir(c.path)); errors.Is(err, fs.ErrNotExist) && dirErr == nil {
		c.mu.Lock()
		c.latest, c.saved = time.Time{}, time.Time{}
		c.mu.Unlock()
	}
	return c.at(now)
}

// adopt is look without a file of ours: one that has come since, as with a file system that was mounted, counts as well.
func (c *Clock) adopt(now time.Time) instant {
	if latest, err := readClock(c.path); err == nil {
		c.mu.Lock()
		c.saved = latest
		c.mu.Unlock()
		c.at(latest)
	}
	return c.at(now)
}

// Keeping says how Keep works.
type Keeping struct {
	Now     func() time.Time
	Every   time.Duration // between two looks at the clock
	Store   *Store
	Problem func(error) // is told of an error, and of a clock that is behind, once each time
}

// Keep saves what matters until ctx ends, and then a last time.
func (c *Clock) Keep(ctx context.Context, k Keeping) {
	tick := time.NewTicker(k.Every)
	defer tick.Stop()
	var told string
	step := func(save func() error) {
		i := c.look(k.Now())
		err := save()
		if err == nil && i.behind() {
			err = fmt.Errorf("the clock was set back: it has said %s before, by which the ends of keys are judged; "+
				"if that time was wrong: rm %s", date(i.latest), c.path)
		}
		text := fmt.Sprint(err)
		if err != nil && text != told {
			k.Problem(err)
		}
		told = text
	}
	soon := func() error { return c.Save(k.Store) }
	step(soon)
	for {
		select {
		case <-ctx.Done():
			step(func() error {
				latest, saved := c.times()
				if !latest.After(saved) {
					return nil
				}
				return c.write(latest)
			})
			return
		case <-tick.C:
			step(soon)
		}
	}
}
