//go:build linux

package exec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passwd returns the entry with the given name. It is an error if there is
// none.
func (d *database) passwd(ctx context.Context, name string) (*passwdEntry, error) {
	named := func(e *passwdEntry) bool { return e.name == name }
	entry, err := d.findPasswd(ctx, name, named)
	if err != nil {
		return nil, &AccountError{Name: name, Reason: "looking it up: " + err.Error(), Err: err}
	}
	if entry == nil {
		return nil, &AccountError{Name: name, Reason: "no such account"}
	}
	return entry, nil
}

// passwdByUID returns the entry with the given user ID, nil if there is none.
func (d *database) passwdByUID(ctx context.Context, uid uint32) (*passwdEntry, error) {
	key := strconv.FormatUint(uint64(uid), 10)
	entry, err := d.findPasswd(ctx, key, func(e *passwdEntry) bool { return e.uid == uid })
	if err != nil {
		return nil, &AccountError{Name: key, Reason: "looking it up: " + err.Error(), Err: err}
	}
	return entry, nil
}

// findPasswd follows the order of nsswitch.conf(5): the file answers when no
// other service comes before it. What getent answers must match, too.
func (d *database) findPasswd(ctx context.Context, key string, match func(*passwdEntry) bool) (*passwdEntry, error) {
	sources := d.sources("passwd")
	if len(sources) > 0 && allLocal(sources[:1]) {
		entry, err := d.localPasswd(match)
		if entry != nil || err != nil {
			return entry, err
		}
	}
	out, found, err := d.ask(ctx, "passwd", key)
	if err != nil {
		if errors.Is(err, errNoGetent) && allLocal(sources) {
			return nil, nil
		}
		return nil, err
	}
	entry, ok := parsePasswd(strings.TrimSuffix(out, "\n"))
	if !found || !ok || !match(entry) {
		return nil, nil
	}
	return entry, nil
}

// groups returns all groups of the account, its primary one first, like
// initgroups(3).
func (d *database) groups(ctx context.Context, e *passwdEntry) ([]uint32, error) {
	set := newGroupSet(e.gid)
	wrap := func(err error) error {
		return &AccountError{Name: e.name, Reason: "looking up its groups: " + err.Error(), Err: err}
	}
	network, err := d.localGroups(e.name, set)
	if err != nil {
		return nil, wrap(err)
	}
	if !network && allLocal(d.sources("group")) && allLocal(d.sources("initgroups")) {
		return set.ids, nil
	}
	out, found, err := d.ask(ctx, "initgroups", e.name)
	if err != nil {
		return nil, wrap(err)
	}
	fields := strings.Fields(out)
	if !found || len(fields) == 0 || fields[0] != e.name {
		return nil, wrap(errors.New("the name service has no answer"))
	}
	// It is the name service's answer alone that counts, as for a login.
	set = newGroupSet(e.gid)
	for _, f := range fields[1:] {
		gid, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, wrap(errors.New("the name service's answer is not a list of group IDs"))
		}
		set.add(uint32(gid))
	}
	return set.ids, nil
}

var errNoGetent = errors.New("the name service cannot be asked: there is no getent program")

// maxAnswer bounds what getent may answer, in bytes: 65,536 groups.
const maxAnswer = 1 << 20

// ask runs getent(1) for one key of a database. A key that is not there is
// not an error.
func (d *database) ask(ctx context.Context, database, key string) (out string, found bool, err error) {
	program := d.findGetent()
	if program == "" {
		return "", false, errNoGetent
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var answer bytes.Buffer
	cmd := osexec.CommandContext(ctx, program, database, "--", key)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.Stdout = &boundedWriter{to: &answer, left: maxAnswer}
	// The group is killed as well as the program: on some systems getent is a
	// script. WaitDelay is for whoever left the group and holds the pipe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if cause := ctx.Err(); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return "", false, errors.New("the name service did not answer in time")
		}
		return "", false, cause
	}
	const notFound = 2 // getent(1)
	if exit := new(osexec.ExitError); errors.As(err, &exit) && exit.ExitCode() == notFound {
		return "", false, nil
	}
	if err != nil {
		return "", false, errors.New("the name service answered with an error")
	}
	return answer.String(), true, nil
}

func (d *database) findGetent() string {
	for _, file := range d.getent {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

// boundedWriter fails once more than left bytes were written.
type boundedWriter struct {
	to   io.Writer
	left int
}

func (w *boundedWriter) Write(b []byte) (int, error) {
	if len(b) > w.left {
		return 0, errors.New("the answer is too long")
	}
	w.left -= len(b)
	return w.to.Write(b)
}
