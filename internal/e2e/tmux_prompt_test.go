//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/rexectest"
)

// prompt begins a prompt and returns once it is there.
func (w *window) prompt(options string) {
	w.t.Helper()
	w.blank()
	w.line("rexec " + options + " $HOST")
	w.ready("")
}

// blank clears the screen of the shell there.
func (w *window) blank() {
	w.t.Helper()
	w.line("clear")
	eventually(w.t, "the screen is blank", func() bool { return w.screen() == "local>" })
}

// screen is what is on the screen, without what is blank at its end.
func (w *window) screen() string {
	return strings.TrimRight(w.tmux("capture-pane", "-p"), " \n")
}

// ready waits until the last line of the screen is the prompt, with what is typed there.
func (w *window) ready(typed string) { w.t.Helper(); w.readyAfter("", typed) }

// readyAfter does so for a prompt that tells of an ending. On a busy machine it also tells how long the line took.
func (w *window) readyAfter(ending, typed string) {
	w.t.Helper()
	notes := `( \[` + tookSeconds + `\])?`
	if ending != "" {
		notes = ` \[` + regexp.QuoteMeta(ending) + `(, ` + tookSeconds + `)?\]`
	}
	w.readyWith(notes, ending, typed)
}

// tookSeconds is how a prompt tells of a line that took from 5 s to a minute.
const tookSeconds = `([5-9]|[1-5]\d)s`

// readyWith does so for a prompt whose notes match a pattern.
func (w *window) readyWith(notes, ending, typed string) {
	w.t.Helper()
	pattern := regexp.MustCompile(`(?m)^\S+@` + regexp.QuoteMeta(w.host) + `:\S+` + notes + `[$#]` +
		regexp.QuoteMeta(strings.TrimRight(" "+typed, " ")) + `$`)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		screen := w.screen()
		lines := strings.Split(screen, "\n")
		if pattern.MatchString(strings.TrimRight(lines[len(lines)-1], " ")) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no prompt after %q with %q:\n%s", ending, typed, screen)
		}
	}
}

// type types characters.
func (w *window) typeText(text string) {
	w.t.Helper()
	w.tmux("send-keys", "-l", text)
}

// clears makes the screen empty but for the prompt.
func (w *window) clears() {
	w.t.Helper()
	w.keys("C-l")
	w.ready("")
}

// leave ends the prompt and looks at the terminal.
func (w *window) leave() {
	w.t.Helper()
	w.keys("C-d")
	w.local()
	w.restored("0")
}

// local waits for the shell there: what is typed earlier is lost with the prompt that ends.
func (w *window) local() {
	w.t.Helper()
	eventually(w.t, "the end of the prompt", func() bool { return strings.HasSuffix(w.screen(), "\nlocal>") })
}

func TestPromptEditing(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	w.await("Be kind.")
	w.await("This is ^[[31ma test^G.")
	for _, tt := range []struct {
		name, typed string
		keys        []string
		want        string
	}{
		{"in the middle", "ech word", []string{"Home", "Right", "Right", "Right"}, "echo word"},
		{"words", "one two three", []string{"M-b", "M-b", "C-k"}, "one o"},
		{"back to the begin", "echo gone", []string{"C-u"}, "o"},
		{"a word", "cp /a/b /c/d", []string{"C-w", "C-w"}, "cp o"},
		{"Chinese", "回声 你好世界", []string{"Left", "BSpace", "BSpace"}, "回声 你o界"},
		{"pictures", "a 😀🎉b", []string{"Left", "BSpace"}, "a 😀ob"},
		{"arrows", "abc", []string{"C-a", "C-f", "DC"}, "aoc"},
	} {
		w.typeText(tt.typed)
		w.keys(tt.keys...)
		w.typeText("o")
		w.ready(tt.want)
		w.keys("C-c")
		w.ready("")
		t.Log(tt.name)
	}
	w.leave()
}

// TestPromptAtTheMargin: characters that are two columns wide do not fit into the last one.
func TestPromptAtTheMargin(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	wide := strings.Repeat("世界", 30)
	for _, begin := range []string{"echo ", "echo x"} {
		w.typeText(begin + wide)
		w.keys("Left", "Left", "BSpace")
		w.typeText("z")
		w.keys("Home", "Right", "Right", "Right", "Right", "Right")
		w.typeText("y")
		w.keys("Enter")
		runes := []rune(strings.TrimPrefix(begin, "echo ") + wide)
		want := "y" + string(runes[:len(runes)-3]) + "z" + string(runes[len(runes)-2:])
		eventually(t, "the output", func() bool {
			return strings.Contains(strings.ReplaceAll(w.tmux("capture-pane", "-p", "-J"), "\n", ""), want)
		})
		w.ready("")
		w.clears()
	}
	// Filled to the last column and one back.
	columns := 100 - len("root@"+w.host+":~# ")
	w.typeText(strings.Repeat("x", columns+1))
	w.keys("BSpace", "BSpace")
	w.typeText("y")
	eventually(t, "the row is full", func() bool { return strings.HasSuffix(w.screen(), strings.Repeat("x", columns-1)+"y") })
	w.keys("C-c")
	w.ready("")
	w.leave()
}

func TestPromptRuns(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	w.line("cd /usr; export GREETING='guten Tag' && cd lib")
	w.line("echo $GREETING; pwd") // typed ahead
	w.await("guten Tag")
	w.await("/usr/lib")
	w.ready("")
	if !strings.Contains(w.screen(), w.host+":/usr/lib") {
		t.Errorf("the prompt does not tell the directory:\n%s", w.screen())
	}
	w.line("(exit 7)")
	w.readyAfter("7", "")
	if colours := w.tmux("capture-pane", "-p", "-e"); !strings.Contains(colours, "\x1b[31m7") {
		t.Errorf("the status is not red: %q", colours)
	}
	w.line("stty size; tty | sed s,[0-9]*$,N,")
	w.await("30 100")
	w.await("/dev/pts/N")
	w.ready("")
	w.line("sh -c 'echo up=1; exec sleep 100'")
	w.await("up=1")
	w.keys("C-c")
	w.readyAfter("INT", "")
	w.line("sleep 5.1")
	w.readyWith(` \[`+tookSeconds+`\]`, "a while", "")
	w.line("printf 'no end'")
	w.await("no end")
	w.ready("")
	w.tmux("resize-window", "-x", "90", "-y", "25")
	w.line(`until [ "$(stty size)" = "25 90" ]; do sleep 0.05; done; echo size=$(stty size)`)
	w.await("size=25 90")
	w.ready("")
	w.typeText("unfinished")
	w.keys("C-c")
	w.ready("")
	w.line(":nothing of ours")
	w.await("rexec: error: :nothing of ours")
	w.await("rexec: hint: :help")
	w.line(": of the shell")
	w.line("?")
	w.await("  :charset [C]")
	w.line(":charset gbk")
	w.await("rexec: output is taken for gbk, and shown in utf-8")
	w.ready("")
	w.line(`printf '\326\320\316\304\n'`)
	w.await("中文")
	w.ready("")
	w.line("exit 3")
	w.local()
	w.restored("3")
}

// TestPromptTypedAhead: keys go to the command that runs, and what it does not take is the next line's.
func TestPromptTypedAhead(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	gate := filepath.Join(w.dir, "gate")
	w.line("until [ -e " + gate + " ]; do sleep 0.05; done; read x; read y; echo x=$x y=$y")
	for _, line := range []string{"first", "second", "echo third=3"} {
		w.line(line)
	}
	w.typeText("echo rm")
	w.keys("C-w") // the terminal there takes words back, too
	w.typeText("fourg")
	w.keys("BSpace")
	w.shows("echo four")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.shows("x=first y=second")
	w.shows("third=3")
	w.ready("echo four")
	w.typeText("th=4")
	w.keys("Enter")
	w.await("fourth=4")
	w.ready("")
	w.leave()
}

func TestPromptVim(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	w.vim()
	w.ready("")
	w.leave()
}

func TestPromptPrograms(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	w.line("top -d 1")
	w.await("Tasks:")
	w.keys("q")
	w.ready("")
	w.line("cat")
	w.line("hello=1")
	w.await("hello=1")
	w.keys("C-d")
	w.ready("")
	w.line("sleep 100")
	eventually(t, "it runs", func() bool { return len(w.daemon.Table().Jobs()) > 0 })
	w.keys("Enter")
	w.typeText("~.")
	w.readyAfter("HUP", "")
	w.leave()
}

func TestPromptHistory(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	for _, line := range []string{"echo one=1", "echo two=2", " echo secret=3"} {
		w.line(line)
		_, shown, _ := strings.Cut(line, "echo ")
		w.await(shown)
		w.ready("")
	}
	w.typeText("echo 'three=")
	w.keys("Enter")
	w.await(">")
	w.line("3'")
	w.await("3")
	w.ready("")
	w.keys("Up")
	w.await("> 3'")
	w.keys("C-c")
	w.ready("")
	w.keys("Up", "Up", "Up")
	w.ready("echo two=2")
	w.keys("C-c")
	w.ready("")
	w.leave()

	w.prompt("")
	w.keys("Up", "Up", "Up", "Up")
	w.ready("echo one=1")
	w.keys("C-c")
	w.ready("")
	w.keys("C-r")
	w.typeText("TWO")
	w.await("bck-i-search: TWO")
	w.keys("End")
	w.typeText("2")
	w.ready("echo two=22")
	w.keys("Enter")
	w.await("two=22")
	w.ready("")
	w.leave()

	files, err := filepath.Glob(filepath.Join(w.dir, ".local/state/rexec/history/*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	info, err2 := os.Stat(files[0])
	if err != nil || err2 != nil || info.Mode() != 0o600 || strings.Contains(string(text), "secret") ||
		!strings.Contains(string(text), "'three=\\n3'\n") {
		t.Errorf("%v, %v, %v: %q", info.Mode(), err, err2, text)
	}

	w.blank()
	w.line("HOME=/dev/null rexec $HOST")
	w.await("rexec: the history is not kept: making the directory of the history")
	w.ready("")
	w.line("echo kept=0")
	w.await("kept=0")
	w.keys("Up")
	w.ready("echo kept=0")
	w.keys("C-c")
	w.ready("")
	w.leave()
}

func TestPromptPaste(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("")
	file := filepath.Join(w.dir, "text")
	if err := os.WriteFile(file, []byte("for i in 1 2\ndo\techo i=$i\ndone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.tmux("load-buffer", file)
	w.tmux("paste-buffer", "-p")
	w.await("> done")
	if strings.Contains(w.screen(), "\ni=1") {
		t.Errorf("it runs already:\n%s", w.screen())
	}
	w.keys("Up", "Home")
	w.keys("End")
	w.typeText(" x")
	w.keys("Enter")
	w.await("i=2 x")
	w.ready("")
	w.leave()
}

// tabUntil presses Tab until something has come about: on a slow machine an answer can be too late for who types.
func (w *window) tabUntil(ok func() bool) {
	w.t.Helper()
	for range 10 {
		w.keys("Tab")
		for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if ok() {
				return
			}
		}
	}
	w.t.Fatalf("Tab does nothing:\n%s", w.screen())
}

func TestPromptCompletion(t *testing.T) {
	var proxy *rexectest.Proxy
	w := newWindow(t, func(d *rexectest.Daemon) string {
		proxy = rexectest.NewProxy(t, d.Address())
		return proxy.Address()
	})
	dir := filepath.Join(w.dir, "files")
	for _, name := range []string{"alpha/inner", "alphabet/x", "with space", "文件"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.prompt("--tcp")
	w.line("cd " + dir)
	w.ready("")
	complete := func(typed, want string) {
		t.Helper()
		w.typeText(typed)
		w.tabUntil(func() bool { return strings.HasSuffix(w.screen(), want) })
		w.ready(want)
	}
	complete("ls al", "ls alpha")
	w.tabUntil(func() bool { return strings.Contains(w.screen(), "alpha/     alphabet/") })
	w.ready("ls alpha")
	w.keys("C-u")
	complete("ls 文", "ls 文件/")
	w.keys("C-u")
	complete("ls w", `ls with\ space/`)
	w.keys("C-u")
	complete("cd alpha/i", "cd alpha/inner/")
	w.keys("C-u")
	complete("mkdi", "mkdir")
	w.typeText("x") // behind the space that was put there
	w.ready("mkdir x")
	w.keys("C-u")

	// An answer that does not come keeps nobody from typing.
	proxy.Blackhole()
	w.typeText("ls al")
	w.keys("Tab")
	w.typeText("x")
	w.ready("ls alx")
	w.keys("Tab")
	w.typeText("y")
	w.ready("ls alxy")
	w.keys("C-u")
	proxy.Forward()
	w.line("echo after=1")
	w.await("after=1")
	w.ready("")
	w.leave()
}

func TestPromptOverLostConnections(t *testing.T) {
	var proxy *rexectest.Proxy
	w := newWindow(t, func(d *rexectest.Daemon) string {
		proxy = rexectest.NewProxy(t, d.Address())
		return proxy.Address()
	})
	w.prompt("--tcp")
	w.line("cd /usr/lib; export KEPT=1")
	w.ready("")
	proxy.Cut() // between lines
	w.line("echo between=$KEPT")
	w.await("between=1")
	w.ready("")
	gate := filepath.Join(w.dir, "gate")
	w.line("echo begun=1; until [ -e " + gate + " ]; do sleep 0.05; done; echo during=$KEPT")
	w.await("begun=1")
	proxy.Cut() // while a command runs
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.await("during=1")
	w.ready("")
	w.line("sleep 100")
	eventually(t, "it runs", func() bool { return len(w.daemon.Table().Jobs()) > 0 })
	w.daemon.Stop() // which ends it
	w.await("rexec: error: the command was ended")
	w.daemon.Start()
	w.line("clear")
	w.ready("")
	w.line("echo restarted=$KEPT; pwd")
	w.await("restarted=1")
	w.await("/usr/lib")
	w.ready("")
	proxy.Refuse()
	proxy.Cut()
	w.line("echo refused=1")
	w.await("rexec: error: ")
	w.readyAfter("255", "")
	proxy.Admit()
	w.line("echo admitted=$KEPT")
	w.await("admitted=1")
	w.ready("")
	proxy.Blackhole()
	w.line("echo never=1")
	// A request has the prompt's state, and is larger than acknowledgements. Of one that is interrupted before it is on its
	// way the outcome is known.
	const request = 200
	eventually(t, "the request is on its way", func() bool { return proxy.Held() > request })
	eventually(t, "the waiting is given up", func() bool {
		w.keys("C-c")
		return strings.Contains(w.screen(), "rexec: error: outcome unknown: interrupted")
	})
	w.keys("Enter")
	w.ready("")
	proxy.Forward()
	w.leave()
}

// TestPromptAfterTheEnd: the terminal is as before, however a prompt ends, and while it is stopped.
func TestPromptAfterTheEnd(t *testing.T) {
	w := newWindow(t, direct)
	for _, tt := range []struct {
		name string
		end  func()
		code string
	}{
		{"Ctrl-D", func() { w.keys("C-d") }, "0"},
		{"quit", func() { w.line("quit") }, "0"},
		{"TERM", func() { w.kill("TERM") }, "255"},
		{"HUP", func() { w.kill("HUP") }, "255"},
		{"TERM with text", func() { w.typeText("echo not=run"); w.ready("echo not=run"); w.kill("TERM") }, "255"},
		{"TERM while a command runs", func() {
			w.line("sleep 100")
			eventually(t, "it runs", func() bool { return len(w.daemon.Table().Jobs()) > 0 })
			w.kill("TERM")
		}, "255"},
	} {
		t.Log(tt.name)
		w.prompt("")
		tt.end()
		w.local()
		if strings.Contains(w.screen(), "\nnot=run") {
			t.Errorf("it ran:\n%s", w.screen())
		}
		w.restored(tt.code)
	}
	for _, stop := range []func(){func() { w.keys("C-z") }, func() { w.kill("STOP") }} {
		w.prompt("")
		w.typeText("echo on=1")
		w.ready("echo on=1")
		stop()
		w.await("[1]+  Stopped")
		w.sane()
		w.line("clear; fg")
		w.ready("echo on=1")
		stop()
		w.await("[1]+  Stopped")
		w.line("clear; bg; echo in the back")
		w.await("in the back")
		w.line("clear; fg") // no signal tells of that
		w.ready("echo on=1")
		w.keys("Enter")
		w.await("on=1")
		w.ready("")
		w.leave()
	}
	w.blank()
	w.line("sh -c 'rexec $HOST; echo over=$((1))'")
	w.ready("")
	w.kill("SEGV") // of which Go crashes, as of a panic
	w.shows("over=1")
	w.keys("Enter")
	w.line("clear; until stty -a | grep -v rows | diff -q - before; do sleep 0.1; done; clear")
	w.await("local>")
	w.restored("0")
}

// TestPromptOnPlainTerminals: without escape sequences, and with output elsewhere.
func TestPromptOnPlainTerminals(t *testing.T) {
	w := newWindow(t, direct)
	for i, begin := range []string{"TERM=dumb rexec $HOST | cat -v", "env -u TERM rexec $HOST | cat -v", "stty rows 0 cols 0; rexec $HOST 2>&1 | cat -v"} {
		w.blank()
		w.line(begin)
		w.shows(w.host + ":~")
		w.line("cd /usr; (exit 3)")
		w.shows(w.host + ":/usr [3]")
		// The prompt does not go through cat, and waits until the output has come out of it.
		gate := filepath.Join(w.dir, fmt.Sprint("gate", i))
		w.line("echo at=$PWD; until [ -e " + gate + " ]; do sleep 0.05; done")
		w.await("at=/usr")
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.Replace(w.screen(), "This is ^[", "", 1), "^[") {
			t.Errorf("escape sequences:\n%s", w.screen())
		}
		w.ready("")
		w.line("quit")
		w.local()
		w.line("stty rows 30 cols 100")
	}
	w.blank()
	w.line("TERM=dumb rexec $HOST")
	w.shows(w.host + ":~")
	w.line("tty; cat; echo at=$PWD")
	w.await("not a tty")
	w.await("at=/")
	w.ready("")
	w.keys("C-c") // begins a new line
	w.shows(w.host + ":~# ^C")
	w.ready("") // for behind what is typed earlier the prompt would stay on its line
	w.line("exit 4")
	w.local()
	w.restored("4")
}

// TestPromptOfRestrictedKeys: what a key must not have is left out, and said once.
func TestPromptOfRestrictedKeys(t *testing.T) {
	w := newWindowFor(t, auth.Key{NoPty: true}, direct)
	w.prompt("")
	w.line("cd /usr/lib")
	w.await("rexec: each line runs without a terminal, and has no input: ")
	w.ready("")
	w.line("pwd; tty; cat; (exit 9)")
	w.await("/usr/lib")
	w.await("not a tty")
	w.readyAfter("9", "")
	w.line("echo up=1; exec sleep 100")
	w.await("up=1")
	w.typeText("echo next=2") // for which nobody reads but the prompt
	w.keys("C-c")
	w.readyAfter("INT", "")
	w.line("echo next=3")
	w.await("next=3")
	w.ready("")
	w.leave()
	if n := strings.Count(w.tmux("capture-pane", "-p", "-S", "-100"), "each line runs without"); n > 1 {
		t.Errorf("it is said %d times", n)
	}

	w = newWindowFor(t, auth.Key{Command: `echo "got=$REXEC_ORIGINAL_COMMAND"`}, direct)
	w.line("rexec $HOST")
	w.await("rexec: each line is run as it is, and cd and export do not last")
	w.line("some thing")
	w.await("got=some thing")
	// What is typed before the prompt is there is the command's.
	eventually(t, "the next prompt", func() bool { return strings.HasSuffix(w.screen(), "\n"+w.host+"$") })
	if n := w.daemon.Starts(); n > 3 { // of which two are refused
		t.Errorf("%d starts of one line", n)
	}
	w.keys("C-d")
	w.local()
	w.restored("0")
}

// TestPromptRecords: one record for each line, and what is said along the way does not mix with what is edited.
func TestPromptRecords(t *testing.T) {
	w := newWindow(t, direct)
	w.prompt("--json -v")
	w.line("(exit 3)")
	w.await(`{"id":`)
	w.shows(`"code":3,`)
	w.readyAfter("3", "")
	w.leave()

	w.blank()
	w.line("rexec --status-fd 5 $HOST 5>records")
	w.ready("")
	w.line("cd /")
	w.ready("")
	w.line("help")
	w.await("  help, ?")
	w.line("(exit 4)")
	w.readyAfter("4", "")
	w.leave()
	text, err := os.ReadFile(filepath.Join(w.dir, "records"))
	if lines := strings.Split(string(text), "\n"); err != nil || len(lines) != 3 || !strings.Contains(lines[0], `"code":0,`) ||
		!strings.Contains(lines[1], `"code":4,`) || strings.Contains(string(text), "\r") {
		t.Errorf("%v: %q", err, text)
	}
}
