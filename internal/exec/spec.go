//go:build linux

package exec

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Spec describes one command. Its strings are bytes: they may be in any
// encoding and hold anything but NUL.
type Spec struct {
	Account Account  // who runs it; the zero Account is refused, never taken for root
	Argv    []string // the exact vector; an Argv[0] without a slash is searched in the PATH of Env
	Arg0    string   // what the command sees as argv[0]; "" means Argv[0]
	Env     []string // the complete environment, NAME=value; nothing is inherited
	Dir     string   // absolute working directory; "" means "/"
	Stdin   bool     // whether there is a pipe to the standard input; if not, it is /dev/null
	// Terminal is the terminal to run on: all three streams, and the controlling one; nil: pipes. Without
	// Stdin its input has ended from the start.
	Terminal *Terminal
	// Report asks for a pipe from the command's descriptor [ReportFD], by which it can tell something that is not
	// output; see [Process].Report.
	Report bool
	Umask  int     // file mode creation mask, 0 to 0777
	Limits []Limit // resource limits to set; those that are not named are inherited

	// OOMScoreAdj is the out-of-memory score adjustment, -1000 to 1000; nil
	// leaves what the daemon has (proc_pid_oom_score_adj(5)). So does one that
	// is not negative and lower than the daemon's if it may not lower it.
	OOMScoreAdj *int

	// MaxProcesses is how many processes and threads the command may have at once,
	// MaxMemory how many bytes of memory, swap not counted; 0 leaves it to what
	// holds for the daemon. They need a [Launcher] with [Cgroups] that have the
	// controller: without, the command is refused.
	MaxProcesses int
	MaxMemory    uint64

	// Marker is one entry of Env that no other command has. Processes that
	// left the session are recognised by it. "" means there is none.
	Marker string
}

// ReportFD is the command's descriptor of [Spec].Report: the last one that every shell can name in a redirection.
const ReportFD = 9

// StartError says that a command was not started, and that the reason lies in
// the request or the account and not in this program. [Launcher.Start]
// returns it.
type StartError struct {
	Code   int    // what a shell would exit with: 127 not found, 126 found but not executable, 255 anything else
	Reason string // one line for the user; never holds arguments or environment values
	Err    error  // the cause, may be nil

	Directory bool // it is the working directory that cannot be entered
}

func (e *StartError) Error() string { return e.Reason }

func (e *StartError) Unwrap() error { return e.Err }

// Exit codes for a command that never ran (POSIX.1-2024, XCU 2.8.2); 255 is
// the code of a remote shell that could not do its own part.
const (
	codeRefused       = 255
	codeNotFound      = 127
	codeNotExecutable = 126
)

func refuse(err error, format string, args ...any) *StartError {
	return &StartError{Code: codeRefused, Reason: fmt.Sprintf(format, args...), Err: err}
}

func refuseDir(err error, format string, args ...any) *StartError {
	e := refuse(err, format, args...)
	e.Directory = true
	return e
}

// check refuses what execve(2) would misread or silently cut.
func (s *Spec) check() error {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return refuse(nil, "invalid request: empty command")
	}
	if s.Account.Name == "" {
		return refuse(nil, "invalid request: no account")
	}
	if s.Umask&^0o777 != 0 {
		return refuse(nil, "invalid request: umask %#o is not between 0 and 0777", s.Umask)
	}
	if a := s.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		return refuse(nil, "invalid request: OOM score adjustment %d is not between -1000 and 1000", *a)
	}
	if err := s.checkNUL(); err != nil {
		return err
	}
	if err := s.checkEnv(); err != nil {
		return err
	}
	return s.checkDir()
}

func (s *Spec) checkNUL() error {
	fields := []struct {
		name   string
		values []string
	}{
		{"argv", s.Argv},
		{"argv", []string{s.Arg0}},
		{"env", s.Env},
		{"path", []string{s.Dir}},
		{"marker", []string{s.Marker}},
	}
	for _, f := range fields {
		for _, v := range f.values {
			if strings.IndexByte(v, 0) >= 0 {
				return refuse(nil, "invalid request: NUL in %s", f.name)
			}
		}
	}
	return nil
}

func (s *Spec) checkEnv() error {
	for i, kv := range s.Env {
		if strings.IndexByte(kv, '=') < 1 {
			return refuse(nil, "invalid request: environment entry %d is not NAME=value", i+1)
		}
	}
	return nil
}

// checkDir also refuses over-long names: a start that fails is told apart from
// a directory that cannot be entered by ENAMETOOLONG, see [request.stages].
func (s *Spec) checkDir() error {
	if s.Dir == "" {
		return nil
	}
	if !filepath.IsAbs(s.Dir) {
		return refuseDir(nil, "invalid request: working directory %s is not an absolute path", printable(s.Dir))
	}
	tooLong := len(s.Dir) >= unix.PathMax
	for name := range strings.SplitSeq(s.Dir, "/") {
		tooLong = tooLong || len(name) > nameMax
	}
	if tooLong {
		return refuseDir(unix.ENAMETOOLONG, "cannot enter the working directory: %v", unix.ENAMETOOLONG)
	}
	return nil
}

// nameMax is NAME_MAX of <linux/limits.h>, in bytes.
const nameMax = 255

func (s *Spec) dir() string {
	if s.Dir == "" {
		return "/"
	}
	return s.Dir
}

// argv is the vector that the command sees.
func (s *Spec) argv() []string {
	if s.Arg0 == "" {
		return s.Argv
	}
	return append([]string{s.Arg0}, s.Argv[1:]...)
}

// onTerminal is the same with the terminal's name in the environment.
func (s *Spec) onTerminal(name string) *Spec {
	on := *s
	on.Env = slices.Clone(s.Env)
	for _, variable := range s.Terminal.Variables {
		on.Env = append(on.Env, variable+"="+name)
	}
	return &on
}

// path is the value of PATH, or what glibc's execvp(3) takes in its place.
func (s *Spec) path() string {
	for _, kv := range s.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			return v
		}
	}
	return "/bin:/usr/bin"
}

// printable quotes a name that could not be shown on a terminal as it is.
func printable(name string) string {
	for _, r := range name {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.Quote(name)
		}
	}
	return name
}
