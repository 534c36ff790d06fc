//go:build linux

package exec

import (
	"bytes"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is an account without privileges and with groups that nobody else has.
func nobody() Account {
	return Account{
		Name: "stranger", UID: 54321, GID: 54322, Groups: []uint32{54322, 54400, 54401},
		Home: "/", Shell: "/bin/sh",
	}
}

// statusOf parses the "Name:\tvalue" lines of /proc/PID/status.
func statusOf(text string) map[string]string {
	fields := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

// Nothing of the daemon's rights is left over.
func TestAccountOfCommand(t *testing.T) {
	needRoot(t)
	l := newLauncher(t)
	spec := shell(t, "cat /proc/self/status")
	spec.Account = nobody()
	spec.Umask = 0o027
	out, errs, s := output(t, l, spec)
	if s.Code != 0 {
		t.Fatalf("%+v: %s", s, errs)
	}
	got := statusOf(out)
	for name, want := range map[string]string{
		"Uid":    "54321 54321 54321 54321",
		"Gid":    "54322 54322 54322 54322",
		"Groups": "54322 54400 54401",
		"Umask":  "0027",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000",
		"CapEff": "0000000000000000", "CapAmb": "0000000000000000",
		"SigBlk": "0000000000000000", "SigIgn": "0000000000000000", "SigPnd": "0000000000000000",
		"TracerPid": "0",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
}

func TestCannotRegainRoot(t *testing.T) {
	needRoot(t)
	setpriv, err := osexec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	l := newLauncher(t)
	for _, args := range [][]string{{"--reuid=0"}, {"--regid=0"}, {"--clear-groups"}, {"--groups=0"}, {"--ruid=0"}, {"--inh-caps=+all"}} {
		spec := shell(t, "")
		spec.Account = nobody()
		spec.Argv = append(append([]string{setpriv}, args...), "/bin/true")
		if _, _, s := output(t, l, spec); s.Code == 0 && s.Signal == 0 {
			t.Errorf("setpriv %v succeeded", args)
		}
	}
}

// A command can open its streams by name, though root made the pipes.
func TestStreamsBelongToAccount(t *testing.T) {
	needRoot(t)
	l := newLauncher(t)
	spec := shell(t, "echo out >/dev/stdout && echo err >/dev/stderr && cat /dev/stdin </dev/stdin")
	spec.Account = nobody()
	spec.Stdin = true
	out, errs, s := output(t, l, spec)
	if out != "out\n" || errs != "err\n" || s.Code != 0 {
		t.Errorf("got %q, %q, %+v", out, errs, s)
	}
}

// Capabilities that a service manager made inheritable stay with the daemon.
func TestDropInheritable(t *testing.T) {
	needRoot(t)
	setpriv, err := osexec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed")
	}
	for _, args := range [][]string{
		{"--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"},
		{"--reuid=54321", "--regid=54322", "--clear-groups", "--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"},
	} {
		got := statusOf(daemon(t, append(append([]string{setpriv}, args...), "DAEMON", "/bin/cat", "/proc/self/status")...))
		if got["CapInh"] != "0000000000000000" || got["CapAmb"] != "0000000000000000" {
			t.Errorf("%v: CapInh %s, CapAmb %s", args, got["CapInh"], got["CapAmb"])
		}
		if strings.Contains(args[0], "reuid") && got["CapEff"] != "0000000000000000" {
			t.Errorf("%v: CapEff %s", args, got["CapEff"])
		}
	}
}

// daemon runs args, in which DAEMON stands for this test binary playing the
// daemon for the arguments that follow, and returns the output.
func daemon(t *testing.T, args ...string) string {
	t.Helper()
	if os.Getenv("GOCOVERDIR") != "" {
		t.Skip("the coverage files of the daemon would be in the way")
	}
	binary := t.TempDir() + "/daemon"
	copyFile(t, "/proc/self/exe", binary)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DAEMON", binary)
	}
	for dir := binary; dir != "/tmp" && dir != "/"; dir = dir[:strings.LastIndexByte(dir, '/')] {
		if err := os.Chmod(dir, 0o755); err != nil {
			break
		}
	}
	cmd := osexec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{childMode + "=daemon", "PATH=/usr/bin:/bin", "SECRET=hunter2"}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	// A file that the daemon inherited without close-on-exec.
	leak, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	cmd.ExtraFiles = []*os.File{leak, leak}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, errs.Bytes())
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// What a daemon was told to ignore (nohup, a shell's background job) is not
// ignored in commands, and nothing is blocked or caught.
func TestInheritedSignals(t *testing.T) {
	traps := []string{"HUP INT QUIT TERM TSTP TTIN TTOU USR1 PIPE", "CONT CHLD ALRM WINCH 34 35 64", "HUP", ""}
	for _, names := range traps {
		script := "exec DAEMON /bin/cat /proc/self/status"
		if names != "" {
			script = "trap '' " + names + "; " + script
		}
		got := statusOf(daemon(t, "/bin/bash", "-c", script))
		for _, set := range []string{"SigIgn", "SigBlk", "SigCgt"} {
			if got[set] != "0000000000000000" {
				t.Errorf("trap '' %s: %s is %s", names, set, got[set])
			}
		}
	}
}

// A blocked signal stays blocked in the daemon, but not in commands.
func TestInheritedMask(t *testing.T) {
	env, err := osexec.LookPath("env")
	if err != nil || osexec.Command(env, "--block-signal=USR1", "true").Run() != nil {
		t.Skip("env has no --block-signal")
	}
	got := statusOf(daemon(t, env, "--block-signal=USR1,TERM", "DAEMON", "/bin/cat", "/proc/self/status"))
	if got["SigBlk"] != "0000000000000000" {
		t.Errorf("SigBlk is %s", got["SigBlk"])
	}
}

// The command has descriptors 0 to 2 and the environment of the request.
func TestNothingLeaks(t *testing.T) {
	if out := daemon(t, "DAEMON", "/bin/ls", "/proc/self/fd"); out != "0\n1\n2\n3\n" { // 3 is ls reading
		t.Errorf("descriptors: %q", out)
	}
	if out := daemon(t, "DAEMON", "/usr/bin/env"); out != "PATH=/bin:/usr/bin\n" {
		t.Errorf("environment: %q", out)
	}
}

func TestDescriptorsWhileBusy(t *testing.T) {
	l := newLauncher(t)
	// Concurrent starts must not see each other's pipes either.
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			spec := shell(t, "")
			spec.Argv = []string{"/bin/ls", "/proc/self/fd"}
			p, err := l.Start(spec)
			if err != nil {
				t.Error(err)
				return
			}
			out, _ := io.ReadAll(p.Stdout)
			p.Wait()
			p.Stdout.Close()
			p.Stderr.Close()
			if string(out) != "0\n1\n2\n3\n" {
				t.Errorf("descriptors: %q", out)
			}
		})
	}
	wg.Wait()
}

func TestSessionOfItsOwn(t *testing.T) {
	l := newLauncher(t)
	p := start(t, l, shell(t, "echo up; read x </dev/tty 2>/dev/null && echo tty; sleep 60"))
	readLine(t, p.Stdout)
	got, err := readProc(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	if got.session != p.PID || got.group != p.PID || got.ppid != os.Getpid() {
		t.Errorf("got %+v", got)
	}
}

// Bytes that are not UTF-8 pass through unchanged.
func TestArgumentsAreBytes(t *testing.T) {
	l := newLauncher(t)
	gbk := "\xc4\xe3\xba\xc3 \xff\x01\n'\"$(x)`"
	spec := shell(t, `printf '%s|%s|%s|%s' "$0" "$1" "$2" "$V"`)
	spec.Argv = append(spec.Argv, "zero", gbk, "")
	spec.Env = append(spec.Env, "V="+gbk)
	out, _, _ := output(t, l, spec)
	if want := "zero|" + gbk + "||" + gbk; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestArg0(t *testing.T) {
	l := newLauncher(t)
	spec := shell(t, "")
	spec.Argv = []string{"/bin/cat", "/proc/self/cmdline"}
	spec.Arg0 = "-cat"
	if out, _, _ := output(t, l, spec); out != "-cat\x00/proc/self/cmdline\x00" {
		t.Errorf("got %q", out)
	}
}

// Commands get their umask, and the program keeps its own.
func TestUmask(t *testing.T) {
	own := umaskOf(t)
	l := newLauncher(t)
	for _, umask := range []int{0, 0o022, 0o027, 0o077, 0o777} {
		spec := shell(t, "umask; read x")
		spec.Umask = umask
		spec.Stdin = true
		p := start(t, l, spec)
		if out, want := readLine(t, p.Stdout), fmt.Sprintf("%04o", umask); out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		if now := umaskOf(t); now != own {
			t.Errorf("our own umask became %s, was %s", now, own)
		}
	}
}

func umaskOf(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	return statusOf(string(status))["Umask"]
}

func TestClosedLauncher(t *testing.T) {
	l := newLauncher(t)
	running := start(t, l, shell(t, "sleep 60"))
	l.Close()
	l.Close()
	if p, err := l.Start(shell(t, "exit 0")); err == nil {
		t.Errorf("started %d", p.PID)
	}
	if !alive(running.PID) {
		t.Error("closing the launcher ended a command")
	}
}

func TestLimits(t *testing.T) {
	l := newLauncher(t)
	score := 321
	for _, account := range accounts(t) {
		spec := shell(t, "cat /proc/self/limits /proc/self/oom_score_adj; grep TracerPid /proc/self/status")
		spec.Account = account
		spec.OOMScoreAdj = &score
		spec.Limits = []Limit{
			{unix.RLIMIT_NOFILE, 111, 222},
			{unix.RLIMIT_FSIZE, 4096, 1 << 20},
			{unix.RLIMIT_CORE, 0, 0},
			{unix.RLIMIT_CPU, 33, 44},
		}
		if account.UID != 0 && os.Geteuid() == 0 && !mayLimitOthers(t) {
			if e := refusal(t, l, spec); !strings.Contains(e.Reason, "CAP_SYS_RESOURCE") {
				t.Errorf("got %q", e.Reason)
			}
			continue
		}
		out, errs, s := output(t, l, spec)
		if s.Code != 0 {
			t.Fatalf("%+v: %s", s, errs)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		for name, want := range map[string]string{
			"Max open files": "111 222 files", "Max file size": "4096 1048576 bytes",
			"Max core file size": "0 0 bytes", "Max cpu time": "33 44 seconds",
		} {
			i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name) })
			if i < 0 {
				t.Fatalf("no %q in %q", name, out)
			}
			if got := strings.Join(strings.Fields(lines[i][len(name):]), " "); got != want {
				t.Errorf("%s: %s: got %q, want %q", account.Name, name, got, want)
			}
		}
		if got := lines[len(lines)-2:]; got[0] != "321" || got[1] != "TracerPid:\t0" {
			t.Errorf("%s: got %q", account.Name, got)
		}
	}
}

// mayLimitOthers reports whether we have CAP_SYS_RESOURCE, which root lacks in
// most containers.
func mayLimitOthers(t *testing.T) bool {
	t.Helper()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// accounts are those that this run of the tests can use.
func accounts(t *testing.T) []Account {
	list := []Account{self(t)}
	if os.Geteuid() == 0 {
		list = append(list, nobody())
	}
	return list
}

// Limits that cannot be set refuse the command, before its first instruction.
func TestLimitsRefused(t *testing.T) {
	l := newLauncher(t)
	trace := t.TempDir() + "/ran"
	low := -2000
	for name, change := range map[string]func(*Spec){
		"soft above hard":  func(s *Spec) { s.Limits = []Limit{{unix.RLIMIT_FSIZE, 10, 5}} },
		"unknown resource": func(s *Spec) { s.Limits = []Limit{{999, 1, 1}} },
		"score":            func(s *Spec) { s.OOMScoreAdj = &low },
	} {
		spec := shell(t, "echo >"+trace)
		change(spec)
		p, err := l.Start(spec)
		if err == nil {
			p.Stop(0)
			t.Errorf("%s: started", name)
			continue
		}
		if refused, ok := err.(*StartError); !ok || refused.Code != 255 {
			t.Errorf("%s: got %#v", name, err)
		}
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("a refused command ran")
	}
}

// Limits equal to the daemon's own take the fast path and change nothing.
func TestLimitsUnchanged(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NPROC, nil, &own); err != nil {
		t.Fatal(err)
	}
	spec := &Spec{Limits: []Limit{{unix.RLIMIT_NPROC, own.Cur, own.Max}}}
	c, err := spec.changes()
	if err != nil || !c.none() {
		t.Errorf("got %+v, %v", c, err)
	}
}

// A score that the kernel would not let the daemon set is no reason to refuse each command, unless it protects.
func TestScoreBelowOwn(t *testing.T) {
	if os.Getenv("REXEC_TEST_SCORE") == "" {
		cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestScoreBelowOwn$", "-test.v")
		cmd.Env = append(os.Environ(), "REXEC_TEST_SCORE=1") // a process of its own: raised is raised
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0); err != nil {
		t.Fatal(err)
	}
	l := newLauncher(t)
	for _, wanted := range []int{-1, 0, 400, 500, 600} {
		spec := shell(t, "cat /proc/self/oom_score_adj")
		spec.OOMScoreAdj = &wanted
		want := wanted
		if !mayLowerScore() {
			if wanted < 0 {
				if e := refusal(t, l, spec); !strings.Contains(e.Reason, "OOM score") {
					t.Errorf("%d: %q", wanted, e.Reason)
				}
				continue
			}
			want = max(wanted, 500)
		}
		if out, errs, _ := output(t, l, spec); out != fmt.Sprintln(want) {
			t.Errorf("%d: %q, want %d; %s", wanted, out, want, errs)
		}
	}
}

func TestSelf(t *testing.T) {
	a := self(t)
	if a.UID != uint32(os.Geteuid()) || a.Name == "" || a.Home == "" || a.Shell == "" {
		t.Errorf("got %+v", a)
	}
	if !slices.Contains(a.Groups, a.GID) {
		t.Errorf("groups %v lack %d", a.Groups, a.GID)
	}
}

// turn is one of the things that a benchmark compares.
type turn struct {
	unit  string
	run   func()
	times []time.Duration
}

func (c *turn) median() float64 {
	slices.Sort(c.times)
	return float64(c.times[len(c.times)/2].Microseconds())
}

// takeTurns measures all of them in turn, so that what else the machine does falls
// on each.
func takeTurns(b *testing.B, turns ...*turn) {
	for b.Loop() {
		for _, c := range turns {
			began := time.Now()
			c.run()
			c.times = append(c.times, time.Since(began))
		}
	}
	for _, c := range turns {
		b.ReportMetric(c.median(), c.unit)
	}
}

func runOnce(b *testing.B, l *Launcher, spec *Spec) {
	p, err := l.Start(spec)
	if err != nil {
		b.Fatal(err)
	}
	p.Wait()
	p.Stdout.Close()
	p.Stderr.Close()
}

// BenchmarkStart compares Start and Wait with os/exec's Run.
func BenchmarkStart(b *testing.B) {
	l := newLauncher(b)
	fast, limited := shell(b, "true"), shell(b, "true")
	limited.Limits = []Limit{{unix.RLIMIT_NOFILE, 1024, 4096}}
	ours := &turn{unit: "exec-us", run: func() { runOnce(b, l, fast) }}
	theirs := &turn{unit: "os-exec-us", run: func() {
		if err := osexec.Command("/bin/sh", "-c", "true").Run(); err != nil {
			b.Fatal(err)
		}
	}}
	takeTurns(b, ours, &turn{unit: "limits-us", run: func() { runOnce(b, l, limited) }}, theirs)
	b.ReportMetric(ours.median()/theirs.median(), "ratio")
}

// BenchmarkStartInCgroup compares Start and Wait with and without a cgroup.
func BenchmarkStartInCgroup(b *testing.B) {
	plain, grouped, spec := newLauncher(b), cgroupLauncher(b), shell(b, "true")
	without := &turn{unit: "without-us", run: func() { runOnce(b, plain, spec) }}
	with := &turn{unit: "with-us", run: func() { runOnce(b, grouped, spec) }}
	takeTurns(b, without, with)
	b.ReportMetric(with.median()/without.median(), "ratio")
}
