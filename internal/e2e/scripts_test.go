//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"rexec/internal/charset"
	"rexec/internal/rexectest"
)

func TestMain(m *testing.M) { os.Exit(rexectest.Main(m)) }

// hang is when a command that should have ended counts as hanging.
const hang = time.Minute

// TestScripts runs the stories in testdata/script. Beside the commands of testscript they have:
//
//	daemon [OPTION...]     start rexecd on $HOST, the first time also enroll the key "me"
//	stopdaemon, killdaemon end it with TERM (it must exit with 0) or KILL
//	hangup                 send it HUP
//	waitlog REGEXP         wait until its log since the last start has a line that matches
//	rexecd ARG...          run rexecd with this script's configuration and state; stdout, stderr as usual
//	keyadd NAME OPTION...  make a key with rexecd key add and enroll it; use it with rexec -i NAME
//	code N [within=T] [<F] [>F] [2>F] [tty>F] [tty<F] PROGRAM ARG...
//	                       run a program and demand the exit code; with tty it runs in a terminal, what
//	                       it writes there goes to F, and what stands in F is typed at once
//	gbk code ...           the same with arguments as a GBK terminal sends them
//	start NAME PROGRAM...  run in the background; stdin is kept open, output goes to NAME.out, NAME.err
//	tell NAME TEXT         write a line to its stdin;  shut NAME  end its stdin
//	sig NAME SIGNAL        send a signal
//	finish NAME CODE       wait for its end and demand the exit code
//	waitfor FILE REGEXP    wait until a file's text matches
//	random FILE SIZE       make a file of random bytes
//	same FILE FILE         demand the same content
//	kept [ARG...]          wait for another background process than $BG, which then is its process ID; with -O check ARG...
//	unkept [ARG...]        wait until there is none, and $BG has ended
//	noprocess [TIME]       demand that within 5 s, or TIME, nothing that the daemon started is alive
//
// Each runs over TCP and over UDP: config.toml, to which a script may add, says which. $NOTICED is how
// long the daemon may take to notice that a client was killed. $CGROUP is a cgroup of the
// script's own, which it must make. [machineid] and [cgroup] stand before what needs one.
func TestScripts(t *testing.T) {
	bin := buildPrograms(t)
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { runStories(t, "testdata/script", bin, transport) })
	}
}

func runStories(t *testing.T, dir, bin, transport string) {
	testscript.Run(t, testscript.Params{
		Dir:             dir,
		ContinueOnError: true,
		Condition:       condition,
		Setup:           func(e *testscript.Env) error { return setUp(e, bin, transport) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": onWorld((*world).daemon), "stopdaemon": onWorld((*world).stop), "killdaemon": onWorld((*world).kill),
			"hangup": onWorld((*world).hangup), "waitlog": onWorld((*world).waitLog), "rexecd": onWorld((*world).rexecd),
			"keyadd": onWorld((*world).keyAdd), "code": onWorld((*world).code), "gbk": onWorld((*world).gbk), "start": onWorld((*world).start),
			"tell": onWorld((*world).tell), "shut": onWorld((*world).shut), "sig": onWorld((*world).sig),
			"finish": onWorld((*world).finish), "waitfor": onWorld((*world).waitFor), "random": onWorld((*world).random),
			"kept": onWorld((*world).kept), "unkept": onWorld((*world).unkept),
			"same": onWorld((*world).same), "boxed": onWorld((*world).boxed), "noprocess": onWorld((*world).noProcess),
		},
	})
}

// condition knows [machineid], that this machine has one, [cgroup], that $CGROUP can be made, [root], that this process is root's, and [fuse], that
// file systems can be mounted.
func condition(name string) (bool, error) {
	switch name {
	case "cgroup":
		return unix.Access(cgroupRoot(), unix.W_OK) == nil && os.Geteuid() == 0, nil
	case "machineid":
		text, err := os.ReadFile("/etc/machine-id")
		return err == nil && len(bytes.TrimSpace(text)) == 32, nil
	case "root":
		return os.Geteuid() == 0, nil
	case "fuse":
		return canMount(), nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// cgroupRoot is where cgroup v2 is mounted; empty if it is not.
func cgroupRoot() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(dir + "/cgroup.procs"); err == nil {
			return dir
		}
	}
	return ""
}

// buildPrograms builds both programs as this test was built.
func buildPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "rexec/cmd/rexec", "rexec/cmd/rexecd")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return dir
}

// world is one script's surroundings.
type world struct {
	ts   *testscript.TestScript // of the command that runs now
	dir  string
	mark string
	port string

	transport string // over which every connection must come

	cmd  *exec.Cmd // the daemon; nil while it is down
	log  *logFile
	jobs map[string]*background
}

type worldKey struct{}

func onWorld(f func(*world, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("no command of ours can be negated")
		}
		w := ts.Value(worldKey{}).(*world)
		w.ts = ts
		f(w, args)
	}
}

func setUp(e *testscript.Env, bin, transport string) error {
	w := &world{
		dir: e.WorkDir, mark: fmt.Sprintf("%s-%d", rexectest.Mark(), rand.Uint64()),
		log: &logFile{}, jobs: map[string]*background{}, transport: transport,
	}
	e.Values[worldKey{}] = w
	e.Defer(w.cleanUp)
	e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	home := filepath.Join(e.WorkDir, "home")
	e.Setenv("BIN", bin)
	e.Setenv("HOME", home)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	e.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, "run"))
	if err := os.Mkdir(filepath.Join(e.WorkDir, "run"), 0o700); err != nil {
		return err
	}
	e.Setenv("MARK", w.mark)
	e.Setenv("CGROUP", filepath.Join(cgroupRoot(), "e2e-"+w.mark))
	e.Defer(func() { _ = unix.Rmdir(e.Getenv("CGROUP")) })
	e.Setenv("NOTICED", map[string]string{"tcp": "5s", "udp": "40s"}[transport])
	e.Setenv("GORACE", "halt_on_error=1 exitcode=66 atexit_sleep_ms=0")
	settings := filepath.Join(home, "config", "rexec")
	if err := os.MkdirAll(settings, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("[[host]]\nmatch = \"*\"\ntransport = %q\n", transport)
	if err := os.WriteFile(filepath.Join(settings, "config.toml"), []byte(text), 0o600); err != nil {
		return err
	}
	path := filepath.Join(e.WorkDir, "rexecd.toml")
	if _, err := os.Stat(path); err == nil {
		return nil // the script brings its own, with env = { REXECTEST_RUN = ... } put in by sed
	}
	text = fmt.Sprintf("[exec]\nenv = { %s = %q }\n", rexectest.MarkName, w.mark)
	return os.WriteFile(path, []byte(text), 0o600)
}

func (w *world) cleanUp() {
	defer w.endKept()
	for _, b := range w.jobs {
		_ = b.cmd.Process.Kill()
		<-b.ended
	}
	if w.cmd != nil {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	}
	w.closeLog()
	for _, pid := range w.processes() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// closeLog ends the log of a daemon that has ended.
func (w *world) closeLog() {
	w.log.close()
	for line := range strings.Lines(w.log.text()) {
		if strings.Contains(line, `"outcome":"accepted"`) && !strings.Contains(line, fmt.Sprintf(`"transport":%q`, w.transport)) {
			w.ts.Fatalf("a connection is not over %s: %s", w.transport, line)
		}
	}
}

func (w *world) rexecdArgs(args ...string) []string {
	return append([]string{"--config", filepath.Join(w.dir, "rexecd.toml"), "--state-dir", filepath.Join(w.dir, "state")}, args...)
}

func (w *world) daemon(args []string) {
	if w.cmd != nil {
		w.ts.Fatalf("the daemon runs already")
	}
	listen := "127.0.0.1:0"
	first := w.port == ""
	if !first {
		listen = "127.0.0.1:" + w.port
	}
	w.closeLog()
	w.log = newLogFile(w.ts)
	cmd := w.command("rexecd", append(w.rexecdArgs("--listen", listen), args...)...)
	cmd.Stderr = w.log.w
	w.ts.Check(cmd.Start())
	w.cmd = cmd
	line := w.await(`"listening".*"address":"127\.0\.0\.1:(\d+)"`)
	if !first {
		return
	}
	w.port = line[1]
	w.ts.Setenv("HOST", "127.0.0.1:"+w.port)
	w.keyAdd([]string{"me"})
}

// command is a program in the script's directory and environment.
func (w *world) command(name string, args ...string) *exec.Cmd {
	var path string
	for _, dir := range filepath.SplitList(w.ts.Getenv("PATH")) {
		path = filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil || strings.Contains(name, "/") {
			break
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = w.dir
	for _, name := range []string{"PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "BG", "MARK", "GORACE", "HOST", "WORK",
		"LANG", "LC_ALL", "SECRET", "LD_PRELOAD", "TERM", "PORT", "BIN", "CGROUP"} {
		if v := w.ts.Getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	return cmd
}

func (w *world) keyAdd(args []string) {
	var token bytes.Buffer
	add := w.command("rexecd", append(w.rexecdArgs("key", "add", "--address", "127.0.0.1:"+w.port), args...)...)
	add.Stdout, add.Stderr = &token, w.ts.Stderr()
	w.ts.Check(add.Run())
	enroll := w.command("rexec", "enroll", "--name", args[0])
	enroll.Stdin, enroll.Stderr = &token, w.ts.Stderr()
	w.ts.Check(enroll.Run())
}

func (w *world) rexecd(args []string) {
	cmd := w.command("rexecd", w.rexecdArgs(args...)...)
	cmd.Stdout, cmd.Stderr = w.ts.Stdout(), w.ts.Stderr()
	w.ts.Check(cmd.Run())
}

func (w *world) stop([]string) {
	w.signalDaemon(unix.SIGTERM)
	w.reap(0)
}

func (w *world) kill([]string) {
	w.signalDaemon(unix.SIGKILL)
	w.reap(-1)
}

func (w *world) hangup([]string) { w.signalDaemon(unix.SIGHUP) }

func (w *world) signalDaemon(sig unix.Signal) {
	if w.cmd == nil {
		w.ts.Fatalf("no daemon runs")
	}
	w.ts.Check(w.cmd.Process.Signal(sig))
}

// reap waits for the daemon's end.
func (w *world) reap(code int) {
	killed := time.AfterFunc(hang, func() { _ = w.cmd.Process.Signal(unix.SIGABRT) }) // for the stacks
	defer killed.Stop()
	_ = w.cmd.Wait()
	if got := w.cmd.ProcessState.ExitCode(); got != code {
		w.ts.Fatalf("rexecd ended with %d, want %d; its log:\n%s", got, code, w.log.tail())
	}
	w.cmd = nil
}

func (w *world) waitLog(args []string) { w.await(args[0]) }

func (w *world) await(expr string) []string {
	return w.poll("the daemon's log", expr, w.log.text)
}

func (w *world) waitFor(args []string) {
	w.poll(args[0], args[1], func() string {
		b, _ := os.ReadFile(w.ts.MkAbs(args[0]))
		return string(b)
	})
}

func (w *world) poll(what, expr string, text func() string) []string {
	re, err := regexp.Compile("(?m)" + expr)
	w.ts.Check(err)
	deadline := time.Now().Add(15 * time.Second)
	for {
		if m := re.FindStringSubmatch(text()); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			w.ts.Fatalf("%s has nothing that matches %s:\n%s", what, expr, text())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// code runs a program and demands its exit code.
func (w *world) code(args []string) {
	want, err := strconv.Atoi(args[0])
	w.ts.Check(err)
	files := &redirections{w: w, within: hang, out: w.ts.Stdout(), err: w.ts.Stderr()}
	args = files.take(args[1:])
	defer files.close()
	cmd := w.command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.in, files.out, files.err
	if files.tty != nil {
		files.terminalFor(cmd)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	began := time.Now()
	w.ts.Check(cmd.Start())
	if files.tty != nil {
		w.ts.Check(files.tty.Type(files.typed))
	}
	stop := time.AfterFunc(hang, func() { _ = cmd.Process.Signal(unix.SIGABRT) })
	err = cmd.Wait()
	if !stop.Stop() {
		w.ts.Fatalf("hung for %s; the daemon's log:\n%s", hang, w.log.tail())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.ts.Fatalf("%v", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		w.ts.Fatalf("exit code %d, want %d; the daemon's log:\n%s", got, want, w.log.tail())
	}
	if took := time.Since(began); took > files.within {
		w.ts.Fatalf("took %s, want at most %s", took, files.within)
	}
}

// gbk runs the command code with all words in GBK.
func (w *world) gbk(args []string) {
	for i, a := range args {
		b, err := charset.EncodeCommand(charset.GBK, a)
		w.ts.Check(err)
		args[i] = string(b)
	}
	w.code(args[1:])
}

// redirections are what stands before a program's name.
type redirections struct {
	w        *world
	within   time.Duration
	in       io.Reader
	out, err io.Writer
	open     []*os.File
	tty      *rexectest.Terminal // nil: none
	screen   string              // where what was written there goes
	typed    []byte
}

func (r *redirections) take(args []string) []string {
	for len(args) > 0 {
		if text, ok := strings.CutPrefix(args[0], "within="); ok {
			d, err := time.ParseDuration(text)
			r.w.ts.Check(err)
			r.within = d
		} else if name, ok := strings.CutPrefix(args[0], "tty>"); ok {
			r.terminal(name)
		} else if name, ok := strings.CutPrefix(args[0], "tty<"); ok {
			r.typed = []byte(r.w.ts.ReadFile(name))
		} else if name, ok := strings.CutPrefix(args[0], "<"); ok {
			f, err := os.Open(r.w.ts.MkAbs(name))
			r.w.ts.Check(err)
			r.in, r.open = f, append(r.open, f)
		} else if name, ok := strings.CutPrefix(args[0], ">"); ok {
			r.out = r.create(name)
		} else if name, ok := strings.CutPrefix(args[0], "2>"); ok {
			r.err = r.create(name)
		} else {
			return args
		}
		args = args[1:]
	}
	r.w.ts.Fatalf("no program given")
	return nil
}

func (r *redirections) create(name string) *os.File {
	f, err := os.Create(r.w.ts.MkAbs(name))
	r.w.ts.Check(err)
	r.open = append(r.open, f)
	return f
}

// terminalFor gives a program the terminal for each stream that is not redirected.
func (r *redirections) terminalFor(cmd *exec.Cmd) {
	if r.in == nil {
		cmd.Stdin = r.tty.File()
	}
	if r.out == r.w.ts.Stdout() {
		cmd.Stdout = r.tty.File()
	}
	if r.err == r.w.ts.Stderr() {
		cmd.Stderr = r.tty.File()
	}
}

func (r *redirections) terminal(screen string) {
	t, err := rexectest.NewTerminal()
	r.w.ts.Check(err)
	r.tty, r.screen = t, screen
}

func (r *redirections) close() {
	if r.tty != nil {
		r.w.ts.Check(os.WriteFile(r.w.ts.MkAbs(r.screen), r.tty.Close(), 0o600))
	}
	for _, f := range r.open {
		f.Close()
	}
}

// background is a program that a script started and has not finished.
type background struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
}

func (w *world) start(args []string) {
	name := args[0]
	cmd := w.command(args[1], args[2:]...)
	stdin, err := cmd.StdinPipe()
	w.ts.Check(err)
	for suffix, dst := range map[string]*io.Writer{".out": &cmd.Stdout, ".err": &cmd.Stderr} {
		f, err := os.Create(filepath.Join(w.dir, name+suffix))
		w.ts.Check(err)
		defer f.Close()
		*dst = f
	}
	w.ts.Check(cmd.Start())
	b := &background{cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	go func() { // finish or cleanUp waits for it
		_ = cmd.Wait()
		close(b.ended)
	}()
	w.jobs[name] = b
}

func (w *world) job(name string) *background {
	b := w.jobs[name]
	if b == nil {
		w.ts.Fatalf("nothing called %s was started", name)
	}
	return b
}

func (w *world) tell(args []string) {
	_, err := io.WriteString(w.job(args[0]).stdin, args[1]+"\n")
	w.ts.Check(err)
}

func (w *world) shut(args []string) { w.ts.Check(w.job(args[0]).stdin.Close()) }

func (w *world) sig(args []string) {
	w.ts.Check(w.job(args[0]).cmd.Process.Signal(unix.SignalNum("SIG" + args[1])))
}

func (w *world) finish(args []string) {
	b := w.job(args[0])
	want, err := strconv.Atoi(args[1])
	w.ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	select {
	case <-b.ended:
	case <-ctx.Done():
		_ = b.cmd.Process.Signal(unix.SIGABRT)
		<-b.ended
		w.ts.Fatalf("%s hung; stderr:\n%s\nthe daemon's log:\n%s", args[0], w.ts.ReadFile(args[0]+".err"), w.log.tail())
	}
	delete(w.jobs, args[0])
	if got := b.cmd.ProcessState.ExitCode(); got != want {
		w.ts.Fatalf("%s ended with %d, want %d; stderr:\n%s\nthe daemon's log:\n%s",
			args[0], got, want, w.ts.ReadFile(args[0]+".err"), w.log.tail())
	}
}

func (w *world) random(args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	w.ts.Check(err)
	f, err := os.Create(w.ts.MkAbs(args[0]))
	w.ts.Check(err)
	defer f.Close()
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), size)
	w.ts.Check(err)
}

func (w *world) same(args []string) {
	a, errA := os.ReadFile(w.ts.MkAbs(args[0]))
	b, errB := os.ReadFile(w.ts.MkAbs(args[1]))
	w.ts.Check(errors.Join(errA, errB))
	if bytes.Equal(a, b) {
		return
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	w.ts.Fatalf("%s (%d bytes) and %s (%d bytes) differ from byte %d on", args[0], len(a), args[1], len(b), i)
}

func (w *world) noProcess(args []string) {
	limit := 5 * time.Second
	if len(args) > 0 {
		var err error
		limit, err = time.ParseDuration(args[0])
		w.ts.Check(err)
	}
	deadline := time.Now().Add(limit)
	for {
		pids := w.processes()
		if len(pids) == 0 {
			return
		}
		if time.Now().After(deadline) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pids[0]))
			w.ts.Fatalf("%d processes are alive, first %d: %q", len(pids), pids[0], line)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// processes are what the script's daemons started, found by an environment variable.
func (w *world) processes() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.Contains(env, []byte(rexectest.MarkName+"="+w.mark+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// logFile collects the daemon's log, of which every line must be a JSON object.
type logFile struct {
	w     *os.File
	ended chan struct{}
	mu    sync.Mutex
	b     strings.Builder
}

func newLogFile(ts *testscript.TestScript) *logFile {
	r, w, err := os.Pipe()
	ts.Check(err)
	l := &logFile{w: w, ended: make(chan struct{})}
	go func() { // close waits for it
		defer close(l.ended)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			l.mu.Lock()
			l.b.WriteString(s.Text() + "\n")
			if !json.Valid(s.Bytes()) {
				l.b.WriteString("(the line above is not JSON)\n")
			}
			l.mu.Unlock()
		}
	}()
	return l
}

func (l *logFile) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the end of the log, for failures.
func (l *logFile) tail() string {
	lines := strings.SplitAfter(l.text(), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "")
}

func (l *logFile) close() {
	if l.w != nil {
		l.w.Close()
		<-l.ended
	}
}
