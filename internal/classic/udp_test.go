package classic_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/classic"
	"rexec/internal/rexectest"
)

// sender is a UDP client on an address of its own.
type sender struct {
	t testing.TB
	*net.UDPConn
}

func connect(t testing.TB, d *rexectest.Daemon, from string) *sender {
	t.Helper()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(d.ClassicUDP()))
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &sender{t, c}
}

// ask sends a datagram and returns what comes back within a time; nil if nothing does.
func (s *sender) ask(datagram []byte, wait time.Duration) []byte {
	s.t.Helper()
	if _, err := s.Write(datagram); err != nil {
		s.t.Fatal(err)
	}
	return s.receive(wait)
}

func (s *sender) receive(wait time.Duration) []byte {
	b := make([]byte, 1<<16)
	_ = s.SetReadDeadline(time.Now().Add(wait))
	n, err := s.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// run returns the answer to a command, which must be GBK.
func (s *sender) run(datagram []byte) string {
	s.t.Helper()
	b := s.ask(datagram, 20*time.Second)
	if b == nil {
		s.t.Fatalf("no answer to %.100q", datagram)
	}
	return decode(s.t, b)
}

// seal is an authenticated datagram.
func seal(at time.Time, command string) []byte {
	signed := append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())), command...)
	return append(macOf(classic.HMACSHA256, secret, signed), signed...)
}

func TestUDP(t *testing.T) {
	d := start(t, classic.Options{}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	for command, want := range map[string]string{
		"echo 中文":                 "中文\n",
		"echo a\necho b":          "a\nb\n",
		"echo o; echo e >&2":      "e\n",
		"true":                    "执行成功",
		"echo \xd6\xd0":           "[not run: byte 6 of the command is not UTF-8; commands are UTF-8, answers GBK]",
		"date +%Y-%m-%d-%H:%M:%S": "",
	} {
		got := s.run([]byte(command))
		if want != "" && got != want {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
	if got := s.run([]byte("seq 100000")); len(got) > 65_507 || len(got) < 65_500 || !strings.HasSuffix(got, " bytes missing]") {
		t.Errorf("%d bytes, ending in %q", len(got), got[max(0, len(got)-40):])
	}
	logged(t, d, `"msg":"command"`, `"key":"test"`, `"peer":"127.0.0.1:`)
}

// TestUDPForeign: who may not be who he seems to be gets little for little.
func TestUDPForeign(t *testing.T) {
	d := start(t, classic.Options{Insecure: true}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	pad := strings.Repeat(" ", 100)
	// An answer of three bytes for each of the command's has room for a part of the output, or only to say so.
	if got := s.run([]byte("seq 100000" + pad)); len(got) > 330 || !strings.HasPrefix(got, "1\n2\n") || !strings.HasSuffix(got, " bytes missing]") {
		t.Errorf("%q", got)
	}
	if got := s.run([]byte("seq 9")); got != "[18 bytes missi" {
		t.Errorf("%q", got)
	}
	logged(t, d, `"msg":"command"`, `"key":"test"`, `"peer":"`+rexectest.ForeignAddress)
}

// TestUDPTime: a client that cannot hang up does not hold a command for ever.
func TestUDPTime(t *testing.T) {
	patiently(t, 300*time.Millisecond, func(unit time.Duration) error {
		s := connect(t, start(t, classic.Options{UDPTimeout: unit}, auth.Key{}), "127.0.0.1")
		want := fmt.Sprintf("a\n[ended: time limit of %s reached]", unit)
		if got := s.run([]byte("echo a; sleep 1000            ")); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// TestAmplification measures what goes back to sources that prove nothing, for junk of every size and
// for commands that print much.
func TestAmplification(t *testing.T) {
	d := start(t, classic.Options{Insecure: true}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	in, out, worst := 0, 0, 0.0
	measure := func(datagram []byte) {
		t.Helper()
		wait := 10 * time.Second
		if len(datagram) == 0 {
			wait = 100 * time.Millisecond
		}
		answer := s.ask(datagram, wait)
		if len(answer) == 0 != (len(datagram) == 0) {
			t.Fatalf("%d bytes: an answer of %d", len(datagram), len(answer))
		}
		in, out = in+len(datagram), out+len(answer)
		if len(datagram) > 0 {
			worst = max(worst, float64(len(answer))/float64(len(datagram)))
		}
	}
	random := rand.NewChaCha8([32]byte{1})
	var sizes []int
	for size := 0; size <= 65_507; size++ {
		if size <= 1000 || size%499 == 0 || size == 65_507 {
			sizes = append(sizes, size)
		}
	}
	for _, size := range sizes {
		b := make([]byte, size)
		_, _ = random.Read(b)
		if size > 0 {
			b[size-1] = 0xff // never UTF-8
		}
		measure(b)
	}
	if n := d.Starts(); n != 0 {
		t.Errorf("junk started %d commands", n)
	}
	t.Logf("junk of %d sizes from 0 to 65,507: %d bytes in, %d out, %.3f; at worst %.3f",
		len(sizes), in, out, float64(out)/float64(in), worst)
	in, out = 0, 0
	for _, size := range []int{2, 9, 20, 50, 100, 1000, 10_000, 21_835, 21_836, 65_507} {
		measure([]byte(fmt.Sprintf("%-*s", size, []string{"ls /", "seq 99999"}[min(1, size/9)])[:size]))
	}
	t.Logf("commands: %d bytes in, %d out, %.3f; at worst %.3f", in, out, float64(out)/float64(in), worst)
	if worst > 3 {
		t.Errorf("%.3f bytes for one", worst)
	}
}

// TestJunk: with authentication junk of every size is dropped without a word.
func TestJunk(t *testing.T) {
	d := start(t, classic.Options{Auth: classic.HMACSHA256}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	random := rand.NewChaCha8([32]byte{2})
	in, sent := 0, 0
	for size := range 2002 {
		if size == 2001 {
			size = 65_507
		}
		b := make([]byte, size)
		_, _ = random.Read(b)
		if _, err := s.Write(b); err != nil {
			t.Fatal(err)
		}
		in += size
		if sent++; sent%40 == 0 || size == 65_507 { // what lies in the socket's queue must not overflow it
			want := fmt.Sprintf("%d\n", sent)
			if got := s.run(seal(time.Now(), fmt.Sprintf("echo %d", sent))); got != want {
				t.Fatalf("an answer to junk, or none: %q, want %q", got, want)
			}
		}
	}
	t.Logf("%d datagrams, %d bytes in, 0 out", sent, in)
	for i := range 41 { // a MAC of each length, and nothing or little behind it
		s.silent(seal(time.Now(), "")[:min(i, 40)], "cut")
	}
}

// silent sends what must be dropped; that it was is seen from the answer to what comes after it.
func (s *sender) silent(datagram []byte, what string) {
	s.t.Helper()
	if _, err := s.Write(datagram); err != nil {
		s.t.Fatal(err)
	}
	mark := fmt.Sprintf("%x", rand.Uint64())
	if got := s.run(seal(time.Now(), "echo "+mark)); got != mark+"\n" {
		s.t.Errorf("%s: an answer: %q", what, got)
	}
}

func TestSealed(t *testing.T) {
	for name, a := range map[string]classic.Auth{"SHA-256": classic.HMACSHA256, "MD5": classic.HMACMD5} {
		t.Run(name, func(t *testing.T) {
			d := start(t, classic.Options{Auth: a}, auth.Key{})
			s := connect(t, d, "127.0.0.1")
			once := seal(time.Now(), "echo once")
			if got := s.run(once); got != "once\n" {
				t.Errorf("%q", got)
			}
			starts := d.Starts()
			other := connect(t, d, "127.0.0.2")
			for what, b := range map[string][]byte{
				"seen before":     once,
				"too old":         seal(time.Now().Add(-31*time.Second), "echo old"),
				"from the future": seal(time.Now().Add(31*time.Second), "echo new"),
				"wrong MAC":       append(bytes.Clone(seal(time.Now(), "echo ")), "more"...),
				"too short":       []byte("id"),
			} {
				s.silent(b, what)
				other.silent(b, what+", from elsewhere")
				logged(t, d, `"classic datagram dropped"`, what)
			}
			if n := d.Starts() - starts; n != 10 { // those of silent
				t.Errorf("%d commands were started, want 10", n)
			}
			for _, ago := range []time.Duration{29 * time.Second, -29 * time.Second} {
				fresh := connect(t, d, "127.0.0.1") // an answer that came too late is not read by another one
				if got := fresh.answered(func() []byte { return seal(time.Now().Add(-ago), "echo ok") }); got != "ok\n" {
					t.Errorf("made %s ago: %q", ago, got)
				}
			}
			// An answer to somebody who is known has all the room there is.
			got := s.run(seal(time.Now(), "seq 99999"))
			body, note, _ := strings.Cut(got, "[")
			var missing int
			if _, err := fmt.Sscanf(note, "%d bytes missing]", &missing); err != nil || len(got) > 65_507 || len(got) < 65_480 {
				t.Errorf("%d bytes, the last %q: %v", len(got), got[max(0, len(got)-40):], err)
			}
			if total := len(body) + missing; total < 588_888 || total > 588_889+1 {
				t.Errorf("%d bytes and %d missing", len(body), missing)
			}
		})
	}
}

// TestNewest: after a restart nothing is taken a second time.
func TestNewest(t *testing.T) {
	now := time.Now()
	d := start(t, classic.Options{Auth: classic.HMACSHA256, Newest: now}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	for name, b := range map[string][]byte{"older": seal(now.Add(-5*time.Second), "echo again"), "the newest": seal(now, "echo")} {
		s.silent(b, name)
	}
	logged(t, d, "before it was started again")
}

func TestManyDatagrams(t *testing.T) {
	const clients, each = 100, 5
	o := classic.Options{Auth: classic.HMACSHA256, MaxConnections: 32, MaxPerSource: 4}
	d := start(t, o, auth.Key{})
	before := peak()()
	stop := peak()
	began := time.Now()
	var all sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for i := range clients {
		s := connect(t, d, fmt.Sprintf("127.0.%d.%d", 1+i/50, 1+i%50))
		all.Go(func() {
			for k := range each {
				want := fmt.Sprintf("%d.%d\n", i, k)
				for deadline := time.Now().Add(60 * time.Second); ; { // UDP: what is not answered is sent again
					mu.Lock()
					sent++
					mu.Unlock()
					if string(s.ask(seal(time.Now(), "echo "+want), 150*time.Millisecond)) == want {
						break
					}
					if time.Now().After(deadline) {
						t.Errorf("no answer to %q", want)
						return
					}
				}
			}
		})
	}
	all.Wait()
	most := stop() - before - clients
	t.Logf("%d commands in %d datagrams from %d sources in %s; at most %d goroutines of the daemon's",
		clients*each, sent, clients, time.Since(began).Round(time.Millisecond), most)
	if most > 10*o.MaxConnections {
		t.Errorf("%d goroutines for %d commands at once", most, o.MaxConnections)
	}
}

// answered sends a command until there is an answer, for what finds a full queue is lost.
func (s *sender) answered(datagram func() []byte) string {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if b := s.ask(datagram(), 200*time.Millisecond); b != nil {
			return string(b)
		}
	}
	s.t.Fatalf("no answer to %.100q", datagram())
	return ""
}

// TestFloodOfOneSource: a thousand datagrams at once start no more than a source may have.
func TestFloodOfOneSource(t *testing.T) {
	d := start(t, classic.Options{MaxPerSource: 4}, auth.Key{})
	s := connect(t, d, "127.0.0.1")
	for range 1000 {
		if _, err := s.Write([]byte("sleep 1000")); err != nil {
			t.Fatal(err)
		}
	}
	logged(t, d, `"classic datagram dropped"`, "too many commands of this source run")
	other := connect(t, d, "127.0.0.2")
	asked := int64(0) // more than once if there was no answer soon enough
	if got := other.answered(func() []byte { asked++; return []byte("echo another") }); got != "another\n" {
		t.Errorf("%q", got)
	}
	if n := d.Starts(); n < 5 || n > 4+asked {
		t.Errorf("%d commands were started, 4 for the flood and at most %d for the other", n, asked)
	}
}

// TestFloodOfJunk measures what junk costs a daemon that has its clients authenticate.
func TestFloodOfJunk(t *testing.T) {
	const senders, each, size = 4, 10_000, 1000
	d := start(t, classic.Options{Auth: classic.HMACSHA256}, auth.Key{})
	good := connect(t, d, "127.0.1.1")
	echo := func() []byte { return seal(time.Now(), "echo good") }
	good.answered(echo)
	before, heap := peak()(), heapInUse()
	stop := peak()
	began := time.Now()
	var flood sync.WaitGroup
	for i := range senders {
		s := connect(t, d, fmt.Sprintf("127.0.0.%d", i+2))
		flood.Go(func() {
			junk := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(junk)
			for range each {
				_, _ = s.Write(junk)
			}
		})
	}
	if got := good.answered(echo); got != "good\n" {
		t.Errorf("%q", got)
	}
	answered := time.Since(began)
	flood.Wait()
	took, most, grown := time.Since(began), stop()-before-senders, heapInUse()-heap
	d.Stop()
	lines := 0
	for _, line := range d.Logs() {
		if strings.Contains(line, `"classic datagram dropped"`) || strings.Contains(line, "more of the same") {
			lines++
		}
	}
	t.Logf("%d datagrams of %d bytes in %s; a client's answer after %s; at most %d goroutines more, heap grown by %d KiB, %d lines in the log",
		senders*each, size, took.Round(time.Millisecond), answered.Round(time.Millisecond), most, grown>>10, lines)
	if most > 20 || grown > 16<<20 || lines > 20 {
		t.Errorf("%d goroutines, %d bytes, %d lines", most, grown, lines)
	}
}

// heapInUse is what is reachable.
func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestUDPPolicy(t *testing.T) {
	key := auth.Key{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	for _, a := range []classic.Auth{classic.NoAuth, classic.HMACSHA256} {
		d := start(t, classic.Options{Auth: a}, key)
		datagram := func() []byte {
			if a == classic.NoAuth {
				return []byte("echo in                                   ")
			}
			return seal(time.Now(), "echo in")
		}
		in, out := connect(t, d, "127.0.0.1"), connect(t, d, "127.0.0.2")
		if got := in.run(datagram()); got != "in\n" {
			t.Errorf("%q", got)
		}
		// A stranger is told nothing, who knows the secret is told why.
		want, silence := "[not run: key test may not be used from 127.0.0.2]", 10*time.Second
		if a == classic.NoAuth {
			want, silence = "", 100*time.Millisecond
		}
		if got := string(out.ask(datagram(), silence)); got != want {
			t.Errorf("from elsewhere: %q, want %q", got, want)
		}
		if err := auth.RevokeKey(d.KeysPath(), "test"); err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = "[not run: there is no key test on this server]"
		}
		if got := string(in.ask(datagram(), silence)); got != want {
			t.Errorf("revoked: %q, want %q", got, want)
		}
		if n := d.Starts(); n != 1 {
			t.Errorf("%d starts", n)
		}
	}
}
