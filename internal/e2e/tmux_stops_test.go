//go:build linux

package e2e

import (
	"strings"
	"testing"
)

// sane demands that the terminal is the shell's while the client is not in the foreground.
func (w *window) sane() {
	w.t.Helper()
	w.line(`clear; stty -a | grep -v rows | diff - before && echo as=before`)
	w.await("as=before")
}

// shows waits until a text is anywhere on the screen.
func (w *window) shows(text string) {
	w.t.Helper()
	eventually(w.t, text+" comes to the screen", func() bool { return strings.Contains(w.tmux("capture-pane", "-p"), text) })
}

// over tells behind a command that it has ended, so that nothing is typed for it that is for the shell, and keeps its code.
const over = "; code=$?; echo over=$((1)); (exit $code)"

// TestScreenAfterACrash: the terminal is as before if the client had no chance to put it back. The shell between does
// not do so in its place.
func TestScreenAfterACrash(t *testing.T) {
	w := newWindow(t, direct)
	for _, signal := range []string{"KILL", "ABRT", "SEGV"} { // of the last two Go crashes, as of a panic
		t.Log(signal)
		// Over UDP the daemon would hear of its end by a long silence only.
		w.line("sh -c 'rexec --tcp -t $HOST; echo over=$((1))'")
		eventually(t, "the shell runs", func() bool { return len(w.daemon.Table().Jobs()) > 0 })
		w.line("PS1='remote> '; clear")
		w.await("remote>")
		w.kill(signal)
		w.shows("over=1")
		w.keys("Enter")
		// Not at once: the shell here may be faster than who puts the terminal back.
		w.line("clear; until stty -a | grep -v rows | diff -q - before; do sleep 0.1; done; clear")
		w.await("local>")
		w.restored("0")
		eventually(t, "the end of what was left", func() bool { return len(w.daemon.Table().Jobs()) == 0 })
	}
}

// TestScreenOfQuit: QUIT is the command's, and the terminal is as before.
func TestScreenOfQuit(t *testing.T) {
	w := newWindow(t, direct)
	w.line("rexec -t $HOST 'echo begun=1; exec sleep 100'" + over)
	w.await("begun=1")
	eventually(t, "it sleeps", func() bool { return runs("sleep 100") }) // the shell before it takes no notice of QUIT
	w.kill("QUIT")
	w.shows("over=1")
	w.restored("131")
}

// TestScreenStopped: while the client is stopped or in the background the terminal is the shell's, and afterwards the
// command's again, in the size that it has then.
func TestScreenStopped(t *testing.T) {
	w := newWindow(t, direct)
	w.login("")
	for i, stop := range []func(){
		func() { w.kill("TSTP") },
		func() { w.keys("Enter"); w.tmux("send-keys", "-l", "~"); w.keys("C-z") },
		func() { w.kill("STOP") },
	} {
		stop()
		w.await("[1]+  Stopped")
		w.sane()
		size := []string{"20 70", "21 71", "22 72"}[i]
		rows, columns, _ := strings.Cut(size, " ")
		w.tmux("resize-window", "-x", columns, "-y", rows)
		w.line("clear; fg")
		// Keys go one by one only if the terminal is raw again: the editor of the shell there shows them.
		w.line(`clear; until [ "$(stty size)" = "` + size + `" ]; do sleep 0.05; done; echo size="$(stty size)"`)
		w.await("size=" + size)
		w.tmux("send-keys", "-l", "echo half=wrong")
		w.keys("C-u")
		w.line("clear; echo raw=again")
		w.await("raw=again")
	}
	w.kill("TSTP")
	w.await("[1]+  Stopped")
	w.line("clear; bg; echo back=$((1))ground")
	w.shows("back=1ground")
	w.sane()
	w.line("fg")
	w.line("clear; sh -c 'echo sleep=1; exec sleep 100'")
	w.await("sleep=1")
	w.keys("C-c") // which is the command's, and would end a client whose terminal is not raw
	w.line("echo code=$?")
	w.await("code=130")
	w.line("exit 9")
	w.await("local>")
	w.restored("9")
}

// TestScreenInTheBackground: a client there does not take what is typed for another, and its outcome is told.
func TestScreenInTheBackground(t *testing.T) {
	w := newWindow(t, direct)
	w.line("rexec $HOST 'exit 5' & wait $!; echo code=$?")
	w.await("code=5")
	w.line("clear; rexec $HOST 'echo begun=$((1)); read x; echo got=$x; exit 6' &")
	w.shows("begun=1")
	w.line("echo mine=1")
	w.await("mine=1")
	w.line("jobs | sed 's/  */_/g'")
	w.await("[1]+_Running")
	w.line("fg" + over)
	eventually(t, "the client is in the foreground", func() bool {
		return strings.TrimSpace(w.tmux("display-message", "-p", "#{pane_current_command}")) == "rexec"
	})
	w.line("hello")
	w.await("got=hello")
	w.shows("over=1")
	w.restored("6")
	w.line("rexec -t $HOST 'echo on=$(tty | cut -c1-8); exit 7' &")
	w.line("until jobs | grep -q Stopped; do sleep 0.1; done; jobs")
	w.await("[1]+  Stopped")
	if n := len(w.daemon.Table().Jobs()); n != 0 {
		t.Errorf("%d commands run behind the back of who has the terminal", n)
	}
	w.sane()
	w.line("clear; fg" + over)
	w.await("on=/dev/pts")
	w.shows("over=1")
	w.restored("7")
}
