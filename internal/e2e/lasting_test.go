//go:build linux

package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/runner"
)

// promptLines is a prompt as a program has it: a client and what lasts.
type promptLines struct {
	t     *testing.T
	c     *client.Client
	state []byte
}

// run runs a line and goes on with the state that it ends with.
func (l *promptLines) run(text string, with ...func(*client.Command)) (*client.Result, string) {
	l.t.Helper()
	var out strings.Builder
	cmd := &client.Command{Run: proto.Run{Shell: []byte(text), Lasting: true, State: l.state}, Stdout: &out}
	for _, change := range with {
		change(cmd)
	}
	r, err := l.c.Run(l.t.Context(), cmd)
	if err != nil {
		l.t.Fatalf("%q: %v", text, err)
	}
	if len(r.ShellState) > 0 {
		l.state = r.ShellState
	}
	return r, out.String()
}

// says demands what a line prints.
func (l *promptLines) says(text, want string) {
	l.t.Helper()
	if _, out := l.run(text); out != want {
		l.t.Errorf("%q says %q, want %q", text, out, want)
	}
}

// overEach runs a test over TCP and over UDP.
func overEach(t *testing.T, o rexectest.Options, test func(t *testing.T, d *rexectest.Daemon)) {
	for name, tr := range map[string]client.Transport{"tcp": client.TCP, "udp": client.UDP} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.Transport = tr
			test(t, rexectest.New(t, o))
		})
	}
}

func TestLastingLines(t *testing.T) {
	banner := func(o *runner.Options) { o.Banner = "be kind" }
	overEach(t, rexectest.Options{Runner: banner}, func(t *testing.T, d *rexectest.Daemon) {
		l := &promptLines{t: t, c: d.Client(t)}
		var told []string
		listen := func(c *client.Command) { c.Banner = func(text string) { told = append(told, text) } }
		l.run("cd /usr/bin; export SECRET=$(printf hu; printf sh)", listen)
		l.run("pwd; true", listen)
		if len(told) != 1 || told[0] != "be kind" {
			t.Errorf("banner %q", told)
		}
		l.says("pwd; echo $SECRET", "/usr/bin\nhush\n")
		if r, _ := l.run("cd ..; exit 3"); r.State != proto.StateExited || r.Code != 3 {
			t.Errorf("%+v", r.Exit)
		}
		l.says("pwd", "/usr\n")
		// On a terminal, whose type does not last.
		if _, out := l.run("cd lib; tty >/dev/null && echo $TERM", func(c *client.Command) { c.Run.Pty = []byte("xterm-x") }); out != "xterm-x\r\n" {
			t.Errorf("on a terminal %q", out)
		}
		l.says("pwd; env | grep ^TERM=", "/usr/lib\n")
		// A process in the background does not hold up the line.
		l.run("sleep 1000 >/dev/null 2>&1 & export PID=$!")
		l.says("kill $PID && echo gone", "gone\n")
		plain := &client.Command{Run: proto.Run{Shell: []byte("true")}}
		listen(plain)
		r, err := l.c.Run(t.Context(), plain)
		if err != nil || len(r.ShellState) > 0 || len(told) != 1 {
			t.Errorf("%+v, %v, banner %q", r, err, told)
		}
		for _, line := range d.Logs() {
			if strings.Contains(line, "hush") || strings.Contains(line, "REXEC_DIR") {
				t.Errorf("the log has the state: %s", line)
			}
		}
	})
}

// TestLastingAudit: who looks at what runs sees the client's line alone.
func TestLastingAudit(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	l := &promptLines{t: t, c: d.Client(t)}
	l.run("export SECRET=hush")
	signals := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			jobs := d.Table().Jobs()
			// A shell that is about to start a program when it gets the signal leaves that behind.
			if len(jobs) == 1 && runs("sleep 1000") {
				if got := string(jobs[0].Shell); got != "sleep 1000; true" {
					t.Errorf("%q", got)
				}
				if text := fmt.Sprintf("%+v", jobs[0]); strings.Contains(text, "hush") {
					t.Error(text)
				}
				signals <- "TERM"
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	l.run("sleep 1000; true", func(c *client.Command) { c.Signals = signals })
	<-done
}

// runs reports whether a daemon of these tests has started a program with this command line.
func runs(command string) bool {
	return slices.ContainsFunc(rexectest.Processes(), func(p string) bool { return strings.HasSuffix(p, " "+command) })
}

// TestLastingIsNotWrittenDown: the ledger of named executions has no environments.
func TestLastingIsNotWrittenDown(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	l := &promptLines{t: t, c: d.Client(t)}
	named := func(c *client.Command) { c.Run.Name, c.Run.ID = "deploy", proto.NamedID("deploy") }
	const secret = "hushhushhush" // as long as no key or ID has it by chance
	l.run("export SECRET="+secret+"; exit 4", named)
	if !strings.Contains(string(l.state), "SECRET="+secret) {
		t.Fatalf("state %q", l.state)
	}
	written := []string{secret}
	for i := range 3 { // a record is base64 in the file, and begins anywhere
		written = append(written, base64.StdEncoding.EncodeToString([]byte(secret[i:i+6])))
	}
	files := 0
	err := filepath.WalkDir(d.StateDir(), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		for _, text := range written {
			if strings.Contains(string(b), text) {
				t.Errorf("%s: %q", path, b)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}
	d.Restart()
	again := &promptLines{t: t, c: d.Client(t)}
	if r, _ := again.run("export SECRET="+secret+"; exit 4", named); !r.Replayed || r.Code != 4 || len(r.ShellState) > 0 {
		t.Errorf("%+v", r.Exit)
	}
}

// TestLastingResumed: the state comes over the connection that the client came back with.
func TestLastingResumed(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	proxy := rexectest.NewProxy(t, d.Address())
	o := d.ClientOptions()
	o.Address = proxy.Address()
	l := &promptLines{t: t, c: rexectest.NewClient(t, o)}
	l.run("cd /usr")
	dir := t.TempDir()
	go func() {
		for { // cut once the line runs, and let it end meanwhile
			if _, err := os.Stat(dir + "/begun"); err == nil {
				proxy.Cut()
				_ = os.WriteFile(dir+"/go", nil, 0o600)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	r, _ := l.run("echo >" + dir + "/begun; while ! test -e " + dir + "/go; do sleep 0.01; done; cd bin; export A=b; exit 5")
	if r.Code != 5 || r.Resumed == 0 {
		t.Errorf("%+v", r)
	}
	l.says("pwd; echo $A", "/usr/bin\nb\n")
	if d.Starts() != 3 {
		t.Errorf("started %d times", d.Starts())
	}
}

func TestLastingRefused(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{Key: auth.Key{Command: "echo forced"}})
	l := &promptLines{t: t, c: d.Client(t)}
	r, _ := l.run("pwd")
	if r.State != proto.StateRefused || r.Cause != proto.CausePolicy ||
		r.Reason != "key test may not choose its command lines, so nothing lasts from one to the next" {
		t.Errorf("%+v", r.Exit)
	}
	if _, out := l.run("pwd", func(c *client.Command) { c.Run.Lasting = false }); out != "forced\n" {
		t.Errorf("%q", out)
	}
	if _, err := l.c.Complete(t.Context(), nil, []byte("l"), &proto.Run{}); err == nil {
		t.Error("completed")
	}
}

// TestGoneDirectory: the line is not run elsewhere.
func TestGoneDirectory(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	l := &promptLines{t: t, c: d.Client(t)}
	dir := filepath.Join(t.TempDir(), "gone")
	l.run("mkdir " + dir + " && cd " + dir)
	l.run("rmdir " + dir + "; export A=b")
	r, out := l.run("echo $A")
	if r.State != proto.StateRefused || r.Cause != proto.CauseDirectory || !strings.HasPrefix(r.Reason, "cannot enter "+dir) || out != "" {
		t.Errorf("%q, %+v", out, r.Exit)
	}
	l.says("echo $A", "b\n")
}

// completer is the subsystem complete. With the race detector a program takes a second to end, which is longer than anybody
// waits for an answer.
func completer(bin string) []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", filepath.Join(bin, "rexecd"), "complete"}
}

func TestCompletion(t *testing.T) {
	bin := buildPrograms(t)
	complete := func(o *runner.Options) { o.Complete = completer(bin) }
	overEach(t, rexectest.Options{Runner: complete}, func(t *testing.T, d *rexectest.Daemon) {
		l := &promptLines{t: t, c: d.Client(t)}
		dir := t.TempDir()
		gbk := "\xd6\xd0\xce\xc4"
		for _, name := range []string{"one file", "one\tof", "on", "中文", gbk} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Mkdir(filepath.Join(dir, "one"), 0o700); err != nil {
			t.Fatal(err)
		}
		l.run("cd " + dir + "; export WHERE=there")
		for _, tt := range []struct {
			line, charset, source string
			start                 int
			want                  string
		}{
			{"ls on", "", "", 3, `file "on" dir "one/" file "one\\ file"`},
			{"ls 'one f", "utf-8", "utf-8", 3, `file "'one file'"`},
			{"cd o", "", "", 3, `dir "one/"`},
			{"echo $WHER", "", "", 5, `variable "$WHERE"`},
			{"ls 中", "utf-8", "utf-8", 3, `file "中文"`},
			{"ls ", "utf-8", "utf-8", 3, `file "on" dir "one/" file "one\\ file" file "中文"`},
			{"ls " + gbk[:2], "utf-8", "gbk", 3, `file "中文"`},
			{"nosuchcomman", "", "", 0, ""},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), patience) // by default it is what a person waits
			m, err := l.c.Complete(ctx, l.state, []byte(tt.line), &proto.Run{Charset: tt.charset, Source: tt.source})
			cancel()
			if err != nil {
				t.Fatalf("%q: %v", tt.line, err)
			}
			var got []string
			for _, c := range m.Candidates {
				got = append(got, fmt.Sprintf("%s %q", c.Kind, c.Text))
			}
			if m.Start != tt.start || strings.Join(got, " ") != tt.want || m.More != 0 {
				t.Errorf("%q: from %d %s, want from %d %s", tt.line, m.Start, strings.Join(got, " "), tt.start, tt.want)
			}
		}
		l.says("pwd", dir+"\n") // on the same connection
	})
}

// TestCompletionHangs: the deadline holds, and the conversation goes on.
func TestCompletionHangs(t *testing.T) {
	hang := func(o *runner.Options) {
		o.Complete = []string{"/bin/sh", "-c", "trap '' TERM HUP; sleep 1000; sleep 1000"}
	}
	overEach(t, rexectest.Options{Runner: hang}, func(t *testing.T, d *rexectest.Daemon) {
		l := &promptLines{t: t, c: d.Client(t)}
		l.run("cd /usr")
		for _, canceled := range []bool{false, true} {
			limit, want := 200*time.Millisecond, context.DeadlineExceeded
			if canceled {
				limit, want = time.Hour, context.Canceled
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			if canceled {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			if m, err := l.c.Complete(ctx, l.state, []byte("l"), &proto.Run{}); !errors.Is(err, want) {
				t.Errorf("%+v, error %v, want %v", m, err, want)
			}
			cancel()
			l.says("pwd", "/usr\n")
		}
		for len(d.Table().Jobs()) > 0 {
			time.Sleep(time.Millisecond)
		}
	})
}

// TestCompletionWithoutAnswer: where even the end of the subsystem cannot be heard of, the connection is given up.
func TestCompletionWithoutAnswer(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{Runner: func(o *runner.Options) { o.Complete = []string{"/bin/sh", "-c", "sleep 1000"} }})
	proxy := rexectest.NewProxy(t, d.Address())
	o := d.ClientOptions()
	o.Address = proxy.Address()
	l := &promptLines{t: t, c: rexectest.NewClient(t, o)}
	l.run("cd /usr")
	proxy.Blackhole()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if m, err := l.c.Complete(ctx, l.state, []byte("l"), &proto.Run{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%+v, %v", m, err)
	}
	proxy.Forward()
	l.says("pwd", "/usr\n")
}
