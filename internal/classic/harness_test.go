package classic_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/classic"
	"rexec/internal/rexectest"
)

func TestMain(m *testing.M) { os.Exit(rexectest.Main(m)) }

const secret = "the tutorial's own key"

// start runs a daemon that serves the classic protocols with the key "test".
func start(t *testing.T, o classic.Options, key auth.Key) *rexectest.Daemon {
	t.Helper()
	rexectest.CheckLeaks(t)
	if o.Pause == 0 {
		o.Pause = 10 * time.Millisecond // enough for what is sent in one segment
	}
	if o.Auth != classic.NoAuth {
		o.Secret = []byte(secret)
	}
	return rexectest.New(t, rexectest.Options{Classic: &o, Key: key})
}

// client is a TCP client as the tutorial has it.
type client struct {
	t testing.TB
	*net.TCPConn
}

func dial(t testing.TB, d *rexectest.Daemon) *client {
	t.Helper()
	nc, err := net.Dial("tcp", d.ClassicTCP())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{t, nc.(*net.TCPConn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// read takes one answer as it is on the wire.
func (c *client) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, int32(binary.LittleEndian.Uint32(head[:])))
	_, err := io.ReadFull(c, b)
	return b, err
}

// answer takes one answer, which must be GBK.
func (c *client) answer() string {
	c.t.Helper()
	b, err := c.read()
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return decode(c.t, b)
}

// want compares the next answer.
func (c *client) want(text string) error {
	b, err := c.read()
	if err != nil {
		return fmt.Errorf("no answer %q: %w", text, err)
	}
	if got := decode(c.t, b); got != text {
		return fmt.Errorf("%q, want %q", got, text)
	}
	return nil
}

// patiently does what depends on times that a busy machine may overrun, with longer and longer ones until it goes well:
// what fails for another reason fails with all of them.
func patiently(t *testing.T, unit time.Duration, try func(unit time.Duration) error) {
	t.Helper()
	for most := 20 * unit; ; unit *= 2 {
		err := try(unit)
		if err == nil {
			return
		}
		if unit > most {
			t.Fatalf("with %s: %v", unit, err)
		}
		t.Logf("with %s: %v", unit, err)
	}
}

func decode(t testing.TB, b []byte) string {
	t.Helper()
	text, err := charset.DecodeText(charset.GBK, b)
	if err != nil {
		t.Fatalf("the answer %q is not GBK: %v", b, err)
	}
	return text
}

func (c *client) run(command string) string {
	c.t.Helper()
	c.send(command)
	return c.answer()
}

// over demands that the daemon has closed the connection without a further word.
func (c *client) over() {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("the connection is not over: %q, %v", b, err)
	}
}

// solve answers the challenge.
func (c *client) solve(a classic.Auth) {
	c.t.Helper()
	question := make([]byte, 32)
	if _, err := io.ReadFull(c, question); err != nil {
		c.t.Fatal(err)
	}
	c.send(string(macOf(a, secret, question)))
}

func macOf(a classic.Auth, key string, text []byte) []byte {
	sum := sha256.New
	if a == classic.HMACMD5 {
		sum = md5.New
	}
	mac := hmac.New(sum, []byte(key))
	mac.Write(text)
	return mac.Sum(nil)
}

// until polls for a condition.
func until(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// logged waits for a line of the daemon's log that holds all of the words.
func logged(t testing.TB, d *rexectest.Daemon, words ...string) {
	t.Helper()
	until(t, 10*time.Second, "the log has "+strings.Join(words, ", "), func() bool {
		for _, line := range d.Logs() {
			all := true
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// pause lets time pass where time itself is the matter.
func pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// peak watches the number of goroutines until stop is called, which returns the largest.
func peak() (stop func() int) {
	ended, result := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			most = max(most, rexectest.Goroutines())
			select {
			case <-ended:
				result <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() int {
		close(ended)
		return <-result
	}
}
