//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// onTerminal asks for a script on a terminal that alters no output and echoes nothing. It is not for the account's
// shell: a signal that comes right before bash begins to wait is not seen by it.
func onTerminal(script string) proto.Run {
	return proto.Run{
		ID: client.NewID(), Argv: argv("/bin/sh", "-c", script).Argv, Pty: []byte("xterm-color"), Window: proto.Window{Rows: 24, Columns: 80},
		Modes: []proto.Mode{{Opcode: 53}, {Opcode: 70}}, // echo, output processing
	}
}

// until reads a peer's stdout up to a text.
func until(t *testing.T, p *rexectest.Peer, text string) {
	t.Helper()
	var seen []byte
	for !bytes.Contains(seen, []byte(text)) {
		switch typ, payload := p.Next(); typ {
		case proto.TypeStdout:
			seen = append(seen, payload[8:]...)
		case proto.TypeExit:
			t.Fatalf("the command has ended, and %q is not in %q", text, seen)
		}
	}
}

func stdin(offset uint64, text string) proto.Message {
	return rawMessage(append(append([]byte{byte(proto.TypeStdin)}, offsetBytes(offset)...), text...))
}

func offsetBytes(n uint64) []byte { return proto.EOF{Length: n}.Append(nil)[1:] }

type rawMessage []byte

func (m rawMessage) Append(b []byte) []byte { return append(b, m...) }

func TestTerminal(t *testing.T) {
	overBoth(t, func(t *testing.T, d *target) {
		run := onTerminal(`test -t 0 && test -t 1 && test -t 2 && stty size && echo $TERM && tty && echo $REXEC_TTY $SSH_TTY && echo err >&2; exit 7`)
		run.Env = []proto.EnvVar{{Name: []byte("TERM"), Value: []byte("another")}}
		o := d.Peer(t).Run(run)
		f := strings.Fields(string(o.Out[0]))
		if len(f) != 7 || f[0] != "24" || f[1] != "80" || f[2] != "xterm-color" || f[3] != f[4] || f[3] != f[5] || f[6] != "err" {
			t.Errorf("%q", f)
		}
		if o.Exit.Code != 7 || o.Exit.StdoutBytes != uint64(len(o.Out[0])) || o.Exit.StderrBytes != 0 || o.Exit.Background {
			t.Errorf("%+v", o.Exit)
		}
	})
}

// TestLoginShell: a terminal and no command make a login shell, whose lines are echoed.
func TestLoginShell(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{})
	p := d.Peer(t)
	p.Send(&proto.Run{ID: client.NewID(), Script: true, Pty: []byte("dumb")})
	p.Next()
	p.Send(stdin(0, "echo I am $0; exit 3\r"))
	o := p.Outcome()
	if out := string(o.Out[0]); !strings.Contains(out, "\r\nI am -") || !strings.Contains(out, "echo I am $0") || o.Exit.Code != 3 {
		t.Errorf("%q, %+v", out, o.Exit)
	}
}

func TestWindow(t *testing.T) {
	overBoth(t, func(t *testing.T, d *target) {
		p := d.Peer(t)
		run := onTerminal(`trap 'stty size; exit' WINCH; echo ready; sleep 60 & wait`)
		p.Send(&run)
		until(t, p, "ready\n")
		p.Send(proto.Window{Rows: 65535, Columns: 65535, Width: 65535, Height: 65535})
		if o := p.Outcome(); string(o.Out[0]) != "65535 65535\n" || len(o.Notes) != 0 {
			t.Errorf("%q, notes %v", o.Out[0], o.Notes)
		}
		p.Send(proto.Window{Rows: 1}) // on its way when the command had ended
		run = onTerminal(`stty size`)
		run.Window = proto.Window{}
		if o := p.Run(run); string(o.Out[0]) != "0 0\n" {
			t.Errorf("size %q, want one that is not known", o.Out[0])
		}
		p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("read x")}, proto.Window{Rows: 1, Columns: 1}, proto.EOF{})
		if o := p.Outcome(); len(o.Notes) != 1 || o.Notes[0].Code != proto.ErrorIgnored || o.Notes[0].Text != "no terminal" {
			t.Errorf("notes %v, want that there is no terminal", o.Notes)
		}
	})
}

// TestEndOfInput: it ends the input of a program that reads lines, wherever it comes.
func TestEndOfInput(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for _, text := range []string{"", "line\n", "line\r", "line", "one\ntwo"} {
		p := d.Peer(t)
		run := onTerminal(`cat; echo end`)
		p.Send(&run)
		p.Next()
		p.Send(stdin(0, text), proto.EOF{Length: uint64(len(text))})
		want := strings.ReplaceAll(text, "\r", "\n") + "end\n"
		if o := p.Outcome(); string(o.Out[0]) != want {
			t.Errorf("%q is read as %q", text, o.Out[0])
		}
	}
	run := onTerminal(`cat; echo end`)
	run.NoStdin = true
	if o := d.Peer(t).Run(run); string(o.Out[0]) != "end\n" {
		t.Errorf("%q", o.Out[0])
	}
}

// TestTerminalKeys: what is typed goes to the foreground, a signal of the client's to all.
func TestTerminalKeys(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	p := d.Peer(t)
	run := onTerminal(`set -m; trap : INT; sh -c 'echo ready; exec sleep 60'; echo status $?; sleep 60`)
	p.Send(&run)
	until(t, p, "ready\n")
	p.Send(stdin(0, "\x03"))
	until(t, p, "status 130\n")
	p.Send(proto.Signal{Name: "KILL"})
	if o := p.Outcome(); o.Exit.Signal != "KILL" {
		t.Errorf("%+v", o.Exit)
	}
}

// TestTerminalResumed: output is complete over lost connections, and the size is that of the client's terminal
// as it is then.
func TestTerminalResumed(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{})
	proxy := rexectest.NewProxy(t, d.Address())
	o := d.ClientOptions()
	o.Address = proxy.Address()
	proxy.CutAfter(600 << 10)
	const size = 3 << 20
	var out bytes.Buffer
	cmd := &client.Command{Stdout: &out, Run: onTerminal(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; printf end`, size))}
	r, err := rexectest.NewClient(t, o).Run(t.Context(), cmd)
	if err != nil || r.Code != 0 || r.Resumed == 0 || r.Missing != [2]uint64{} {
		t.Fatalf("%+v, %v", r, err)
	}
	if out.Len() != size+3 || strings.Count(out.String(), "x") != size || !strings.HasSuffix(out.String(), "xend") {
		t.Errorf("%d bytes", out.Len())
	}

	run := onTerminal(`trap 'stty size; exit' WINCH; echo ready; sleep 60 & wait`)
	p := d.Peer(t)
	p.Send(&run)
	until(t, p, "ready\n")
	p.Close()
	run.Window, run.Modes, run.StdoutFrom = proto.Window{Rows: 50, Columns: 100}, nil, 6
	if o := d.Peer(t).Run(run); string(o.Out[0]) != "50 100\n" || !o.Started.Attached {
		t.Errorf("%q, %+v", o.Out[0], o.Started)
	}
}

// TestWindowOfClient: the client passes sizes on, at once or with the next connection, and says when the command
// runs before it shows any output.
func TestWindowOfClient(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{})
	proxy := rexectest.NewProxy(t, d.Address())
	o := d.ClientOptions()
	o.Address = proxy.Address()
	out, windows := &watched{}, make(chan proto.Window)
	cmd := &client.Command{
		Stdout: out, Windows: windows, Started: func() { _, _ = out.Write([]byte("started ")) },
		Run: onTerminal(`echo ready; until [ "$now" = '31 91' ]; do
			now=$(stty size); [ "$now" = "$last" ] || echo "$now"; last=$now; sleep 0.02
		done`),
	}
	done := make(chan error, 1)
	go func() { _, err := rexectest.NewClient(t, o).Run(t.Context(), cmd); done <- err }()
	eventually(t, "the command runs", func() bool { return out.String() == "started ready\n24 80\n" })
	windows <- proto.Window{Rows: 30, Columns: 90}
	eventually(t, "the first size", func() bool { return strings.HasSuffix(out.String(), "30 90\n") })
	proxy.Refuse()
	proxy.Cut()
	windows <- proto.Window{Rows: 31, Columns: 91}
	proxy.Admit()
	eventually(t, "the second size", func() bool { return strings.HasSuffix(out.String(), "31 91\n") })
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// watched is output that a test looks at meanwhile.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestTerminalIsComplete: the end of a command cuts nothing off.
func TestTerminalIsComplete(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{})
	p := d.Peer(t)
	const size = 1 << 20
	for i := range 50 {
		o := p.Run(onTerminal(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' x; printf end`, size-i)))
		if got := o.Out[0]; len(got) != size-i+3 || !bytes.HasSuffix(got, []byte("xend")) || o.Exit.Code != 0 || o.Exit.Background {
			t.Fatalf("run %d: %d bytes, %+v", i, len(got), o.Exit)
		}
	}
}

// TestTerminalLeftBehind: who stays in the background neither holds up the record nor keeps the terminal.
func TestTerminalLeftBehind(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	dir := t.TempDir()
	// It stays until there is an outcome, and the terminal is gone.
	o := d.Peer(t).Run(onTerminal(`trap '' HUP; (until [ -e ` + dir + `/gate ]; do sleep 0.05; done; echo late; echo $? >` + dir + `/late) & echo done`))
	if o.Exit.Code != 0 || !o.Exit.Background || string(o.Out[0]) != "done\n" {
		t.Errorf("%q, %+v", o.Out[0], o.Exit)
	}
	awaitNoTerminals(t)
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process in the background fails to write", func() bool {
		text, _ := os.ReadFile(dir + "/late")
		return len(text) > 0 && string(text) != "0\n"
	})
}

// TestTerminalHangsUp: without a reader the command is hung up, and in the end nobody keeps a terminal.
func TestTerminalHangsUp(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{Jobs: job.Options{Grace: 50 * time.Millisecond, StopGrace: 100 * time.Millisecond}})
	p := d.Peer(t)
	run := onTerminal(`echo ready; exec sleep 60`)
	p.Send(&run)
	until(t, p, "ready\n")
	p.Send(&proto.Ack{Stream: proto.Stdout, Offset: proto.Closed})
	if o := p.Outcome(); o.Exit.Signal != "HUP" {
		t.Errorf("%+v", o.Exit)
	}
	run = onTerminal(`set -m; trap '' HUP TERM; sleep 60 & echo ready; sleep 61; sleep 62`)
	run.OnDisconnect = proto.DisconnectKill
	p.Send(&run)
	until(t, p, "ready\n")
	p.Close()
	awaitNoTerminals(t)
	limited := onTerminal(`set -m; sleep 60 & sleep 61`)
	limited.Timeout = 100
	if o := d.Peer(t).Run(limited); o.Exit.State != proto.StateTimeout || o.Exit.Code != 124 {
		t.Errorf("%+v", o.Exit)
	}
	awaitNoTerminals(t)
}

// TestTerminalAndPolicy: a terminal is no way around what a key may run.
func TestTerminalAndPolicy(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{Key: auth.Key{Command: "tty >/dev/null && echo forced"}})
	if o := d.Peer(t).Run(proto.Run{Script: true, Pty: []byte("xterm")}); string(o.Out[0]) != "forced\r\n" {
		t.Errorf("%q", o.Out[0])
	}
	d = rexectest.New(t, rexectest.Options{Key: auth.Key{NoPty: true}})
	if o := d.Peer(t).Run(onTerminal("true")); o.Exit.Cause != proto.CausePolicy || !strings.Contains(o.Exit.Reason, "may not have a terminal") {
		t.Errorf("%+v", o.Exit)
	}
	if o := d.Peer(t).Run(proto.Run{Shell: []byte("true")}); o.Exit.Code != 0 {
		t.Errorf("%+v", o.Exit)
	}
	d = rexectest.New(t, rexectest.Options{Key: auth.Key{Argv: [][]string{{"tty"}}}})
	p := d.Peer(t)
	if o := p.Run(proto.Run{Script: true, Pty: []byte("xterm")}); o.Exit.Cause != proto.CausePolicy {
		t.Errorf("%+v", o.Exit)
	}
	if o := p.Run(proto.Run{Shell: []byte("tty"), Pty: []byte("xterm")}); !strings.HasPrefix(string(o.Out[0]), "/dev/pts/") {
		t.Errorf("%q, %+v", o.Out[0], o.Exit)
	}
}

// awaitNoTerminals waits until this process, which is the daemon, has no terminal open.
func awaitNoTerminals(t *testing.T) {
	t.Helper()
	eventually(t, "every terminal is closed", func() bool { return len(openTerminals(t)) == 0 })
}

func openTerminals(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if target == "/dev/ptmx" || strings.HasPrefix(target, "/dev/pts/") {
			open = append(open, target)
		}
	}
	return open
}

// patience is longer than anything takes that a test waits for, also where others use the processors: only what never
// comes takes as long.
const patience = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
