//go:build linux

package servicetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long eventually waits. The guest is emulated: a fork takes 26 ms.
const patience = 2 * time.Minute

// TestScripts runs the stories in testdata/script, in the order of their names and in one guest for each
// suite of Debian, so that each finds what those before it left. Beside the commands of testscript they have:
//
//	guest CMD...           run it in the guest as root; stdin, stdout and stderr as for exec. For a pipeline:
//	                       guest sh -c '...'
//	rexec ARG...           run the client here; $HOST is the daemon's port of the guest, over TCP and UDP
//	code N PROGRAM ARG...  run rexec, guest or any other program and demand its exit code
//	eventually PROGRAM...  the same again and again, until the exit code is 0
//	keyadd NAME OPTION...  make a key with rexecd key add in the guest and enroll it here; use it with
//	                       rexec -i NAME
//	push FILE... FOLDER    copy into the guest
//	reboot                 reboot the guest and wait until it is up
//
// guest, rexec and reboot can be negated. In the background only exec works: exec rexec $HOST true &
//
// $SUITE is the suite; $OLD and $NEW are folders with rexec.deb and rexecd.deb, built from this tree with the
// versions $OLDVERSION and $NEWVERSION; $PACKAGING is the folder packaging of this repository. Keys that a
// script enrolls stay for the scripts after it. All but the first need what that one installs; to run one of
// them while it is written: make test-systemd SYSTEMD_SUITES=trixie SYSTEMD_SCRIPTS='10-* 40-*'
func TestScripts(t *testing.T) {
	program := os.Getenv("REXEC_SYSTEMD_LAB")
	if program == "" {
		t.Skip("it needs machines with systemd, and takes minutes: make test-systemd")
	}
	work := t.TempDir()
	build(t, work)
	var scripts []string
	for pattern := range strings.FieldsSeq(os.Getenv("REXEC_SYSTEMD_SCRIPTS")) {
		found, err := filepath.Glob("testdata/script/" + pattern + ".txtar")
		if err != nil || len(found) == 0 {
			t.Fatalf("there is no script %s (%v)", pattern, err)
		}
		scripts = append(scripts, found...)
	}
	suites := strings.Fields(os.Getenv("REXEC_SYSTEMD_SUITES"))
	if len(suites) == 0 || len(scripts) == 0 {
		t.Fatalf("scripts %q for suites %q", scripts, suites)
	}
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			m := boot(t, program, suite)
			m.home = filepath.Join(work, "home-"+suite)
			for _, script := range scripts {
				// Within a test of its own, since testscript returns before its scripts have run.
				if !t.Run("story", func(t *testing.T) { m.tell(t, work, script) }) {
					t.FailNow() // the later ones need what it leaves
				}
			}
		})
	}
}

// tell runs one script.
func (m *machine) tell(t *testing.T, work, script string) {
	// systemd refuses the sixth start within ten seconds, and the stories follow each other faster than people do.
	forget := "systemctl reset-failed rexecd.service rexecd.socket 2>/dev/null || true"
	if out, err := m.lab(t.Context(), "run", "sh", "-c", forget); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Files:              []string{script},
		RequireUniqueNames: true,
		Condition: func(name string) (bool, error) {
			return m.suite == name, nil // [bookworm], [trixie]
		},
		Setup: func(e *testscript.Env) error {
			packaging, err := filepath.Abs("../../packaging")
			for name, value := range map[string]string{
				"PATH": work + ":" + os.Getenv("PATH"), "HOME": m.home,
				"HOST": "127.0.0.1:" + m.port, "SUITE": m.suite, "PACKAGING": packaging,
				"OLD": filepath.Join(work, "old"), "OLDVERSION": oldVersion,
				"NEW": filepath.Join(work, "new"), "NEWVERSION": newVersion,
			} {
				e.Setenv(name, value)
			}
			e.Vars = append(e.Vars, m.env...)
			return errors.Join(err, os.MkdirAll(m.home, 0o700))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"guest": m.plain("guest"), "rexec": m.plain("rexec"), "reboot": m.plain("reboot"), "push": m.plain("push"),
			"code": m.code, "eventually": m.eventually, "keyadd": m.keyAdd,
		},
	})
}

// words are what to run for a command of a script.
func (m *machine) words(ts *testscript.TestScript, args []string) []string {
	if len(args) == 0 {
		ts.Fatalf("run what?")
	}
	switch args[0] {
	case "guest":
		return append([]string{m.program, "run"}, args[1:]...)
	case "push", "reboot":
		return append([]string{m.program}, args...)
	}
	return args
}

func (m *machine) run(ts *testscript.TestScript, args []string) error {
	words := m.words(ts, args)
	err := ts.Exec(words[0], words[1:]...)
	if exit := (*exec.ExitError)(nil); words[0] == m.program && errors.As(err, &exit) && exit.ExitCode() == labFailed {
		ts.Fatalf("%q: the lab failed", args)
	}
	return err
}

func (m *machine) plain(name string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		err := m.run(ts, append([]string{name}, args...))
		switch {
		case neg && err == nil:
			ts.Fatalf("%s should not have gone well", name)
		case !neg:
			ts.Check(err)
		}
	}
}

func (m *machine) code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := m.run(ts, args[1:]); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func (m *machine) eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("eventually cannot be negated: that something never happens takes forever to see")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
		err := m.run(ts, args)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still so after %s: %v", patience, err)
		}
	}
}

func (m *machine) keyAdd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: keyadd NAME OPTION...")
	}
	ts.Check(m.run(ts, append([]string{"guest", "rexecd", "key", "add", "--address", "127.0.0.1:" + m.port}, args...)))
	line := strings.Fields(ts.ReadFile("stdout")) // rexec enroll 'rexec:...'
	if len(line) != 3 {
		ts.Fatalf("rexecd key add printed %d words", len(line))
	}
	ts.Check(m.run(ts, []string{"rexec", "enroll", "--name", args[0], strings.Trim(line[2], "'")}))
}

// Two versions of the same programs, in the form of packaging/version for a commit without a tag.
const (
	oldVersion = "0.0.0~git20260101.000000.1111111"
	newVersion = "0.0.0~git20260102.000000.0000000"
)

// build makes the packages of both versions in dir, and the client for this machine.
func build(t *testing.T, dir string) {
	t.Helper()
	client := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "rexec/cmd/rexec")
	if out, err := client.CombinedOutput(); err != nil {
		t.Fatalf("building the client: %v\n%s", err, out)
	}
	for name, version := range map[string]string{"old": oldVersion, "new": newVersion} {
		to := filepath.Join(dir, name)
		packages := exec.CommandContext(t.Context(), "../../packaging/build", to, "deb", "amd64")
		packages.Env = append(os.Environ(), "VERSION="+version)
		if out, err := packages.CombinedOutput(); err != nil {
			t.Fatalf("building the packages: %v\n%s", err, out)
		}
		for _, program := range []string{"rexec", "rexecd"} { // short names, for the scripts
			file := filepath.Join(to, fmt.Sprintf("%s_%s-1_amd64.deb", program, version))
			if err := os.Rename(file, filepath.Join(to, program+".deb")); err != nil {
				t.Fatal(err)
			}
		}
	}
}
