//go:build unix

package persist

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"rexec/internal/client"
)

// Verb is what the program is called with to be a background process, as its first argument.
const Verb = "--background-process"

// variable is the environment variable with an order, which names no secret.
const variable = "REXEC_PERSIST"

// Start says what to start a background process with.
type Start struct {
	Target
	KeyFile string        // where the key is; it is read there again
	Typed   string        // the address as typed, for the server's log
	Idle    time.Duration // to live without use
	Timeout time.Duration // for connecting; 0: the default
	Replace bool          // one that does not answer
}

// order is what crosses over to the process.
type order struct {
	ID        string
	Address   string
	Transport client.Transport
	KeyFile   string
	Typed     string
	Idle      time.Duration
	Timeout   time.Duration
	Locked    bool // the lock comes as lockFD
}

// lockFD is the descriptor behind the three standard ones.
const lockFD = 3

// Begin starts a background process, unless there is one, and does not wait for it. The process has nothing
// of this one: no files, no terminal, no directory, and little of the environment.
func (s Start) Begin() error {
	id, err := s.ID()
	if err != nil {
		return err
	}
	dir, err := directory(true)
	if err != nil {
		return err
	}
	file, err := filepath.Abs(s.KeyFile)
	if err != nil {
		return err
	}
	o := order{
		ID: hex.EncodeToString(id[:]), Address: s.Address, Transport: s.Transport, KeyFile: file, Typed: s.Typed,
		Idle: s.Idle, Timeout: s.Timeout,
	}
	// The lock is taken here: of a hundred invocations at once one starts a process, and not a hundred do.
	l, err := takeLock(lockPath(dir, id))
	switch {
	case err == nil:
		defer l.Close() // the process has it, too
		o.Locked = true
	case !errors.Is(err, errLocked):
		return err
	case !s.Replace:
		return nil
	}
	return o.start(l)
}

func (o order) start(l *lock) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, null, null}
	if l != nil {
		files = append(files, l.File)
	}
	keepFiles()
	p, err := os.StartProcess(program, []string{"rexec", Verb, o.Address}, &os.ProcAttr{
		Dir: "/", Env: append(environment(), variable+"="+string(text)), Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting a background process: %w", err)
	}
	go func() { _, _ = p.Wait() }() // for as long as this process lives, so that no zombie stays
	return nil
}

// environment is what the process needs: where the user's files are, and how names are looked up.
func environment() []string {
	var env []string
	for _, name := range []string{"HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "PATH", "RES_OPTIONS", "LOCALDOMAIN", "GODEBUG"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// keepFiles keeps what this process has open to itself. Its own files are, but not what its caller left
// open, and somebody may wait for the end of that.
func keepFiles() {
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		for fd := lockFD; fd < 256; fd++ {
			syscall.CloseOnExec(fd)
		}
		return
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd >= lockFD {
			syscall.CloseOnExec(fd)
		}
	}
}
