package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/unixsock"
)

// status asks with --json. Every field that the daemon sends must be one that is known here.
func (w *watched) status() status {
	w.t.Helper()
	var st status
	dec := json.NewDecoder(strings.NewReader(w.rexecd("status", "--json")))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&st); err != nil {
		w.t.Fatal(err)
	}
	return st
}

// until waits for a status that is as it should be.
func (w *watched) until(what string, ok func(status) bool) status {
	w.t.Helper()
	for deadline := time.Now().Add(never); ; time.Sleep(5 * time.Millisecond) {
		st := w.status()
		if ok(st) {
			return st
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %+v", what, st)
		}
	}
}

// fails runs rexecd, which must print nothing on stdout, and returns its exit code and its words.
func (w *watched) fails(args ...string) (code int, words string) {
	w.t.Helper()
	var out, said bytes.Buffer
	code = report(&said, run(w.t.Context(), w.args(args...), streams{nil, &out, &said}))
	if out.Len() > 0 {
		w.t.Errorf("stdout: %q", out.String())
	}
	return code, said.String()
}

// TestStatus follows a command from its start, with a text that would do harm in a terminal.
func TestStatus(t *testing.T) {
	w := newWatched(t, "listen_tcp = '127.0.0.1:0'\nkey = 'tutorial'\n"+metricsOn)
	socket, err := os.Lstat(controlPath(filepath.Join(w.dir, "state")))
	if err != nil || socket.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", socket.Mode(), err)
	}
	w.until("nothing goes on", func(st status) bool {
		return st.State == "running" && st.PID == os.Getpid() && st.Keys == 2 && st.Server == w.key.Server.String() &&
			st.StateDir == filepath.Join(w.dir, "state") && st.Reload == nil && st.KeyFileError == "" &&
			reflect.DeepEqual(st.Jobs, []jobStatus{}) && reflect.DeepEqual(st.Sessions, []sessionStatus{}) &&
			reflect.DeepEqual(st.Listeners, []listenerStatus{{"tcp", w.address()}, {"udp", w.address()},
				{classicTCP, "127.0.0.1:" + w.port("tcp")}, {"metrics", w.metricsAddress()}})
	})

	p := w.peer()
	const text = "printf 123; sleep 100 # \x1b]0;pwned\x07\u202e\xff 中文"
	m := &proto.Run{ID: client.NewID(), Shell: []byte(text + strings.Repeat("x", 1000)), NoStdin: true}
	p.Send(m)
	w.until("a session", func(st status) bool { return len(st.Sessions) == 1 })
	classicConn, err := net.Dial("tcp", "127.0.0.1:"+w.port("tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer classicConn.Close()
	st := w.until("one command", func(st status) bool {
		return len(st.Jobs) == 1 && st.Jobs[0].Stdout == 3 && st.Jobs[0].Attached && len(st.Sessions) == 2
	})
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	j := st.Jobs[0]
	if j.ID != m.ID.String() || j.Key != "test" || j.Account != me.Username || j.Stderr != 0 || j.Ending ||
		syscall.Kill(j.PID, 0) != nil || time.Since(j.Since).Abs() > time.Minute {
		t.Errorf("%+v", j)
	}
	const shown = `printf 123; sleep 100 # \x1b]0;pwned\a\u202e\xff 中文xxx`
	if !strings.HasPrefix(j.Command, shown) || !strings.HasSuffix(j.Command, "x…") || len([]rune(j.Command)) != maxShown {
		t.Errorf("the command is shown as %q", j.Command)
	}
	if s := st.Sessions[0]; s.Key != "test" || s.Transport != "tcp" || !strings.HasPrefix(s.Peer, "127.0.0.1:") {
		t.Errorf("%+v", s)
	}
	if s := st.Sessions[1]; s.Key != "tutorial" || s.Transport != classicTCP || s.Peer != classicConn.LocalAddr().String() {
		t.Errorf("%+v", s)
	}
	var table string
	for deadline := time.Now().Add(never); ; time.Sleep(5 * time.Millisecond) {
		// To know the state before, the daemon may have visited itself, as somebody without a proof.
		if table = w.rexecd("status"); strings.Contains(table, ", and 0 without") || time.Now().After(deadline) {
			break
		}
	}
	for _, expr := range []string{
		`(?m)^rexecd devel +running, pid \d+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \(.*\)$`,
		`(?m)^listening +tcp 127.0.0.1:\d+\n +udp 127.0.0.1:\d+$`,
		`(?m)^connections +2, and 0 without a proof as yet\ncommands +1$`,
		`(?m)^test +127.0.0.1:\d+ +tcp +20`,
		`(?m)^` + m.ID.String() + ` +test +` + me.Username + ` +\d+ .* 0 B +3 B +0 B +here +printf 123; sleep 100 # \\x1b.*…$`,
	} {
		if !regexp.MustCompile(expr).MatchString(table) {
			t.Errorf("no line like %s in\n%s", expr, table)
		}
	}
	if strings.ContainsAny(table, "\x1b\a\u202e") {
		t.Errorf("what a client wrote acts on the terminal: %q", table)
	}
	p.Close()
	w.until("the client is gone", func(st status) bool { return len(st.Jobs) == 1 && !st.Jobs[0].Attached })
}

// TestStatusAtOnce: who has read that the daemon listens can ask it.
func TestStatusAtOnce(t *testing.T) {
	w := newUnstarted(t, metricsOn)
	asked := make(chan string, 1)
	w.log.hold = func(line []byte) {
		if bytes.Contains(line, []byte(`"msg":"listening"`)) {
			asked <- w.rexecd("status", "--json")
		}
	}
	w.start()
	if text := <-asked; !strings.Contains(text, `"protocol":"metrics"`) {
		t.Errorf("%s", text)
	}
}

// TestStatusOfNone: exit code 3, as that of systemctl status, before the first start and after the end.
func TestStatusOfNone(t *testing.T) {
	w := newWatched(t, "")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(controlPath(filepath.Join(w.dir, "state"))); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	none := filepath.Join(w.dir, "nothing")
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"status", "--state-dir", none}} {
		if code, words := w.fails(args...); code != 3 || !strings.Contains(words, "no daemon is running on "+w.dir) {
			t.Errorf("%q: %d, %s", args, code, words)
		}
	}
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("asking made the directory: %v", err)
	}
	if code, _ := w.fails("status", "extra"); code != 2 {
		t.Errorf("called wrongly: %d", code)
	}
	long := filepath.Join(w.dir, strings.Repeat("a", unixsock.MaxPath))
	if code, words := w.fails("status", "--state-dir", long); code != 1 || !strings.Contains(words, "choose a shorter --state-dir") {
		t.Errorf("a long path: %d, %s", code, words)
	}
}

// TestControlAfterKill: what a daemon that was killed left is replaced, but not by a second daemon.
func TestControlAfterKill(t *testing.T) {
	w := newWatched(t, "")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", controlPath(filepath.Join(w.dir, "state")))
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if code, _ := w.fails("status"); code != 3 {
		t.Errorf("status of a daemon that was killed: %d", code)
	}
	w.start()
	err = run(t.Context(), w.args("--listen", "127.0.0.1:0"), streams{nil, &w.log, &w.log})
	if err == nil || !strings.Contains(err.Error(), "already running (pid ") {
		t.Errorf("a second daemon: %v", err)
	}
	w.until("the first daemon goes on", func(st status) bool { return st.State == "running" })
}

// TestControlPathTooLong: the daemon serves without it and says so.
func TestControlPathTooLong(t *testing.T) {
	rexectest.CheckLeaks(t)
	p := &program{t: t, dir: filepath.Join(t.TempDir(), strings.Repeat("d", unixsock.MaxPath)), drain: "100ms", stopGrace: "1s"}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.config = filepath.Join(p.dir, "rexecd.toml")
	p.configure("")
	p.start()
	p.logged(`"level":"warn".*"msg":"rexecd status cannot ask this daemon","error":"the path of a Unix socket has at most 107 bytes`)
}

// TestReloadIsShown: a mistake in the configuration or in the key file is seen until it is corrected.
func TestReloadIsShown(t *testing.T) {
	w := newWatched(t, metricsOn)
	reload := func(good bool, text string) {
		t.Helper()
		before := time.Now()
		hangup(t) // once: a second one would be obeyed at some time after what follows
		st := w.until("a reload", func(st status) bool { return st.Reload != nil && st.Reload.Time.After(before) })
		if good != (st.Reload.Error == "") || !strings.Contains(st.Reload.Error, text) {
			t.Errorf("%+v, want %q", st.Reload, text)
		}
	}
	const successful = "rexecd_config_last_reload_successful"
	const at = "rexecd_config_last_reload_success_timestamp_seconds"
	started := w.scrape()
	if started[successful] != 1 || time.Since(time.Unix(int64(started[at]), 0)).Abs() > time.Minute {
		t.Errorf("at the start: %v at %v", started[successful], started[at])
	}
	config, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.config, append(config, "\nnonsense = 1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(false, "nonsense: unknown key")
	if now := w.scrape(); now[successful] != 0 || now[at] != started[at] {
		t.Errorf("after a mistake: %v, %v", now[successful], now[at])
	}
	if table := w.rexecd("status"); !regexp.MustCompile(`(?m)^reloaded .*\nwith error +.*nonsense: unknown key`).MatchString(table) {
		t.Errorf("the mistake is not in\n%s", table)
	}
	if err := os.WriteFile(w.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	reload(true, "")
	if now := w.scrape(); now[successful] != 1 || now[at] <= started[at] {
		t.Errorf("corrected: %v at %v", now[successful], now[at])
	}

	keys := keysPath(filepath.Join(w.dir, "state"))
	good, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	w.replace(keys, append([]byte("nonsense\n"), good...))
	reload(false, "keys:1")
	reload(false, "keys:1") // the same mistake is told as often as it is met
	w.want(map[string]float64{"rexecd_key_file_valid": 0, successful: 0, "rexecd_keys": 2})
	if st := w.status(); !strings.Contains(st.KeyFileError, "keys:1") {
		t.Errorf("%+v", st)
	}
	w.replace(keys, good)
	reload(true, "")
	w.want(map[string]float64{"rexecd_key_file_valid": 1, successful: 1})
}

// TestStatusWhileDraining: the daemon tells to its end what still runs.
func TestStatusWhileDraining(t *testing.T) {
	w, end := newDraining(t, "")
	w.until("output", func(st status) bool { return len(st.Jobs) == 1 && st.Jobs[0].Stdout == 1 })
	ended := make(chan error, 1)
	go func() { ended <- w.stop() }()
	w.until("draining", func(st status) bool { return st.State == "draining" && len(st.Jobs) == 1 })
	w.until("ending", func(st status) bool { return len(st.Jobs) == 1 && st.Jobs[0].Ending })
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestTellSilentReader: who asks and does not read holds up others for a moment only.
func TestTellSilentReader(t *testing.T) {
	daemon, silent := net.Pipe() // which holds nothing, as a socket does that is full
	defer silent.Close()
	done := make(chan struct{})
	go func() { tell(daemon, status{}); close(done) }()
	select {
	case <-done:
	case <-time.After(never):
		t.Error("it waits for ever")
		silent.Close()
		<-done
	}
}

func TestAgoAndSize(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "now", 999 * time.Millisecond: "now", time.Second: "1s ago", 59 * time.Second: "59s ago",
		time.Minute: "1m ago", 119 * time.Minute: "1h ago", 24 * time.Hour: "1d ago", 1000 * time.Hour: "41d ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 999 << 10: "999 KiB", 1000 << 10: "0.977 MiB",
		1 << 20: "1 MiB", 5 << 30: "5 GiB", 1<<64 - 1: "16 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestShowJob: what a client has chosen is safe to look at.
func TestShowJob(t *testing.T) {
	j := showJob(job.Info{Subsystem: "s\nftp", Name: "deploy\u009b31m\u202e"})
	if j.Command != `(subsystem s\nftp)` || j.Name != `deploy\u009b31m\u202e` {
		t.Errorf("%+v", j)
	}
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"ls -l": "ls -l", `a"b\c`: `a"b\c`, "中文 é": "中文 é", "a\nb\tc": `a\nb\tc`, "\x1b[2J": `\x1b[2J`,
		"\u009b31m": `\u009b31m`, "\u202eevil": `\u202eevil`, "\xff\xfe": `\xff\xfe`, "\ufffd": "\ufffd", "\x7f": `\x7f`,
		"\U000e0041": `\U000e0041`,
	} {
		if got := visible([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := shorten(visible([]byte(strings.Repeat("𝄞", maxShown+1))), maxShown); got != strings.Repeat("𝄞", maxShown-1)+"…" {
		t.Errorf("what is left out is not seen: %q", got)
	}
}
