//go:build linux

package exec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroups gives every command a cgroup v2 of its own (cgroups(7), and cgroup-v2 in
// the kernel's documentation), from which no process leaves by forking. The
// directory that it is opened on is arranged like this:
//
//	DIR               no process, because controllers are on below it
//	DIR/daemon        this program, if it was in DIR
//	DIR/jobs          all commands, which leave it some of DIR's processes
//	DIR/jobs/job-N    one command
type Cgroups struct {
	dir  string
	held *os.File // dir, locked against a second daemon

	kill         bool // whether there is cgroup.kill (Linux 5.14)
	memory, pids bool // controllers that commands have
	made         atomic.Uint64

	mu    sync.Mutex
	ended []removal
	wake  chan struct{} // receives when ended has grown
	quit  chan struct{}
	wg    sync.WaitGroup
}

// Names of the cgroups below ours.
const (
	daemonLeaf = "daemon"
	jobsGroup  = "jobs"
	jobPrefix  = "job-"
)

// OpenCgroups arranges a cgroup v2 for commands: dir, or with "" the one that this
// program is in, if that was delegated to it. What a daemon that did not end in
// order left running there is killed. The error says in a few words why it
// cannot be done; nothing is changed then. The caller must call [Cgroups.Close].
func OpenCgroups(dir string) (*Cgroups, error) {
	if dir == "" {
		own, err := thisHost().delegatedCgroup()
		if err != nil {
			return nil, err
		}
		dir = own
	}
	if err := checkCgroup(dir); err != nil {
		return nil, err
	}
	held, err := lockCgroup(dir)
	if err != nil {
		return nil, err
	}
	c := &Cgroups{dir: dir, held: held, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	c.wg.Go(c.sweep)
	if err := c.arrange(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// checkCgroup refuses what cannot be arranged. Only the root of all cgroups has
// no type.
func checkCgroup(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("looking at cgroup %s: %w", dir, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("%s is not a cgroup v2", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err != nil {
		return errors.New("the root of all cgroups belongs to nobody")
	}
	return nil
}

func lockCgroup(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening cgroup: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another daemon uses cgroup %s", dir)
	}
	return f, nil
}

func (c *Cgroups) arrange() error {
	_, err := os.Stat(c.file("cgroup.kill"))
	c.kill = err == nil
	c.clearLeftovers()
	// A cgroup with processes cannot have controllers on below it.
	if pids, err := readPids(c.dir); err != nil || len(pids) > 0 {
		if err := os.Mkdir(c.file(daemonLeaf), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("making a cgroup: %w", err)
		}
		if err := moveAll(c.dir, c.file(daemonLeaf)); err != nil {
			return err
		}
	}
	if err := os.Mkdir(c.file(jobsGroup), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making a cgroup: %w", err)
	}
	c.memory, c.pids = c.enable("memory"), c.enable("pids")
	// Time is then shared by commands and not by processes, of which one command
	// may have so many that the daemon gets none.
	c.enable("cpu")
	if c.pids {
		if err := c.reserve(); err != nil {
			return err
		}
	}
	return c.tryStart()
}

// enable turns a controller on for commands and reports whether it is on.
func (c *Cgroups) enable(controller string) bool {
	for _, dir := range []string{c.dir, c.file(jobsGroup)} {
		_ = writeSmall(dir+"/cgroup.subtree_control", "+"+controller)
	}
	on, err := readSmall(c.file(jobsGroup) + "/cgroup.subtree_control")
	return err == nil && slices.Contains(strings.Fields(on), controller)
}

// reserve keeps commands from taking the last threads from the daemon, whose
// runtime ends the program when it cannot start one.
func (c *Cgroups) reserve() error {
	most := "max"
	if all := c.MostPids(); all > 0 {
		most = strconv.Itoa(all - min(all/4, 256))
	}
	if err := writeSmall(c.file(jobsGroup)+"/pids.max", most); err != nil {
		return fmt.Errorf("limiting the processes of all commands: %w", err)
	}
	return nil
}

// tryStart has a child that never runs a command start inside a cgroup: old
// kernels, and filters of system calls in containers, do not let it.
func (c *Cgroups) tryStart() error {
	g, fd, err := c.create(&Spec{})
	if err != nil {
		return err
	}
	defer c.remove(g)
	defer unix.Close(fd)
	_, err = syscall.ForkExec(strings.Repeat("x", unix.PathMax), []string{"x"},
		&syscall.ProcAttr{Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}})
	if !errors.Is(err, syscall.ENAMETOOLONG) {
		return fmt.Errorf("starting a process inside a cgroup: %w", err)
	}
	return nil
}

// clearLeftovers ends what a predecessor left, for at most killBound.
func (c *Cgroups) clearLeftovers() {
	var left []*cgroup
	for _, name := range subgroups(c.file(jobsGroup)) {
		if strings.HasPrefix(name, jobPrefix) {
			g := c.job(name)
			g.kill()
			left = append(left, g)
		}
	}
	bound := time.Now().Add(killBound)
	for _, g := range left {
		for g.populated() && time.Now().Before(bound) {
			if !c.kill {
				g.killEach()
			}
			time.Sleep(time.Millisecond)
		}
		c.remove(g)
	}
}

// Dir is the cgroup that commands are below of.
func (c *Cgroups) Dir() string { return c.dir }

// Memory reports whether the memory of commands can be limited, Pids whether the
// number of their processes can.
func (c *Cgroups) Memory() bool { return c.memory }

// Pids is described at [Cgroups.Memory].
func (c *Cgroups) Pids() bool { return c.pids }

// MostPids is how many processes and threads all commands together may have, with
// the daemon's own; 0 if that is not limited.
func (c *Cgroups) MostPids() int {
	text, err := readSmall(c.file("pids.max"))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(text)) // "max" is no number
	return n
}

// Close takes back what OpenCgroups has arranged. No command may be running.
// What commands left in the background goes on running, in the cgroup that they
// were below of.
func (c *Cgroups) Close() {
	close(c.quit)
	c.wg.Wait()
	// Off, since else processes could not come back.
	for _, controller := range []string{"memory", "pids", "cpu"} {
		for _, dir := range []string{c.file(jobsGroup), c.dir} {
			_ = writeSmall(dir+"/cgroup.subtree_control", "-"+controller)
		}
	}
	for _, name := range subgroups(c.file(jobsGroup)) {
		if strings.HasPrefix(name, jobPrefix) {
			c.dissolve(c.job(name))
		}
	}
	for _, name := range []string{jobsGroup, daemonLeaf} {
		c.dissolve(&cgroup{dir: c.file(name), all: c})
	}
	c.held.Close()
}

// dissolve moves who is left in g to the cgroup above and removes it. It takes
// more than one try if they fork, or if one of them is ending.
func (c *Cgroups) dissolve(g *cgroup) {
	const tries = 200
	for range tries {
		if err := moveAll(g.dir, c.dir); err == nil && g.removed() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *Cgroups) file(name string) string { return c.dir + "/" + name }

// moveAll moves the processes of one cgroup to another, and those that they
// fork meanwhile.
func moveAll(from, to string) error {
	const rounds = 100
	for range rounds {
		pids, err := readPids(from)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing the processes of cgroup %s: %w", from, err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			err := writeSmall(to+"/cgroup.procs", strconv.Itoa(pid))
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("moving process %d to cgroup %s: %w", pid, to, err)
			}
		}
	}
	return fmt.Errorf("moving processes to cgroup %s: they do not stop forking", to)
}

// subgroups are the names of the cgroups right below dir.
func subgroups(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// readSmall reads a file of less than a page without [os.ReadFile], which would
// enter it into the runtime's poller and take it out again.
func readSmall(file string) (string, error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var text [4096]byte
	n, err := unix.Read(fd, text[:])
	if err != nil {
		return "", err
	}
	return string(text[:n]), nil
}

func writeSmall(file, text string) error {
	fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return err
}
