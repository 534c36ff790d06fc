//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/proto"
)

// TestReadOnlyState: a state directory that cannot be written is told at the start.
func TestReadOnlyState(t *testing.T) {
	s := newService(t, "")
	s.inNamespace(fmt.Sprintf("mount --bind %s %[1]s; mount -o remount,ro,bind %[1]s", s.state()))
	s.refused("read-only file system\nrexecd: hint: make that place writable, or name another one with --state-dir\n")
}

// TestLostState: without its state directory a daemon lets nobody in and runs nothing by name, and it goes on once
// the directory is back.
func TestLostState(t *testing.T) {
	s := newService(t, "")
	s.start()
	c := s.client("test")
	s.prints(c, "echo before", "before\n")
	away := s.state() + ".away"
	if err := os.Rename(s.state(), away); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.client("test").Connect(ctx); err == nil {
		t.Error("a client is let in without a key file")
	}
	if o := runNamed(ctx, c, "deploy", "echo x"); o.failure == nil && o.result.State != proto.StateRefused {
		t.Errorf("without a key file: %s", o)
	}
	s.logged(`"the key file is gone or empty","file":".*/state/keys","error":"there are no keys any more, so everybody is refused`)
	if _, err := os.Stat(s.state()); err == nil {
		t.Error("another state directory is made")
	}
	if err := os.Rename(away, s.state()); err != nil {
		t.Fatal(err)
	}
	c = s.client("test")
	s.prints(c, "echo after", "after\n")
	if o := runNamed(ctx, c, "deploy", "echo x"); o.out.String() != "x\n" {
		t.Errorf("with the key file: %s", o)
	}
	s.stop()
}

// TestLostLedger: what cannot be written down is not run, for a second run could not be told from the first.
func TestLostLedger(t *testing.T) {
	s := newService(t, "")
	s.start()
	c := s.client("test")
	if err := os.RemoveAll(filepath.Join(s.state(), "named")); err != nil {
		t.Fatal(err)
	}
	s.says(runNamed(t.Context(), c, "deploy", "echo x"), proto.StateRefused, "the ledger of named executions cannot be written, so nothing was started")
	s.prints(c, "echo unnamed", "unnamed\n")
}

// TestOneDaemonForOneDirectory: the second one says which process is the first.
func TestOneDaemonForOneDirectory(t *testing.T) {
	s := newService(t, "")
	s.start()
	cmd := exec.CommandContext(t.Context(), s.program, "--config", s.config, "--state-dir", s.state(), "--listen", "127.0.0.1:0")
	out, _ := cmd.CombinedOutput()
	want := fmt.Sprintf("rexecd: error: already running (pid %d) with state directory %s\n", s.cmd.Process.Pid, s.state())
	if code := cmd.ProcessState.ExitCode(); code != 1 || string(out) != want {
		t.Errorf("it ended with %d and says %q, want 1 and %q", code, out, want)
	}
	// The port may become free, so this is not 78 either.
	cmd = exec.CommandContext(t.Context(), s.program, "--config", s.config, "--state-dir", s.state()+"2", "--listen", s.address)
	out, _ = cmd.CombinedOutput()
	_, port, _ := strings.Cut(s.address, ":")
	want = fmt.Sprintf("hint: rexecd (pid %d) has port %s (tcp): end it,", s.cmd.Process.Pid, port)
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "listen tcp "+s.address+": bind: address already in use") ||
		!strings.Contains(string(out), want) {
		t.Errorf("it ended with %d and says %q, want 1 and %q", code, out, want)
	}
}

// TestClone: a state directory that came to another machine is warned of, and reset-identity ends the warning.
func TestClone(t *testing.T) {
	s := newService(t, "")
	identity := filepath.Join(s.state(), "identity")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\nmachine ") {
		t.Skip("this machine has no machine-id")
	}
	machine := filepath.Join(t.TempDir(), "machine-id")
	if err := os.WriteFile(machine, []byte(strings.Repeat("0123456789abcdef", 2)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.inNamespace(fmt.Sprintf("mount --bind %s /etc/machine-id", machine))
	s.start()
	s.logged(`"level":"warn".*made on another machine.*rexecd reset-identity`)
	s.prints(s.client("test"), "echo served", "served\n")
	s.stop()
	reset := append(s.wrapper[1:len(s.wrapper):len(s.wrapper)], s.program, "--config", s.config, "--state-dir", s.state(), "reset-identity", "--yes")
	if out, err := exec.CommandContext(t.Context(), s.wrapper[0], reset...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.address = "127.0.0.1:0" // the port may be somebody else's by now
	s.start()
	if strings.Contains(s.log.String(), "made on another machine") {
		t.Error("warned of after the reset")
	}
	s.stop()
}

// TestEarlyReload: a HUP that comes while the daemon still starts is obeyed when it serves.
func TestEarlyReload(t *testing.T) {
	s := newService(t, "")
	s.signalEarly(unix.SIGHUP)
	s.address = s.logged(`"listening","address":"([0-9.:]+)"`)[1]
	s.configure(strings.Replace(s.good(""), "first", "second", 1))
	s.logged(`"msg":"reloaded"`)
	s.prints(s.client("test"), "echo $ORIGIN", "second\n")
}

// TestEarlyEnd: a daemon that is to end while it still starts does so in order.
func TestEarlyEnd(t *testing.T) {
	s := newService(t, "")
	s.address = "localhost:0" // a name to look up, which ends early, too
	s.signalEarly(unix.SIGTERM)
	s.ends()
}

// signalEarly launches a daemon and signals it when it begins to read its configuration, which it can read to its end
// then.
func (s *service) signalEarly(sig unix.Signal) {
	s.t.Helper()
	if err := os.Remove(s.config); err != nil {
		s.t.Fatal(err)
	}
	if err := unix.Mkfifo(s.config, 0o600); err != nil { // it starts no further than we let it read
		s.t.Fatal(err)
	}
	s.launch()
	config, err := os.OpenFile(s.config, os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	s.signal(sig)
	if _, err := config.WriteString(s.good("")); err != nil {
		s.t.Fatal(err)
	}
	if err := config.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// TestSignalsDoNotPile: a second HUP that comes at once is not lost for ever, and ends nothing.
func TestSignalsDoNotPile(t *testing.T) {
	s := newService(t, "")
	s.start()
	for range 200 {
		s.signal(unix.SIGHUP)
	}
	s.logged(`"msg":"reloaded"`)
	s.configure(strings.Replace(s.good(""), "first", "second", 1))
	s.signal(unix.SIGHUP)
	c := s.client("test")
	s.until("the last reload does not count", func() bool { return s.run(c, "echo $ORIGIN").out.String() == "second\n" })
}
