//go:build linux

package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

func TestMain(m *testing.M) { os.Exit(withRexecd(m)) }

// rexecd is the variable that says where the daemon is that was built for these tests.
const rexecd = "FAULTS_REXECD"

func withRexecd(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rexecd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "rexecd")
	if out, err := exec.Command("go", "build", "-o", path, "rexec/cmd/rexecd").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building rexecd: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv(rexecd, path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return rexectest.Main(m)
}

// service is a rexecd of a test's own, as a process.
type service struct {
	t       *testing.T
	program string
	dir     string
	config  string
	keys    map[string]auth.ClientKey // by name
	wrapper []string                  // a command that executes what follows it
	address string                    // once it has run

	transport client.Transport // of its clients

	cmd   *exec.Cmd
	log   *lines
	ended chan struct{}
}

// newService makes the state directory with the key "test", and a configuration with further sections.
func newService(t *testing.T, sections string) *service {
	t.Helper()
	rexectest.CheckLeaks(t)
	s := &service{t: t, program: os.Getenv(rexecd), dir: t.TempDir(), keys: map[string]auth.ClientKey{}, address: "127.0.0.1:0", transport: client.TCP}
	s.config = filepath.Join(s.dir, "rexecd.toml")
	s.configure(s.good(sections))
	s.addKey(auth.Key{ID: "test"})
	return s
}

// good is a configuration that is in order. In a section [exec] it sets ORIGIN for every command.
func (s *service) good(sections string) string {
	return sections + fmt.Sprintf("\n[exec]\nenv = { %s = %q, ORIGIN = \"first\" }\n", rexectest.MarkName, rexectest.Mark())
}

func (s *service) configure(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) state() string    { return filepath.Join(s.dir, "state") }
func (s *service) keysPath() string { return filepath.Join(s.state(), "keys") }

func (s *service) addKey(k auth.Key) {
	s.t.Helper()
	id, err := auth.CreateIdentity(s.state())
	if err == nil {
		k.Secret, err = auth.NewSecret()
	}
	if err == nil {
		err = auth.AddKey(s.keysPath(), k)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.keys[k.ID] = auth.ClientKey{Server: id.ID, KeyID: k.ID, Secret: k.Secret}
}

// launch starts the process.
func (s *service) launch() {
	s.t.Helper()
	args := append(s.wrapper[:len(s.wrapper):len(s.wrapper)], s.program, "--config", s.config, "--state-dir", s.state(), "--listen", s.address)
	cmd, log, ended := exec.Command(args[0], args[1:]...), new(lines), make(chan struct{})
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { // whoever starts it waits for its end
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd, s.log, s.ended = cmd, log, ended
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if s.t.Failed() {
			s.t.Logf("rexecd's log:\n%s", log.tail())
		}
	})
}

// start starts the daemon and waits until it listens.
func (s *service) start() {
	s.t.Helper()
	s.launch()
	s.address = s.logged(`"listening","address":"([0-9.:]+)"`)[1]
}

// refused starts the daemon and demands that it ends at once, for something that has to be mended and with these words.
func (s *service) refused(words string) {
	s.t.Helper()
	s.launch()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("it runs, though it should say %q", words)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 78 || !strings.Contains(s.log.String(), words) {
		s.t.Errorf("it ended with %d, want 78 and %q in:\n%s", code, words, s.log.tail())
	}
}

// stop ends the daemon in order.
func (s *service) stop() {
	s.t.Helper()
	s.signal(unix.SIGTERM)
	s.ends()
}

// ends demands that the daemon ends, in order.
func (s *service) ends() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatal("it does not end")
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("it ended with %d:\n%s", code, s.log.tail())
	}
}

func (s *service) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// patience is when something that should happen at once counts as not happening.
const patience = 30 * time.Second

// logged waits for a line of the log that matches and returns its groups.
func (s *service) logged(expr string) []string {
	s.t.Helper()
	re := regexp.MustCompile(expr)
	var found []string
	s.until("no line of the log matches "+expr, func() bool {
		found = re.FindStringSubmatch(s.log.String())
		return found != nil
	})
	return found
}

// until polls until ok says so.
func (s *service) until(otherwise string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal(otherwise)
		}
	}
}

// client is a client with a key of this name.
func (s *service) client(key string) *client.Client {
	return rexectest.NewClient(s.t, client.Options{Address: s.address, Key: s.keys[key], Transport: s.transport, Log: func(string, ...any) {}})
}

// outcome is what came of a command.
type outcome struct {
	out, err bytes.Buffer
	result   *client.Result
	failure  error
}

func (o *outcome) String() string {
	if o.failure != nil {
		return fmt.Sprintf("not run: %v", o.failure)
	}
	return fmt.Sprintf("%s, code %d, cause %d, %q, stdout %.200q, stderr %.200q",
		o.result.State, o.result.Code, o.result.Cause, o.result.Reason, o.out.String(), o.err.String())
}

func (s *service) run(c *client.Client, text string) *outcome {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()
	return runNamed(ctx, c, "", text)
}

func runNamed(ctx context.Context, c *client.Client, name, text string) *outcome {
	o := new(outcome)
	m := proto.Run{Shell: []byte(text), Name: name, ID: client.NewID()}
	if name != "" {
		m.ID = proto.NamedID(name)
	}
	o.result, o.failure = c.Run(ctx, &client.Command{Run: m, Stdout: &o.out, Stderr: &o.err})
	return o
}

// prints demands that a command ends well and what it prints.
func (s *service) prints(c *client.Client, text, want string) {
	s.t.Helper()
	o := s.run(c, text)
	if o.failure != nil || o.result.State != proto.StateExited || o.result.Code != 0 || o.out.String() != want {
		s.t.Fatalf("%s: %s, want %q", text, o, want)
	}
}

// says demands that a command is not run, and the reason that the client is told.
func (s *service) says(o *outcome, state proto.State, reason string) {
	s.t.Helper()
	if o.failure != nil || o.result.State != state || !strings.Contains(o.result.Reason, reason) {
		s.t.Errorf("%s, want %s for %q", o, state, reason)
	}
}

// lines are what a process writes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

func (l *lines) tail() string {
	s := l.String()
	return s[max(0, len(s)-8<<10):]
}

// inNamespace makes the daemon run with mounts of its own, which a shell script makes; the test is skipped where
// that is not possible.
func (s *service) inNamespace(script string) {
	s.t.Helper()
	if os.Geteuid() != 0 {
		s.t.Skip("mounts need root")
	}
	s.wrapper = []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", script + "\nexec \"$@\"", "-"}
	try := append(s.wrapper[1:len(s.wrapper):len(s.wrapper)], "true")
	if out, err := exec.Command(s.wrapper[0], try...).CombinedOutput(); err != nil {
		s.t.Skipf("no mounts of our own here: %v\n%s", err, out)
	}
}
