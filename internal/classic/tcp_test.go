package classic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/classic"
	"rexec/internal/job"
	"rexec/internal/rexectest"
	"rexec/internal/runner"
)

// TestAnswers runs everything over one connection, one command after the other.
func TestAnswers(t *testing.T) {
	for _, both := range []bool{false, true} {
		d := start(t, classic.Options{Both: both}, auth.Key{})
		c := dial(t, d)
		for _, tt := range []struct{ command, classic, both string }{
			{"echo one", "one\n", "one\n"},
			{"echo out; echo err >&2", "err\n", "out\nerr\n"},
			{"echo err >&2", "err\n", "err\n"},
			{"true", "执行成功", "执行成功"},
			{"exit 3", "执行成功", "执行成功"},
			{"echo 中文; echo 错误 >&2", "错误\n", "中文\n错误\n"},
			{"printf '\\326\\320\\316\\304\\n'", "中文\n", "中文\n"},
			{"printf 'x'", "x", "x"},
			{"echo hal", "hal\n", "hal\n"}, // half a command and then silence is a command
			{"cat", "执行成功", "执行成功"},        // stdin is empty
			{"echo ✓ é", "? é\n", "? é\n"},
			{"printf 'a\\0b' | tr '\\0' -; printf %s \"$REXEC_ID\" | wc -c", "a-b32\n", "a-b32\n"},
			{"nul\x00byte", "[not run: NUL in command]", "[not run: NUL in command]"},
		} {
			want := tt.classic
			if both {
				want = tt.both
			}
			if got := c.run(tt.command); got != want {
				t.Errorf("%q: %q, want %q", tt.command, got, want)
			}
		}
		c.Close()
		logged(t, d, `"classic connection"`, `"accepted"`, `"key":"test"`)
		logged(t, d, `"msg":"command"`, `"key":"test"`, `"pid":`)
	}
}

// TestPieces: what comes without a pause is one command, whatever the pieces; silence ends it.
func TestPieces(t *testing.T) {
	patiently(t, 500*time.Millisecond, func(unit time.Duration) error {
		c := dial(t, start(t, classic.Options{Pause: unit}, auth.Key{}))
		_ = c.SetNoDelay(true)
		for i := range 10 {
			c.send([]string{"echo ", "1", "2", "3"}[min(i, 3)])
			pause(10 * time.Millisecond)
		}
		return c.want("12" + strings.Repeat("3", 7) + "\n")
	})
}

// TestBehind: two that are sent while a third runs are two if there was a pause between them.
func TestBehind(t *testing.T) {
	patiently(t, 250*time.Millisecond, func(unit time.Duration) error {
		c := dial(t, start(t, classic.Options{Pause: 20 * time.Millisecond}, auth.Key{}))
		c.send(fmt.Sprintf("echo a; sleep %.2f", 2.4*unit.Seconds()))
		pause(unit)
		c.send("echo b")
		pause(unit)
		c.send("echo c")
		for _, text := range []string{"a\n", "b\n", "c\n"} {
			if err := c.want(text); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestGlued(t *testing.T) {
	const glued = "echo a\necho b"
	c := dial(t, start(t, classic.Options{}, auth.Key{}))
	if got := c.run(glued); got != "a\nb\n" {
		t.Errorf("for the shell: %q", got)
	}
	c = dial(t, start(t, classic.Options{Lines: true}, auth.Key{}))
	c.send("\n\r\n" + glued + "\r\n \necho c; echo c")
	for _, want := range []string{"a\n", "b\n", "c\nc\n"} {
		if got := c.answer(); got != want {
			t.Errorf("line by line: %q, want %q", got, want)
		}
	}
}

// TestAhead sends more lines at once than are kept, each with an answer.
func TestAhead(t *testing.T) {
	const n = 60
	c := dial(t, start(t, classic.Options{Lines: true}, auth.Key{}))
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		for i := range n {
			fmt.Fprintf(c, "echo %d # %s\n", i, strings.Repeat("x", 4000))
		}
	})
	for i := range n {
		if got := c.answer(); got != fmt.Sprintf("%d\n", i) {
			t.Fatalf("answer %d is %q", i, got)
		}
	}
}

func TestTooLong(t *testing.T) {
	for _, lines := range []bool{false, true} {
		// A pause that no machine is so busy as to make within what is sent at once.
		d := start(t, classic.Options{Lines: lines, Pause: 250 * time.Millisecond}, auth.Key{})
		c := dial(t, d)
		if got := c.run("echo fits " + strings.Repeat("#", 64<<10-10)); !strings.HasPrefix(got, "fits") {
			t.Errorf("64 KiB: %.50q", got)
		}
		starts := d.Starts()
		c.send("echo " + strings.Repeat("x", 64<<10-4))
		if got := c.answer(); got != "[not run: the command is longer than 65536 bytes]" {
			t.Errorf("one byte more: %.80q", got)
		}
		c.over()
		// 10 MB without a pause, sent by somebody who looks for the answer only then.
		c = dial(t, d)
		if n, err := c.Write(bytes.Repeat([]byte("rm -rf x; "), 1<<20)); err != nil {
			t.Errorf("after %d bytes: %v", n, err)
		}
		if got := c.answer(); !strings.Contains(got, "longer than 65536 bytes") {
			t.Errorf("10 MB: %.80q", got)
		}
		c.over()
		if n := d.Starts(); n != starts {
			t.Errorf("%d commands were started", n-starts)
		}
	}
}

func TestInvalidUTF8(t *testing.T) {
	d := start(t, classic.Options{}, auth.Key{})
	c := dial(t, d)
	for text, at := range map[string]int{"\xff": 1, "echo \xd6\xd0\xce\xc4": 6, "echo 中\xed\xa0\x80": 9, "echo 中"[:7]: 6} {
		want := fmt.Sprintf("[not run: byte %d of the command is not UTF-8; commands are UTF-8, answers GBK]", at)
		if got := c.run(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if n := d.Starts(); n != 0 {
		t.Errorf("%d commands were started", n)
	}
	if got := c.run("echo on"); got != "on\n" {
		t.Errorf("then %q", got)
	}
}

// TestForeign: what a web page can have a browser send is no command, nor is any line of it.
func TestForeign(t *testing.T) {
	for _, lines := range []bool{false, true} {
		d := start(t, classic.Options{Lines: lines}, auth.Key{})
		requests := []string{"POST / HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n\r\n\necho in\n", "GET /;id HTTP/1.0\n"}
		if lines {
			requests = append(requests, "\x16\x03\x01\x02\x00\x01\n\necho in\n", "\xff\necho in\n")
		}
		for _, request := range requests {
			c := dial(t, d)
			c.send(request)
			if got := c.answer(); got != "[not run: this is another protocol, and this server runs commands]" {
				t.Errorf("%q: %q", request, got)
			}
			c.over()
		}
		if n := d.Starts(); n != 0 {
			t.Errorf("%d commands were started", n)
		}
		c := dial(t, d)
		for _, command := range []string{"echo GET / HTTP/1.1", "echo 'POST' HTTP/1.1"} {
			if got := c.run(command); !strings.HasSuffix(got, "HTTP/1.1\n") {
				t.Errorf("%q: %q", command, got)
			}
		}
	}
}

func TestChallenge(t *testing.T) {
	for name, a := range map[string]classic.Auth{"MD5": classic.HMACMD5, "SHA-256": classic.HMACSHA256} {
		t.Run(name, func(t *testing.T) {
			d := start(t, classic.Options{Auth: a, MaxConnections: 200}, auth.Key{})
			c := dial(t, d)
			c.solve(a)
			if got := c.run("echo in"); got != "in\n" {
				t.Errorf("%q", got)
			}
			var all sync.WaitGroup
			wrong := func(what string, answer func(question []byte) []byte) {
				all.Go(func() { refused(t, d, what, answer) })
			}
			for n := range 70 {
				wrong(fmt.Sprintf("%d bytes", n), func([]byte) []byte { return make([]byte, n) })
			}
			for n := range macOf(a, secret, nil) {
				wrong(fmt.Sprintf("the first %d bytes", n), func(q []byte) []byte { return macOf(a, secret, q)[:n] })
			}
			wrong("another key", func(q []byte) []byte { return macOf(a, "other", q) })
			wrong("another question", func(q []byte) []byte { return macOf(a, secret, append(q, 0)) })
			wrong("the other hash", func(q []byte) []byte { return macOf(3-a, secret, q) })
			wrong("the question", func(q []byte) []byte { return q })
			wrong("a command", func([]byte) []byte { return []byte("echo " + strings.Repeat("x", 100)) })
			all.Wait()
			if n := d.Starts(); n != 1 {
				t.Errorf("%d commands were started, want 1", n)
			}
		})
	}
}

// refused demands that a client with this answer gets the challenge and nothing else.
func refused(t *testing.T, d *rexectest.Daemon, what string, answer func([]byte) []byte) {
	nc, err := net.Dial("tcp", d.ClassicTCP())
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	question := make([]byte, 32)
	if _, err := io.ReadFull(nc, question); err != nil {
		t.Errorf("%s: no challenge: %v", what, err)
		return
	}
	_, _ = nc.Write(answer(question))
	_ = nc.(*net.TCPConn).CloseWrite() // the daemon need not wait for more
	b, err := io.ReadAll(nc)
	if timeout, ok := errors.AsType[net.Error](err); len(b) > 0 || ok && timeout.Timeout() {
		t.Errorf("%s: %q, %v", what, b, err)
	}
}

// TestSilentStrangers: who says nothing to the challenge keeps nobody out, however many they are.
func TestSilentStrangers(t *testing.T) {
	const places, strangers = 8, 400
	d := start(t, classic.Options{Auth: classic.HMACSHA256, HandshakeTimeout: time.Minute, MaxConnections: places}, auth.Key{})
	before := peak()()
	stop := peak()
	for range strangers {
		dial(t, d)
	}
	began := time.Now()
	c := dial(t, d)
	c.solve(classic.HMACSHA256)
	if got := c.run("echo in"); got != "in\n" {
		t.Errorf("%q", got)
	}
	took, most := time.Since(began), stop()-before
	t.Logf("beside %d silent connections a client had its answer after %s; at most %d goroutines more", strangers,
		took.Round(time.Millisecond), most)
	if most > 10*places {
		t.Errorf("%d goroutines for %d places", most, places)
	}
}

// TestHalfAnAnswer: who answers the challenge in part and then is silent is turned away.
func TestHalfAnAnswer(t *testing.T) {
	d := start(t, classic.Options{Auth: classic.HMACSHA256, HandshakeTimeout: 200 * time.Millisecond}, auth.Key{})
	c := dial(t, d)
	question := make([]byte, 32)
	if _, err := io.ReadFull(c, question); err != nil {
		t.Fatal(err)
	}
	c.send(string(macOf(classic.HMACSHA256, secret, question)[:31]))
	c.over()
	logged(t, d, `"classic connection"`, `"refused"`, "i/o timeout")
}

// TestOpenAndClose: connections that come and go leave nothing behind, nor many lines in the log.
func TestOpenAndClose(t *testing.T) {
	const n = 1000
	d := start(t, classic.Options{}, auth.Key{})
	for range n {
		nc, err := net.Dial("tcp", d.ClassicTCP())
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	d.Stop()
	lines := 0
	for _, line := range d.Logs() {
		if strings.Contains(line, `"classic connection"`) {
			lines++
		}
	}
	t.Logf("%d connections, %d lines", n, lines)
	if lines > 20 {
		t.Errorf("%d lines", lines)
	}
}

func TestManyClients(t *testing.T) {
	const n = 120
	d := start(t, classic.Options{MaxConnections: n}, auth.Key{})
	before := peak()()
	stop := peak()
	var all sync.WaitGroup
	clients := make([]*client, n)
	for i := range n {
		clients[i] = dial(t, d)
	}
	began := time.Now()
	for i, c := range clients {
		all.Go(func() {
			for round := range 2 {
				if _, err := fmt.Fprintf(c, "echo %d %d", i, round); err != nil {
					t.Error(err)
				}
				if b, err := c.read(); err != nil || string(b) != fmt.Sprintf("%d %d\n", i, round) {
					t.Errorf("client %d: %q, %v", i, b, err)
				}
			}
		})
	}
	all.Wait()
	most := stop() - before - n // those of this test
	t.Logf("%d clients, 2 commands each, in %s; at most %d goroutines of the daemon's", n, time.Since(began), most)
	if most > 10*n { // two for a connection, and those of its job
		t.Errorf("%d goroutines for %d clients", most, n)
	}
	// One more gets no place until another one leaves.
	dial(t, d).over()
	clients[0].Close()
	until(t, 10*time.Second, "a place is free", func() bool {
		c := dial(t, d)
		_, err := io.WriteString(c, "echo in")
		b, readErr := c.read()
		return err == nil && readErr == nil && string(b) == "in\n"
	})
}

func TestClientThatDoesNotRead(t *testing.T) {
	d := start(t, classic.Options{WriteTimeout: 100 * time.Millisecond, MaxConnections: 1}, auth.Key{})
	c := dial(t, d)
	_ = c.SetReadBuffer(4096)
	c.send("head -c 7000000 /dev/zero | tr '\\0' x")
	logged(t, d, `"classic conversation ended"`, "writing an answer", "timeout")
	until(t, 30*time.Second, "its place is free", func() bool {
		c := dial(t, d)
		_, err := io.WriteString(c, "echo next")
		return err == nil && c.want("next\n") == nil
	})
}

func TestMaxAnswer(t *testing.T) {
	const limit = 4096
	d := start(t, classic.Options{MaxAnswer: limit}, auth.Key{})
	c := dial(t, d)
	for size, cut := range map[int]bool{limit: false, limit + 1: true, 6 << 20: true} {
		c.send(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", size))
		b, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		text := decode(t, b)
		kept := strings.Count(text, "x")
		want := strings.Repeat("x", kept)
		if cut {
			want += fmt.Sprintf("\n[%d bytes missing]", size-kept)
		}
		if text != want || len(b) > limit || kept < limit-40 {
			t.Errorf("%d bytes: %d, the last %q", size, len(b), text[max(0, len(text)-40):])
		}
	}
	text := c.run("yes 中文 | head -n 2000; echo; echo end >&2")
	if text != "end\n" {
		t.Errorf("output that goes nowhere counts: %q", text)
	}
}

// TestLeaving: a command does not outlive its client.
func TestLeaving(t *testing.T) {
	d := start(t, classic.Options{AfterEOF: 50 * time.Millisecond}, auth.Key{})
	for name, leave := range map[string]func(*client){
		"close": func(c *client) { c.Close() },
		"reset": func(c *client) { _ = c.SetLinger(0); c.Close() },
	} {
		c := dial(t, d)
		c.send("(setsid sleep 1000 & sleep 1000) & sleep 1000")
		until(t, 10*time.Second, "the whole command runs", func() bool { return len(rexectest.Processes()) >= 3 })
		began := time.Now()
		leave(c)
		until(t, 10*time.Second, "the command ends after "+name, func() bool { return len(rexectest.Processes()) == 0 })
		t.Logf("%s: ended after %s", name, time.Since(began).Round(time.Millisecond))
	}
}

// TestLeavingAhead: the same for a client that has sent so much ahead that nobody reads on.
func TestLeavingAhead(t *testing.T) {
	d := start(t, classic.Options{Lines: true, AfterEOF: 50 * time.Millisecond, ReviewEvery: 50 * time.Millisecond}, auth.Key{})
	for name, leave := range map[string]func(*client){
		"close": func(c *client) { c.Close() },
		"reset": func(c *client) { _ = c.SetLinger(0); c.Close() },
	} {
		c := dial(t, d)
		c.send("sleep 1000\n" + strings.Repeat("echo "+strings.Repeat("x", 1000)+"\n", 90))
		until(t, 10*time.Second, "the command runs", func() bool { return len(rexectest.Processes()) > 0 })
		leave(c)
		until(t, 10*time.Second, "the command ends after "+name, func() bool { return len(rexectest.Processes()) == 0 })
	}
}

// TestBatch: each of many commands has its time, although the client has nothing more to say.
func TestBatch(t *testing.T) {
	const n = 6
	patiently(t, 250*time.Millisecond, func(unit time.Duration) error {
		c := dial(t, start(t, classic.Options{Lines: true, AfterEOF: 4 * unit}, auth.Key{}))
		c.send(strings.Repeat(fmt.Sprintf("sleep %.2f; echo done\n", unit.Seconds()), n))
		if err := c.CloseWrite(); err != nil {
			return err
		}
		for range n {
			if err := c.want("done\n"); err != nil {
				return err
			}
		}
		c.over()
		return nil
	})
}

// TestHalfClosed: who only closes its own half may wait for the answer.
func TestHalfClosed(t *testing.T) {
	c := dial(t, start(t, classic.Options{AfterEOF: 10 * time.Second}, auth.Key{}))
	c.send("sleep 0.1; echo late")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.answer(); got != "late\n" {
		t.Errorf("%q", got)
	}
	c.over()
}

func TestIdle(t *testing.T) {
	patiently(t, 100*time.Millisecond, func(unit time.Duration) error {
		c := dial(t, start(t, classic.Options{IdleTimeout: unit}, auth.Key{}))
		if _, err := fmt.Fprintf(c, "sleep %.1f; echo busy", 3*unit.Seconds()); err != nil {
			return err
		}
		if err := c.want("busy\n"); err != nil {
			return err
		}
		c.over()
		return nil
	})
}

func TestRevoked(t *testing.T) {
	for tries := 1; !revoked(t); tries++ {
		if tries == 10 {
			t.Fatal("the review comes first every time")
		}
	}
}

// revoked is false if the key was found to be void before there was a next command, whose client is then not told.
func revoked(t *testing.T) bool {
	t.Helper()
	d := start(t, classic.Options{}, auth.Key{})
	idle, runs, asks := dial(t, d), dial(t, d), dial(t, d)
	for _, c := range []*client{idle, asks} {
		c.run("true")
	}
	runs.send("echo begun; sleep 1000")
	until(t, 10*time.Second, "the command runs", func() bool { return len(rexectest.Processes()) > 0 })
	if err := auth.RevokeKey(d.KeysPath(), "test"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(asks, "echo no") // fails if it has been dismissed
	b, err := asks.read()
	if got := decode(t, b); err == nil && got != "[not run: key test was revoked]" {
		t.Errorf("the next command: %q", got)
	}
	if got := runs.answer(); got != "begun\n[ended: key test was revoked]" {
		t.Errorf("the running command: %q", got)
	}
	runs.over()
	idle.over()
	asks.over()
	dial(t, d).over() // without a word, to a new one
	logged(t, d, `"classic connection"`, `"refused"`, "there is no key test")
	return err == nil
}

// TestPolicy: what limits a key limits these clients.
func TestPolicy(t *testing.T) {
	far := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, key := range map[string]auth.Key{
		"source": {From: far}, "expired": {NotAfter: time.Now().Add(-time.Hour)},
		"early": {NotBefore: time.Now().Add(time.Hour)}, "disabled": {Disabled: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, classic.Options{}, key)
			dial(t, d).over()
			logged(t, d, `"classic connection"`, `"refused"`, "key test")
			if n := d.Starts(); n != 0 {
				t.Errorf("%d starts", n)
			}
		})
	}
	c := dial(t, start(t, classic.Options{}, auth.Key{Command: `echo "forced: $REXEC_ORIGINAL_COMMAND"`}))
	if got := c.run("rm -rf 中"); got != "forced: rm -rf 中\n" {
		t.Errorf("forced command: %q", got)
	}
	listed := start(t, classic.Options{}, auth.Key{Argv: [][]string{{"echo", "this"}}})
	c = dial(t, listed)
	for command, want := range map[string]string{
		"echo this":     "this\n",
		"echo this; id": "[not run: key test may run only the commands in its list]",
		"echo that":     "[not run: key test may run only the commands in its list]",
	} {
		if got := c.run(command); got != want {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
	logged(t, listed, `"command refused"`, `"by":"`+listed.KeysPath()+`:3"`)
	c = dial(t, start(t, classic.Options{}, auth.Key{Charset: "raw"}))
	c.send("echo 中")
	if b, err := c.read(); err != nil || string(b) != "中\n" {
		t.Errorf("raw: %q, %v", b, err)
	}
	c = dial(t, start(t, classic.Options{}, auth.Key{Charset: "gbk"}))
	if got := c.run("printf '\\326\\320'"); got != "中" {
		t.Errorf("gbk: %q", got)
	}
}

// TestNoKeyConfigured: the door is shut unless the configuration opens it.
func TestNoKeyConfigured(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{Classic: &classic.Options{}, Runner: func(o *runner.Options) { o.VouchFor = "" }})
	dial(t, d).over()
	logged(t, d, `"refused"`, "no key is configured")
}

func TestDrain(t *testing.T) {
	d := start(t, classic.Options{}, auth.Key{})
	idle, quick := dial(t, d), dial(t, d)
	idle.run("true")
	quick.send("sleep 0.3; echo end")
	until(t, 10*time.Second, "the command runs", func() bool { return len(rexectest.Processes()) > 0 })
	address := d.ClassicTCP()
	var draining sync.WaitGroup
	draining.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		d.Drain(ctx)
	})
	idle.over()
	if got := quick.answer(); got != "end\n" {
		t.Errorf("%q", got)
	}
	quick.over()
	quick.Close()
	draining.Wait()
	if nc, err := net.Dial("tcp", address); err == nil {
		nc.Close()
		t.Error("it still listens")
	}
	// Without time the command is ended, and the client told.
	d.Start()
	c := dial(t, d)
	said := filepath.Join(t.TempDir(), "said")
	c.send("echo begun; touch " + said + "; sleep 1000")
	until(t, 10*time.Second, "the command has said something", func() bool { _, err := os.Stat(said); return err == nil })
	draining.Go(d.Stop)
	if got := c.answer(); got != "begun\n[ended: the daemon is shutting down]" {
		t.Errorf("%q", got)
	}
	c.Close()
	draining.Wait()
}

func TestOnlyLoopback(t *testing.T) {
	s := classic.New(nil, job.NewTable(job.Options{}), classic.Options{})
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil || errors.Is(err, classic.ErrClosed) {
		t.Errorf("TCP: %v", err)
	}
	pc, err := net.ListenPacket("udp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServePacket(t.Context(), pc); err == nil || errors.Is(err, classic.ErrClosed) {
		t.Errorf("UDP: %v", err)
	}
	for text, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false,
	} {
		if got := classic.Loopback(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text))); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	s.Shutdown(t.Context())
}

// TestGBKIsWhatClientsDecode: every character of the answers is one that old decoders know.
func TestGBKIsWhatClientsDecode(t *testing.T) {
	d := start(t, classic.Options{}, auth.Key{})
	c := dial(t, d)
	c.send("printf '€ 𠮷 中\\n'")
	b, err := c.read()
	if err != nil || bytes.IndexByte(b, 0x80) >= 0 {
		t.Errorf("%q, %v", b, err)
	}
	want, err := charset.EncodeCommand(charset.GBK, "? ? 中\n")
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("%q, want %q, %v", b, want, err)
	}
}
