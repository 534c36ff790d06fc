//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/rexectest"
	"rexec/internal/runner"
)

// window is a terminal of tmux(1) in which a shell runs, with the client set up for one daemon.
type window struct {
	t      *testing.T
	socket string
	daemon *rexectest.Daemon
	dir    string // HOME of the client
	host   string // by which the client knows the daemon
}

// newWindow skips the test where there is no tmux.
func newWindow(t *testing.T, address func(*rexectest.Daemon) string) *window {
	t.Helper()
	return newWindowFor(t, auth.Key{}, address)
}

// newWindowFor is newWindow for a client with another key.
func newWindowFor(t *testing.T, key auth.Key, address func(*rexectest.Daemon) string) *window {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("no tmux to look at a screen with:", err)
	}
	dir := t.TempDir()
	bin := buildPrograms(t)
	d := rexectest.New(t, rexectest.Options{
		Key: key, Jobs: job.Options{Grace: time.Second, StopGrace: 100 * time.Millisecond},
		Runner: func(o *runner.Options) {
			o.Banner = "Be kind.\nThis is \x1b[31ma test\x07."
			o.Complete = completer(bin)
		},
	})
	token := d.Token()
	token.Address = address(d)
	w := &window{t: t, socket: filepath.Join(dir, "tmux"), daemon: d, dir: dir, host: token.Address}
	script := fmt.Sprintf("unset XDG_STATE_HOME NO_COLOR HISTFILE\nexport HOME=%s XDG_CONFIG_HOME=%s/config PATH=%s:$PATH HOST=%s LC_ALL=C.UTF-8 PS1='local> '\n%s\n",
		dir, dir, bin, token.Address, "rexec enroll "+token.Encode()+"; stty -a | grep -v rows >before; clear")
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", w.socket, "kill-server").Run() })
	w.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-c", dir, "bash --rcfile "+dir+"/rc")
	w.await("local>")
	return w
}

func (w *window) tmux(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-u", "-S", w.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// keys presses keys, by the names that tmux has for them.
func (w *window) keys(keys ...string) {
	w.t.Helper()
	w.tmux(append([]string{"send-keys"}, keys...)...)
}

// line types a line.
func (w *window) line(text string) {
	w.t.Helper()
	w.tmux("send-keys", "-l", text)
	w.keys("Enter")
}

// await waits for a line of the screen that begins with a text.
func (w *window) await(text string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		screen := w.tmux("capture-pane", "-p")
		for line := range strings.Lines(screen) {
			if strings.HasPrefix(line, text) {
				return
			}
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%q does not come to the screen:\n%s", text, screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// restored demands that the client has ended with a code, and the terminal is as it was.
func (w *window) restored(code string) {
	w.t.Helper()
	w.line(`echo "code=$?"; stty -a | grep -v rows | diff - before && echo as=before`)
	w.await("code=" + code)
	w.await("as=before")
	w.line("clear")
}

// login begins a session and returns once its prompt is there.
func (w *window) login(options string) {
	w.t.Helper()
	w.line("rexec " + options + " -t $HOST")
	eventually(w.t, "the shell runs", func() bool { return len(w.daemon.Table().Jobs()) > 0 })
	w.line("export LC_ALL=C.UTF-8; PS1='remote> '; clear")
	w.await("remote>")
}

func direct(d *rexectest.Daemon) string { return d.Address() }

// TestScreen is a session as a person has it.
func TestScreen(t *testing.T) {
	w := newWindow(t, direct)
	w.login("")
	w.line("stty size; echo shell=$0 type=$TERM; tty | sed s,[0-9]*$,N,")
	w.await("30 100")
	w.await("/dev/pts/N")
	w.tmux("resize-window", "-x", "90", "-y", "25")
	w.line(`until [ "$(stty size)" = "25 90" ]; do sleep 0.05; done; echo size=$(stty size)`)
	w.await("size=25 90")
	w.line("sh -c 'echo sleep=1; exec sleep 100'")
	w.await("sleep=1")
	w.keys("C-c")
	w.line("echo code=$?")
	w.await("code=130")
	w.line("sh -c 'echo sleep=2; exec sleep 100'")
	w.await("sleep=2")
	w.keys("C-z")
	w.await("[1]+  Stopped")
	w.line("kill -9 %1; while kill -0 %1; do sleep 0.05; done 2>/dev/null; echo gone=1")
	w.await("gone=1")
	w.line("clear; echo 你好，世界; printf '\\033[31mred\\033[0m\\n'")
	w.await("你好，世界")
	w.await("red")
	if screen := w.tmux("capture-pane", "-p", "-e"); !strings.Contains(screen, "\x1b[31mred") {
		t.Errorf("nothing is red: %q", screen)
	}
	w.line("clear; top -d 1")
	w.await("Tasks:")
	w.keys("q")
	w.await("remote>") // top throws away what is typed before its end
	w.line("clear; exit 7")
	w.await("local>")
	w.restored("7")
}

// TestScreenVim draws on the whole screen, which is as before afterwards.
func TestScreenVim(t *testing.T) {
	w := newWindow(t, direct)
	w.login("")
	w.vim()
	w.await("remote>")
	w.line("clear; exit 7")
	w.await("local>")
	w.restored("7")
}

// vim types a text into an editor, which has to be installed, and leaves it.
func (w *window) vim() {
	w.t.Helper()
	if _, err := exec.LookPath("vim"); err != nil {
		w.t.Skip(err)
	}
	w.line("vim -u NONE -i NONE new")
	w.await("~")
	w.keys("i")
	w.tmux("send-keys", "-l", "typed 中文")
	w.await("typed 中文")
	w.keys("Escape")
	w.line(":q!")
}

// TestScreenAfterTheEnd: the terminal is as before, however a session ends.
func TestScreenAfterTheEnd(t *testing.T) {
	w := newWindow(t, direct)
	for _, tt := range []struct {
		name string
		end  func()
		code string
	}{
		{"in order", func() { w.keys("C-d") }, "0"},
		{"escape", func() { w.keys("Enter"); w.tmux("send-keys", "-l", "~.") }, "129"},
		{"TERM", func() { w.kill("TERM") }, "129"},
		{"HUP", func() { w.kill("HUP") }, "129"},
		{"end of the daemon", func() { w.daemon.Stop() }, "129"},
	} {
		t.Log(tt.name)
		w.login("")
		tt.end()
		w.await("local>")
		w.restored(tt.code)
	}
}

// kill sends the client a signal.
func (w *window) kill(signal string) {
	w.t.Helper()
	pid := strings.TrimSpace(w.tmux("display-message", "-p", "#{pane_pid}"))
	for name := ""; name != "rexec"; { // below the shell, and below one more if a line began with it
		text, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
		if err != nil {
			w.t.Fatal(err)
		}
		children := strings.Fields(string(text))
		if len(children) != 1 {
			w.t.Fatalf("the children of process %s are %q", pid, children)
		}
		pid = children[0]
		text, _ = os.ReadFile("/proc/" + pid + "/comm")
		name = strings.TrimSpace(string(text))
	}
	if out, err := exec.Command("kill", "-"+signal, pid).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// TestScreenOverLostConnections: a session goes on where it was, and one that hangs can be left.
func TestScreenOverLostConnections(t *testing.T) {
	var proxy *rexectest.Proxy
	w := newWindow(t, func(d *rexectest.Daemon) string {
		proxy = rexectest.NewProxy(t, d.Address())
		return proxy.Address()
	})
	w.login("--tcp")
	w.line("echo first=1")
	w.await("first=1")
	proxy.Cut()
	w.line("echo second=2")
	w.await("second=2")
	proxy.Refuse()
	proxy.Cut()
	w.tmux("resize-window", "-x", "80", "-y", "20")
	w.line(`until [ "$(stty size)" = "20 80" ]; do sleep 0.05; done; echo third=$(stty size)`)
	proxy.Admit()
	w.await("third=20 80")
	proxy.Blackhole()
	w.keys("Enter")
	w.tmux("send-keys", "-l", "~.")
	w.await("local>")
	proxy.Forward()
	w.restored("255")
	eventually(t, "the daemon ends what was left", func() bool { return len(w.daemon.Table().Jobs()) == 0 })
}
