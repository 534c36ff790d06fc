//go:build linux

package runner

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// prompt runs lines as one account whose shell can be chosen.
type prompt struct {
	t       *testing.T
	runner  *Runner
	launch  *exec.Launcher
	account exec.Account
	state   []byte
	input   string // that the client sends at once
}

func newPrompt(t *testing.T) *prompt {
	t.Helper()
	launcher, err := exec.NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(launcher.Close)
	r, _, _ := granted(t, launcher, auth.Key{ID: "k"}, Options{Path: "/usr/local/bin:/usr/bin:/bin", Lang: "C.UTF-8", Banner: "hi"})
	account, err := r.account(t.Context(), auth.Key{}, "")
	if err != nil {
		t.Fatal(err)
	}
	account.Home = t.TempDir()
	return &prompt{t: t, runner: r, launch: launcher, account: account}
}

// ended is how a line went.
type ended struct {
	exit     *proto.Exit
	out, err string
}

func (p *prompt) request(line string) *proto.Run {
	return &proto.Run{ID: proto.ExecID{1}, Shell: []byte(line), Lasting: true, State: p.state, NoStdin: true}
}

// run runs a request through a job, as the daemon does.
func (p *prompt) run(m *proto.Run, during func(*job.Process)) ended {
	p.t.Helper()
	table := job.NewTable(job.Options{})
	defer table.Shutdown(p.t.Context())
	peer := job.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:1")}
	if err := m.Validate(); err != nil {
		p.t.Fatal(err)
	}
	j, _, x := table.Open(job.Grant{KeyID: "k", Start: func(m *proto.Run) (*job.Process, error) {
		started, err := p.runner.launch(p.account, auth.Key{ID: "k"}, command{shell: string(m.Shell)}, peer, m)
		if err == nil && during != nil {
			go during(started)
		}
		return started, err
	}}, m)
	if x != nil {
		return ended{exit: x}
	}
	a, _, err := j.Attach(job.Client{Kick: func() {}})
	if err != nil {
		p.t.Fatal(err)
	}
	if p.input != "" {
		if err := a.Input(0, strings.NewReader(p.input)); err != nil {
			p.t.Fatal(err)
		}
	}
	var out [2]bytes.Buffer
	for {
		e, err := a.Next()
		if err != nil {
			p.t.Fatal(err)
		}
		if e.Exit != nil {
			return ended{e.Exit, out[0].String(), out[1].String()}
		}
		if len(e.Data) > 0 {
			out[e.Stream-proto.Stdout].Write(e.Data)
		}
	}
}

// line runs the next line of the prompt.
func (p *prompt) line(text string) ended {
	p.t.Helper()
	e := p.run(p.request(text), nil)
	if len(e.exit.ShellState) > 0 {
		p.state = e.exit.ShellState
	}
	return e
}

// dir and variables are those of a state.
func parsed(t *testing.T, state []byte) (dir string, vars map[string]string) {
	t.Helper()
	if len(state) == 0 {
		return "", nil
	}
	d, env, err := proto.ParseState(state)
	if err != nil {
		t.Fatalf("%v: %q", err, state)
	}
	vars = map[string]string{}
	for _, v := range env {
		vars[string(v.Name)] = string(v.Value)
	}
	return string(d), vars
}

// shells are the ones of this machine, by what the tests must know of them.
func shells(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"dash", "bash", "zsh", "fish", "ash", "ksh93", "mksh"} {
		if file, err := osexec.LookPath(name); err == nil {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		t.Skip("no shell of a known name")
	}
	return found
}

// ways are lines and where the shell is when they end; "" where it tells nothing, "-" where that depends on the shell.
// What is not fish's is left out there.
func ways() []struct{ line, dir string } {
	return []struct{ line, dir string }{
		{"cd /usr", "/usr"}, {"cd /usr; exit 3", "-"}, {"cd /usr; exit", "-"}, {"exit 300", "-"}, {"false", "/bin"},
		{"cd /usr; false; ", "/usr"}, {"cd /nosuch", "/bin"}, {"cd /usr; nosuch", "/usr"}, {"exec true", "-"}, {"if", "-"},
		{`echo "it's" 'a\b' \\ \'; cd /usr`, "/usr"}, {"", "/bin"},
		{"cd /usr\nsh -c 'exit 9'", "/usr"},
		// The child holds the output until it has come to be what is started, which could be after the shell's end.
		{"sleep 100 >/dev/null 2>&1 & \nsh -c 'until grep -q sleep /proc/$0/comm; do :; done' $!; cd /usr", "/usr"},
		{"sh -c 'kill -9 $$'; cd /usr", "/usr"}, {"cd /usr; return 4", "-"}, {"# nothing", "/bin"}, {"cd /usr # there", "/usr"},
		{"exec nosuch", "-"}, {"true; true", "/bin"},
	}
}

func posixWays() []struct{ line, dir string } {
	return []struct{ line, dir string }{
		{"kill -TERM $$", "-"}, {"kill -9 $$", ""}, {"cd /usr; )", "-"}, {"echo 'x", "-"}, // fish ends with 0 for such mistakes
		{"! true", "/bin"}, {"set -e; cd /usr; false; cd /", "-"}, {"set -u; cd /usr; echo $nope; cd /", "-"}, {"(exit 5)", "/bin"},
		{"f() { cd /usr; exit 6; }; f", "-"}, {"cat <<X\na $0\nX\ncd /usr", "/usr"}, {"exec 9>/dev/null; cd /usr; echo x >&9", "/usr"},
		{"exec 9</dev/null; cd /usr; exit 2", "-"}, {"cd /usr; PATH=/nosuch", "/usr"}, {"set -- a b; cd /usr; echo $# $1", "/usr"},
		{"readonly x=1; cd /usr", "/usr"}, {"cd /usr; unset PATH HOME", "/usr"}, {"set -f; IFS=/; cd /usr", "/usr"}, {"echo $0 $#", "/bin"},
		{"trap 'echo bye' EXIT; cd /usr", "-"}, {"exec >/dev/null; cd /usr", "/usr"}, {"exec 2>&-; cd /usr", "/usr"}, {"set -C; cd /usr", "/usr"},
	}
}

// TestOutcomeAsWithout: a line that lasts ends as it does otherwise, with the same output, and tells where it was.
func TestOutcomeAsWithout(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		family := family(p.account.Shell)
		lines := ways()
		if family != "fish" {
			lines = append(lines, posixWays()...)
		}
		for _, way := range lines {
			if way.line == "" {
				continue // not a request
			}
			t.Run(family+"/"+way.line, func(t *testing.T) {
				p.t = t
				p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00HOME=/\x00LC_ALL=C\x00")
				if strings.HasPrefix(way.line, "sleep") && family == "fish" {
					way.line = strings.NewReplacer("\n", ";", "$!", "$last_pid").Replace(way.line)
				}
				plain := p.request(way.line)
				plain.Lasting, plain.State, plain.Dir = false, nil, []byte("/bin")
				without, with := p.run(plain, nil), p.run(p.request(way.line), nil)
				x, y := without.exit, with.exit
				if x.State != y.State || x.Code != y.Code || x.Signal != y.Signal {
					t.Errorf("%s, code %d, %s; without it is %s, %d, %s", y.State, y.Code, y.Signal, x.State, x.Code, x.Signal)
				}
				if with.out != without.out {
					t.Errorf("stdout %q, without it is %q", with.out, without.out)
				}
				if (with.err == "") != (without.err == "") {
					t.Errorf("stderr %q, without it is %q", with.err, without.err)
				}
				if y.Background != x.Background {
					t.Errorf("background: %v", y.Background)
				}
				if dir, _ := parsed(t, y.ShellState); way.dir != "-" && dir != way.dir {
					t.Errorf("the shell ends in %q, want %q", dir, way.dir)
				}
			})
		}
	}
}

// TestClosedCopy: a line that closes the shell's copy of the descriptor tells no state, and none where others can read it.
func TestClosedCopy(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00SECRET=hush\x00")
		for _, line := range []string{"exec 9>&- 10>&- 11>&- 12>&-", "exec 10>&- 11>&- 12>&-; exit 3", "f() { exec 10>&- 11>&- 12>&-; exit 3; }; f"} {
			if e := p.run(p.request(line), nil); strings.Contains(e.out+e.err, "hush") {
				t.Errorf("%s, %q: stdout %q, stderr %q", p.account.Shell, line, e.out, e.err)
			}
		}
	}
}

// TestLineNumbers: a shell that counts lines counts those of what was typed.
func TestLineNumbers(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00")
		text := "echo $LINENO\n\n  echo 'a\n' $LINENO"
		plain := p.request(text)
		plain.Lasting, plain.State, plain.Dir = false, nil, []byte("/bin")
		if with, without := p.run(p.request(text), nil), p.run(plain, nil); with.out != without.out {
			t.Errorf("%s: %q, without lasting it is %q", p.account.Shell, with.out, without.out)
		}
	}
}

// TestTypedAhead: the record tells how much of what was typed a line on a terminal has not taken, be it one that the shell
// would else replace itself for.
func TestTypedAhead(t *testing.T) {
	p := newPrompt(t)
	p.input = "one\rtwo\rthree"
	for _, p.account.Shell = range shells(t) {
		for _, line := range []string{"head -n 1", "head -n 1; true", "head -n 1; cd /", "head -n 1; sh -c 'exit 3'"} {
			t.Run(family(p.account.Shell)+"/"+line, func(t *testing.T) {
				p.t = t
				p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00HOME=/\x00")
				m := p.request(line)
				m.NoStdin, m.Pty = false, []byte("dumb")
				e := p.run(m, nil)
				if e.exit.StdinBytes != 4 || e.exit.State != proto.StateExited || !strings.Contains(e.out, "one\r\n") {
					t.Errorf("%d bytes are taken, want 4: %+v, %q", e.exit.StdinBytes, e.exit, e.out)
				}
				if dir, _ := parsed(t, e.exit.ShellState); strings.HasSuffix(line, "cd /") && dir != "/" {
					t.Errorf("it ends in %q", dir)
				}
			})
		}
	}
}

// TestTellsAtExit: the shells that can be asked for more tell of a line that leaves them from anywhere.
func TestTellsAtExit(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		if family(p.account.Shell) == "ksh" {
			continue
		}
		lines := []string{"cd /usr; exit 3", "cd /usr; exit"}
		if family(p.account.Shell) != "fish" {
			lines = append(lines, "set -e; cd /usr; false; cd /", "f() { cd /usr; exit 6; }; f", "exec 9</dev/null; cd /usr; exit 2")
		}
		for _, line := range lines {
			p.state = nil
			if dir, _ := parsed(t, p.line(line).exit.ShellState); dir != "/usr" {
				t.Errorf("%s: %q ends in %q", p.account.Shell, line, dir)
			}
		}
	}
}

// TestLasts: directory and variables go from line to line, and the daemon's own do not.
func TestLasts(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		sh := family(p.account.Shell)
		t.Run(sh, func(t *testing.T) {
			p.t, p.state = t, nil
			export := func(name, value string) string {
				if sh == "fish" {
					return "set -gx " + name + " " + value
				}
				return "export " + name + "=" + value
			}
			steps := []struct{ line, want string }{
				{"cd /usr/bin", ""}, {"pwd", "/usr/bin\n"}, {"cd ../lib", ""}, {"pwd", "/usr/lib\n"},
				{"cd - >/dev/null", ""}, {"pwd", "/usr/bin\n"}, {"cd - >/dev/null", ""}, {"pwd", "/usr/lib\n"},
				{export("A", `"a b'c"`), ""}, {`echo "$A"`, "a b'c\n"}, {export("N", "'x\ny'"), ""}, {`echo "$N"`, "x\ny\n"},
				{export("PATH", "/nosuch"), ""}, {"ls >/dev/null 2>&1; echo $PATH", "/nosuch\n"}, {export("PATH", "/usr/bin:/bin"), ""},
				{"ls -d /usr", "/usr\n"}, {export("_ZZ", "1"), ""}, {"echo $_ZZ", "1\n"},
			}
			if sh == "fish" {
				steps = append(steps, []struct{ line, want string }{{"set -e A", ""}, {"set -q A; or echo none", "none\n"}}...)
			} else {
				steps = append(steps, []struct{ line, want string }{{"unset A", ""}, {`echo "${A-none}"`, "none\n"}}...)
			}
			for _, s := range steps {
				if e := p.line(s.line); e.out != s.want {
					t.Fatalf("%q: %q, want %q (stderr %q, %+v)", s.line, e.out, s.want, e.err, e.exit)
				}
			}
			_, vars := parsed(t, p.state)
			for name := range vars {
				if ours(name) {
					t.Errorf("%s is part of the state", name)
				}
			}
			if e := p.line("env"); !strings.Contains(e.out, "REXEC_ID=01000000") || strings.Contains(e.out, envOldDir) || strings.Contains(e.out, envDir) {
				t.Errorf("environment %q", e.out)
			}
		})
	}
}

// TestExportedFunctions last as well, in the one shell that has them.
func TestExportedFunctions(t *testing.T) {
	p := newPrompt(t)
	file, err := osexec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	p.account.Shell = file
	p.line("go() { cd /usr; }; export -f go")
	p.line("go")
	if e := p.line("pwd"); e.out != "/usr\n" {
		t.Errorf("%q, %q", e.out, e.err)
	}
}

// TestSymbolicLinks: the way that a directory was entered by is kept.
func TestSymbolicLinks(t *testing.T) {
	p := newPrompt(t)
	link := filepath.Join(p.account.Home, "link")
	if err := syscall.Symlink("/usr/bin", link); err != nil {
		t.Fatal(err)
	}
	for _, p.account.Shell = range shells(t) {
		p.state = nil
		p.line("cd " + link)
		p.line("true; true")
		if e := p.line("cd ..; pwd"); e.out != p.account.Home+"\n" {
			t.Errorf("%s: %q %q", p.account.Shell, e.out, e.err)
		}
	}
}

// TestDescriptorIsNotInherited: what a line starts cannot write the state.
func TestDescriptorIsNotInherited(t *testing.T) {
	p := newPrompt(t)
	for _, p.account.Shell = range shells(t) {
		p.state = nil
		e := p.line("ls /proc/self/fd; true")
		if got := strings.Fields(e.out); !slices.Equal(got, []string{"0", "1", "2", "3"}) { // 3 is ls's own
			t.Errorf("%s: descriptors %q", p.account.Shell, got)
		}
	}
}

// TestInterrupted: an interrupt ends the line as it would without lasting.
func TestInterrupted(t *testing.T) {
	p := newPrompt(t)
	begun := filepath.Join(p.account.Home, "begun")
	interrupt := func(started *job.Process) {
		for {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", started.PID))
			if _, err := os.Stat(begun); err == nil && strings.Contains(string(stat), ") S ") {
				break // it waits: a shell that does not yet takes the interrupt for one of its own
			}
			time.Sleep(5 * time.Millisecond)
		}
		// More than once: bash does not see a signal that comes right before it begins to wait.
		for started.Handle.Signal("INT") == nil && syscall.Kill(started.PID, 0) == nil {
			time.Sleep(2 * time.Second)
		}
	}
	for _, p.account.Shell = range shells(t) {
		handles := `sh -c 'trap "echo caught; exit 0" INT; echo >` + begun + `; while :; do sleep 0.01; done'`
		for _, line := range []string{"sleep 1000", "sleep 1000; echo more", handles + "; echo after"} {
			if family(p.account.Shell) == "fish" && strings.Contains(line, begun) {
				continue // it gives up what it evaluates, and ends with 130 instead of the child's code
			}
			if line = "cd /usr; " + line; !strings.Contains(line, begun) {
				line = strings.Replace(line, ";", "; echo >"+begun+";", 1)
			}
			p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00")
			plain := p.request(line)
			plain.Lasting, plain.State = false, nil
			x := p.run(plain, interrupt).exit
			os.Remove(begun)
			y := p.run(p.request(line), interrupt).exit
			os.Remove(begun)
			if x.State != y.State || x.Code != y.Code || x.Signal != y.Signal || y.StdoutBytes != x.StdoutBytes {
				t.Errorf("%s, %q: %s, code %d, %s; without it is %s, %d, %s", p.account.Shell, line, y.State, y.Code, y.Signal, x.State, x.Code, x.Signal)
			}
			if sh := family(p.account.Shell); sh != "ksh" && sh != "fish" {
				if dir, _ := parsed(t, y.ShellState); dir != "/usr" {
					t.Errorf("%s, %q: the shell ends in %q", sh, line, dir)
				}
			}
		}
	}
}

// TestSignalsOfOnePlainCommand: that a program was ended by a signal is told as such, as without lasting.
func TestSignalsOfOnePlainCommand(t *testing.T) {
	p := newPrompt(t)
	p.account.Shell = "/bin/sh"
	p.state = []byte("/bin\x00PATH=/usr/bin:/bin\x00")
	m := p.request("sleep 1000")
	x := p.run(m, func(started *job.Process) { _ = started.Handle.Signal("KILL") }).exit
	if x.State != proto.StateSignaled || x.Signal != "KILL" || len(x.ShellState) > 0 {
		t.Errorf("%+v", x)
	}
}

// TestKeepsState: only what certainly changes nothing is run without a report.
func TestKeepsState(t *testing.T) {
	for line, want := range map[string]bool{
		"ls": true, "  ls -l /tmp": true, "/bin/ls 'a b' \"$X\" *.go >x 2>/dev/null": true, "vim file": true, "./run": true, "g++ -v": true,
		"cd": false, "cd /": false, ". file": false, "source x": false, "A=b": false, "A=b ls": false, "ls; cd /": false, "ls && cd /": false,
		"ls\ncd /": false, "ls | x": false, "ls &": false, "(cd /)": false, "{ cd /; }": false, "ls $(cd /)": false, "ls `x`": false,
		"ls ${A:=b}": false, "ls $((A=1))": false, "$X": false, "\\cd /": false, "'cd' /": false, "c\"\"d /": false, ">x": false, "! true": false,
		"export A": false, "eval x": false, "exec ls": false, "if": false, "time ls": false, "command cd /": false, "pushd /": false, "": false,
		"cd\t/": false, "ls\\": false, "exit": false, "umask 0": false, "ls <(cd /)": false, "~/x": false, "true": false, ":": false,
	} {
		if got := keepsState("/bin/dash", line, nil); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	if keepsState("/bin/bash", "ls", []string{"BASH_FUNC_ls%%=() { cd /; }"}) || keepsState("/bin/bash", "ls", []string{"BASH_ENV=x"}) ||
		keepsState("/bin/zsh", "ls", nil) || keepsState("/usr/bin/fish", "ls", nil) || keepsState("/bin/csh", "ls", nil) {
		t.Error("a name that can be anything")
	}
}

// TestStateTooLarge: one that does not fit is told apart from none, and the line ends well.
func TestStateTooLarge(t *testing.T) {
	p := newPrompt(t)
	p.account.Shell = "/bin/sh"
	for _, n := range []string{"2 3", "2 3 4 5 6 7"} { // beyond the state, and beyond what the daemon reads of a report
		e := p.line(`x=$(head -c 100000 /dev/zero | tr '\0' x); for i in ` + n + `; do export V$i="$x"; done; exit 7`)
		if e.exit.Code != 7 || e.exit.ShellState != nil || !e.exit.ShellStateTooLarge {
			t.Errorf("%s: code %d, %d bytes of state, too large: %v", n, e.exit.Code, len(e.exit.ShellState), e.exit.ShellStateTooLarge)
		}
	}
}

// TestBackgroundHoldsReport: who has the descriptor in the background is not waited for.
func TestBackgroundHoldsReport(t *testing.T) {
	p := newPrompt(t)
	p.account.Shell = "/bin/dash"
	// What the wrapper keeps from a line, the line opens again by its number.
	e := p.line("exec 8>/proc/$$/fd/10; sleep 1000 >/dev/null 2>&1 & cd /usr; echo $!")
	pid := strings.TrimSpace(e.out)
	defer osexec.Command("kill", pid).Run() //nolint:errcheck // it may be gone
	if dir, _ := parsed(t, e.exit.ShellState); dir != "/usr" {
		t.Errorf("%q, %q: %+v", e.out, e.err, e.exit)
	}
	if err := osexec.Command("kill", "-0", pid).Run(); err != nil {
		t.Errorf("the background process has ended: %v", err)
	}
}

// TestStateOf: what is not a whole report is none.
func TestStateOf(t *testing.T) {
	for _, tt := range []struct{ report, pty, want string }{
		{"A=b\x00REXEC_DIR=/x\x00.\n", "", "/x\x00A=b\x00"},
		{"REXEC_DIR=/x\x00A=b\x00_=y\x00PWD=/z\x00SHLVL=1\x00REXEC_ID=1\x00SSH_TTY=/dev\x00OLDPWD=/o\x00.\n", "", "/x\x00A=b\x00OLDPWD=/o\x00"},
		{"REXEC_DIR=/x\x00TERM=xterm\x00.\n", "xterm", "/x\x00"},
		{"REXEC_DIR=/x\x00TERM=dumb\x00.\n", "xterm", "/x\x00TERM=dumb\x00"},
		{"REXEC_DIR=/x\x00TERM=xterm\x00.\n", "", "/x\x00TERM=xterm\x00"},
		{"", "", ""},
		{"REXEC_DIR=/x\x00", "", ""},
		{"REXEC_DIR=/x\x00A=b.\n", "", ""},
		{"REXEC_DIR=x\x00.\n", "", ""},
		{"A=b\x00.\n", "", ""},
		{"REXEC_DIR=/x\x00.\nREXEC_DIR=/y\x00.\n", "", ""},
		{"REXEC_DIR=/x\x00A\x00=b\x00.\n", "", "/x\x00"},
	} {
		if got, over := stateOf([]byte(tt.report), tt.pty); string(got) != tt.want || over {
			t.Errorf("%q: %q, too large: %v; want %q", tt.report, got, over, tt.want)
		}
	}
}

// FuzzStateOf: whatever a command writes, what is made of it is a state.
func FuzzStateOf(f *testing.F) {
	f.Add([]byte("REXEC_DIR=/x\x00A=b\x00.\n"), "xterm")
	f.Add([]byte("REXEC_DIR=/\x00=b\x00A\x00\x00.\n"), "")
	f.Fuzz(func(t *testing.T, b []byte, pty string) {
		state, _ := stateOf(b, pty)
		if len(state) == 0 {
			return
		}
		if _, _, err := proto.ParseState(state); err != nil {
			t.Fatalf("%q: %v", state, err)
		}
	})
}

// TestDirectoryGone: the line is not run, and the next one is somewhere.
func TestDirectoryGone(t *testing.T) {
	p := newPrompt(t)
	p.account.Shell = "/bin/sh"
	p.state = []byte("/nosuch\x00A=b\x00")
	e := p.line("echo ran")
	want := "cannot enter /nosuch: no such file or directory, so this was not run; the next line will be in " + p.account.Home
	if e.exit.State != proto.StateRefused || e.exit.Cause != proto.CauseDirectory || e.exit.Reason != want {
		t.Fatalf("%+v", e.exit)
	}
	if e = p.line("pwd; echo $A"); e.out != p.account.Home+"\nb\n" {
		t.Errorf("%q", e.out)
	}
	p.state, p.account.Home = []byte("/nosuch\x00"), "/nosuch"
	p.line("true")
	if e = p.line("pwd"); e.out != "/\n" {
		t.Errorf("%q, %+v", e.out, e.exit)
	}
}

// TestBeginning: what a command with a state begins with.
func TestBeginning(t *testing.T) {
	p := newPrompt(t)
	p.account.Shell = "/bin/sh"
	p.state = []byte("/usr\x00A=b\x00HOME=/h\x00PATH=/usr/bin:/bin\x00REXEC_ID=x\x00SSH_CONNECTION=x\x00SSH_CLIENT=x\x00LD_LIBRARY_PATH=/x\x00PWD=/z\x00")
	m := p.request("env")
	m.Wishes = []proto.EnvVar{{Name: []byte("LC_ALL"), Value: []byte("C")}}
	m.Env = []proto.EnvVar{{Name: []byte("LC_CTYPE"), Value: []byte("C")}}
	e := p.run(m, nil)
	got := strings.Split(strings.TrimSpace(e.out), "\n")
	got = slices.DeleteFunc(got, func(v string) bool {
		return strings.HasPrefix(v, "REXEC_JOB=") || strings.HasPrefix(v, "_=") || strings.HasPrefix(v, "OLDPWD=") || strings.HasPrefix(v, "SHLVL=")
	})
	slices.Sort(got)
	want := []string{"A=b", "HOME=/h", "LC_CTYPE=C", "LD_LIBRARY_PATH=/x", "PATH=/usr/bin:/bin", "PWD=/usr", "REXEC_ID=01000000000000000000000000000000"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestLastingPolicy: a key that is bound to commands gets nothing through a state.
func TestLastingPolicy(t *testing.T) {
	o := &Options{Complete: []string{"x"}, SFTP: []string{"x"}}
	sh, state := []byte("ls"), []byte("/\x00")
	for _, tt := range []struct {
		key auth.Key
		run proto.Run
		ok  bool
	}{
		{auth.Key{ID: "k"}, proto.Run{Shell: sh, Lasting: true}, true},
		{auth.Key{ID: "k"}, proto.Run{Subsystem: "complete", State: state}, true},
		{auth.Key{ID: "k", Command: "x"}, proto.Run{Shell: sh}, true},
		{auth.Key{ID: "k", Command: "x"}, proto.Run{Shell: sh, Lasting: true}, false},
		{auth.Key{ID: "k", Command: "x"}, proto.Run{Subsystem: "sftp", State: state}, false},
		{auth.Key{ID: "k", Command: "x"}, proto.Run{Subsystem: "complete"}, false},
		{auth.Key{ID: "k", Argv: [][]string{{"ls"}}}, proto.Run{Shell: sh}, true},
		{auth.Key{ID: "k", Argv: [][]string{{"ls"}}}, proto.Run{Shell: sh, Lasting: true}, false},
		{auth.Key{ID: "k", Argv: [][]string{{"ls"}}}, proto.Run{Shell: sh, Lasting: true, State: state}, false},
		{auth.Key{ID: "k", Argv: [][]string{{"rexecd", "sftp-server"}}}, proto.Run{Subsystem: "sftp", State: state}, false},
		{auth.Key{ID: "k", Argv: [][]string{{"rexecd", "complete"}}}, proto.Run{Subsystem: "complete"}, false},
	} {
		if _, err := decide(tt.key, o, &tt.run); (err == nil) != tt.ok {
			t.Errorf("%+v, %+v: %v", tt.key, tt.run, err)
		}
	}
}
