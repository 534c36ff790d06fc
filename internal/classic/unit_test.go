package classic

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/proto"
)

// seal is a datagram as a client makes it.
func seal(secret string, at time.Time, command string) []byte {
	signed := append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())), command...)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(signed)
	return append(mac.Sum(nil), signed...)
}

func TestGate(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	g := newGate(Options{Secret: []byte("k"), Newest: now.Add(-30 * time.Second)}.withDefaults(), now)
	whole := seal("k", now, "id")
	for n := range len(whole) {
		if _, reason := g.open(whole[:n], now); reason == "" {
			t.Errorf("the first %d bytes pass", n)
		}
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1
		if _, reason := g.open(b, now); reason != "wrong MAC" {
			t.Errorf("byte %d changed: %q", i, reason)
		}
	}
	for _, tt := range []struct {
		name string
		made time.Time
		want string
	}{
		{"now", now, ""},
		{"29 s old", now.Add(-29 * time.Second), ""},
		{"of an earlier run", now.Add(-30 * time.Second), "not newer than what the daemon took before it was started again"},
		{"30 s ahead", now.Add(30 * time.Second), ""},
		{"more ahead", now.Add(30*time.Second + time.Millisecond), "from the future"},
		{"older", now.Add(-30*time.Second - time.Millisecond), "too old"},
		{"1970", time.UnixMilli(0), "too old"},
		{"no time at all", time.UnixMilli(-1), "from the future"},
	} {
		d, reason := g.open(seal("k", tt.made, "id"), now)
		if reason != tt.want || reason == "" && string(d.command) != "id" {
			t.Errorf("%s: %q, %q; want %q", tt.name, d.command, reason, tt.want)
		}
	}
	if _, reason := g.open(seal("other", now, "id"), now); reason != "wrong MAC" {
		t.Errorf("another secret: %q", reason)
	}
}

// TestGateForgets: a datagram is remembered for as long as it could be taken, and no more than so many.
func TestGateForgets(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	g := newGate(Options{Secret: []byte("k")}.withDefaults(), now)
	ahead, _ := g.open(seal("k", now.Add(maxSkew), "id"), now)
	for _, later := range []time.Duration{0, time.Second, 59 * time.Second, 2 * maxSkew} {
		ok, reason := g.first(&ahead, now.Add(later))
		if ok != (later == 0) {
			t.Errorf("after %s: %v, %q", later, ok, reason)
		}
	}
	for i := range maxSeen + 10 {
		d := sealed{made: now}
		binary.BigEndian.PutUint32(d.mac[:], uint32(i))
		ok, reason := g.first(&d, now.Add(maxSkew))
		if want := i < maxSeen-1; ok != want {
			t.Fatalf("datagram %d: %v, %q", i, ok, reason)
		}
	}
	d := sealed{made: now.Add(2 * maxSkew), mac: [32]byte{0xff}}
	if ok, reason := g.first(&d, now.Add(2*maxSkew+time.Second)); !ok || len(g.seen) != 1 {
		t.Errorf("a minute later: %v, %q, %d remembered", ok, reason, len(g.seen))
	}
}

// TestGateRemembers: whatever was taken is refused by the next run, whether its sender's clock was ahead
// or not, and nothing is taken that this could not be said of.
func TestGateRemembers(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	var kept time.Time
	var broken error
	o := Options{Secret: []byte("k"), Remember: func(newest time.Time) error {
		if broken == nil {
			kept = newest
		}
		return broken
	}}.withDefaults()
	g := newGate(o, now)
	var taken [][]byte
	for _, ahead := range []time.Duration{0, 20 * time.Second, -20 * time.Second} {
		b := seal("k", now.Add(ahead), "id")
		taken = append(taken, b)
		d, reason := g.open(b, now)
		if ok, why := g.first(&d, now); !ok || reason != "" {
			t.Fatalf("made %s ahead: %q, %q", ahead, reason, why)
		}
	}
	broken = errors.New("disk full")
	lost, _ := g.open(seal("k", now.Add(21*time.Second), "id"), now)
	if ok, reason := g.first(&lost, now); ok || reason != "cannot be remembered beyond the end of the daemon" {
		t.Errorf("with a full disk: %v, %q", ok, reason)
	}
	o.Newest = kept
	g = newGate(o, now)
	for i, b := range taken {
		if _, reason := g.open(b, now); reason != "not newer than what the daemon took before it was started again" {
			t.Errorf("datagram %d in the next run: %q", i, reason)
		}
	}
	if _, reason := g.open(seal("k", kept.Add(time.Millisecond), "id"), now); reason != "" {
		t.Errorf("a newer one: %q", reason)
	}
	// A clock that was ten years ahead is no reason to refuse everything for ten years.
	o.Newest = now.AddDate(10, 0, 0)
	later := now.Add(maxSkew + time.Second)
	if _, reason := newGate(o, now).open(seal("k", later, "id"), later); reason != "" {
		t.Errorf("after a wrong clock: %q", reason)
	}
}

// TestEverySize judges junk of every size that a datagram can have; without a MAC to look for of every
// size up to a thousand bytes and of fewer beyond.
func TestEverySize(t *testing.T) {
	from := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}
	junk := make([]byte, maxDatagram+20)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(junk)
	open := &packets{server: New(nil, nil, Options{MaxPerSource: 1 << 17, MaxConnections: 1 << 17})}
	shut := &packets{server: New(nil, nil, Options{Auth: HMACSHA256, Secret: []byte("k")})}
	refusal := notRun("some reason that is longer than what most datagrams may be answered with")
	in, out, taken := 0, 0, 0
	for size := 0; size < len(junk); size += 1 + size/1000 {
		d, reason := open.judge(from, junk[:size])
		if size == 0 || size > maxDatagram {
			if reason == "" {
				t.Errorf("%d bytes are taken", size)
			}
			continue
		}
		if reason != "" || d.limit > amplification*size || d.limit > maxDatagram {
			t.Fatalf("%d bytes: %q, an answer of up to %d", size, reason, d.limit)
		}
		in, out, taken = in+size, out+len(fit(refusal, 0, "", d.limit)), taken+1
	}
	t.Logf("without authentication: %d datagrams, %d bytes in; refusals of %d bytes out, %.4f for one", taken, in, out, float64(out)/float64(in))
	for size := range len(junk) {
		if d, reason := shut.judge(from, junk[:size]); d != nil || reason == "" {
			t.Fatalf("%d bytes pass for authenticated", size)
		}
	}
	if n := len(shut.server.gate.seen); n != 0 {
		t.Errorf("%d datagrams of strangers are remembered", n)
	}
	t.Logf("with authentication: %d datagrams, %d bytes in, 0 out", len(junk), len(junk)*(len(junk)-1)/2)
}

// TestTally: a flood becomes a few lines and a number.
func TestTally(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	y := &tally{log: zap.New(core), counts: map[string]int{}}
	for round := range 2 {
		said := 0
		for range 100_000 {
			if y.add("junk") {
				said++
			}
		}
		y.add("rare")
		y.report()
		if said != inFull {
			t.Errorf("round %d: %d in full", round, said)
		}
		lines := logs.TakeAll()
		if len(lines) != 1 || lines[0].ContextMap()["count"] != int64(100_000-inFull) || lines[0].ContextMap()["kind"] != "junk" {
			t.Errorf("round %d: %v", round, lines)
		}
	}
	y.report()
	if n := logs.Len(); n != 0 {
		t.Errorf("%d lines about nothing", n)
	}
}

// TestFit walks over every size of an answer.
func TestFit(t *testing.T) {
	gbk, err := charset.EncodeCommand(charset.GBK, strings.Repeat("a中\n", 40))
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range []uint64{0, 7} {
		for _, last := range []string{"", "[ended: why]"} {
			for limit := 3; limit < len(gbk)+60; limit++ {
				got := fit(bytes.Clone(gbk), missing, last, limit)
				if len(got) > limit {
					t.Fatalf("limit %d: %d bytes", limit, len(got))
				}
				text, err := charset.DecodeText(charset.GBK, got)
				if err != nil {
					t.Fatalf("limit %d: %q: %v", limit, got, err)
				}
				checkFit(t, len(gbk)+int(missing), limit, text, last)
			}
		}
	}
}

// checkFit adds up what is there and what is said to be missing.
func checkFit(t *testing.T, total, limit int, text, last string) {
	t.Helper()
	body, note, cut := strings.Cut(text, "[")
	if limit < 40 {
		return // there is no room for all the words
	}
	if last != "" && !strings.HasSuffix(text, last) {
		t.Fatalf("limit %d: no last word in %q", limit, text)
	}
	raw, _ := charset.EncodeCommand(charset.GBK, body)
	missing := 0
	if cut {
		_, _ = fmt.Sscanf(note, "%d bytes missing]", &missing)
	}
	have := len(raw)
	if have+missing == total+1 {
		have-- // the line end before the notes
	}
	if have+missing != total {
		t.Fatalf("limit %d: %d bytes and %d missing of %d: %q", limit, have, missing, total, text)
	}
}

func TestBoundary(t *testing.T) {
	for _, tt := range []struct {
		text string
		n    int
		want int
	}{
		{"abc", 2, 2}, {"abc", 9, 3}, {"", 0, 0},
		{"\xd6\xd0\xb9\xfa", 3, 2}, {"\xd6\xd0\xb9\xfa", 4, 4}, {"a\xd6\xd0", 2, 1},
		{"\x81\x30\x81\x30a", 3, 0}, {"\x81\x30\x81\x30a", 4, 4},
		{"\x81\x30", 1, 1}, {"\xff\xff", 1, 1}, {"\x80\x80", 1, 1}, {"\xd6\x0aa", 1, 1},
	} {
		if got := boundary([]byte(tt.text), tt.n); got != tt.want {
			t.Errorf("%q to %d: %d, want %d", tt.text, tt.n, got, tt.want)
		}
	}
}

// TestOutput: both streams in pieces of every size give the same answer.
func TestOutput(t *testing.T) {
	exit := &proto.Exit{State: proto.StateExited}
	for _, tt := range []struct {
		name, out, err string
		from           charset.Mode
		both           bool
		want           string
	}{
		{"stdout", "中文 ok\n", "", charset.Auto, false, "中文 ok\n"},
		{"stderr", "中文\n", "错误\n", charset.Auto, false, "错误\n"},
		{"both", "中文\n", "错误\n", charset.Auto, true, "中文\n错误\n"},
		{"nothing", "", "", charset.Auto, false, "执行成功"},
		{"nothing of both", "", "", charset.Auto, true, "执行成功"},
		{"GBK found", "\xd6\xd0\xce\xc4\n", "", charset.Auto, false, "中文\n"},
		{"GBK declared", "\xd6\xd0\xce\xc4\n", "", charset.GBK, false, "中文\n"},
		{"UTF-8 declared", "中文\n", "", charset.UTF8, false, "中文\n"},
		{"not in GBK", "✓ €5 é 😀\n", "", charset.Auto, false, "? ?5 é ?\n"},
	} {
		for size := 1; size < 20; size++ {
			o := newOutput(tt.from, false, tt.both, 1<<20)
			for i := 0; i < max(len(tt.out), len(tt.err)); i += size {
				for k, text := range []string{tt.out, tt.err} {
					if i < len(text) {
						o.add(proto.Stream(k+1), []byte(text[i:min(len(text), i+size)]))
					}
				}
			}
			got, err := charset.DecodeText(charset.GBK, o.answer(exit))
			if err != nil || got != tt.want {
				t.Errorf("%s in pieces of %d: %q, %v; want %q", tt.name, size, got, err, tt.want)
			}
		}
	}
}

// TestOutputCounts: what does not fit is counted, in GBK bytes, and is not kept.
func TestOutputCounts(t *testing.T) {
	const limit = 1000
	o := newOutput(charset.Auto, false, true, limit)
	line := strings.Repeat("中", 99) + "\n" // 199 bytes of GBK
	for range 100 {
		o.add(proto.Stdout, []byte(line))
		o.add(proto.Stderr, []byte(line))
	}
	if kept := len(o.streams[0].kept) + len(o.streams[1].kept); kept > limit {
		t.Errorf("%d bytes kept", kept)
	}
	got, err := charset.DecodeText(charset.GBK, o.answer(&proto.Exit{State: proto.StateExited}))
	if err != nil {
		t.Fatal(err)
	}
	body, note, _ := strings.Cut(got, "[")
	var missing int
	if _, err := fmt.Sscanf(note, "%d bytes missing]", &missing); err != nil {
		t.Fatal(err)
	}
	raw, _ := charset.EncodeCommand(charset.GBK, body)
	if n := len(raw) + missing; n != 200*199 && n != 200*199+1 {
		t.Errorf("%d and %d bytes of %d", len(raw), missing, 200*199)
	}
}

// TestOutputApart: a line of stdout that was cut is not continued by stderr.
func TestOutputApart(t *testing.T) {
	o := newOutput(charset.Raw, false, true, 100)
	o.add(proto.Stderr, []byte("error\n"))
	o.add(proto.Stdout, bytes.Repeat([]byte("x"), 200))
	got := string(o.answer(&proto.Exit{State: proto.StateExited}))
	if x, rest, _ := strings.Cut(got, "\n"); strings.Trim(x, "x") != "" || !strings.HasSuffix(rest, " bytes missing]") || len(got) > 100 {
		t.Errorf("%q", got)
	}
}

// TestServicePorts: an answer to the port of a service would be answered, without an end.
func TestServicePorts(t *testing.T) {
	s := New(nil, nil, Options{})
	p := &packets{server: s, port: 9001}
	for port, want := range map[int]bool{0: false, 7: false, 1023: false, 1024: true, 9001: false, 40000: true} {
		d, reason := p.judge(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, []byte("id"))
		if got := d != nil && reason == ""; got != want {
			t.Errorf("from port %d: %v, %q", port, got, reason)
		}
	}
}

func TestSources(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1/32", "[::ffff:192.0.2.1]:5": "192.0.2.1/32",
		"[2001:db8:0:1:2:3:4:5]:5": "2001:db8:0:1::/64", "[fe80::1%eth0]:5": "fe80::/64",
	} {
		a, err := net.ResolveUDPAddr("udp", text)
		if err != nil && !strings.Contains(text, "%") {
			t.Fatal(err)
		}
		if err != nil {
			a = &net.UDPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 5}
		}
		if got := source(addrPort(a).Addr()).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestParseAuth(t *testing.T) {
	for name, want := range map[string]Auth{"none": NoAuth, "hmac-md5": HMACMD5, "hmac-sha256": HMACSHA256} {
		if got, err := ParseAuth(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := ParseAuth(""); err == nil {
		t.Error("nothing is taken for a name")
	}
}

// trusting lets everybody in, and starts nothing.
type trusting struct{ Privileged }

func (trusting) Vouch(netip.Addr) (*auth.Grant, error) { return new(auth.Grant), nil }

// TestNoTimerIsLeft: a client that has gone costs nothing more.
func TestNoTimerIsLeft(t *testing.T) {
	s := New(trusting{}, nil, Options{AfterEOF: time.Hour})
	theirs, ours := net.Pipe()
	theirs.Close()
	c := newConn(s, ours)
	c.serve(t.Context())
	c.gone(io.EOF) // by a review that had begun before
	if c.leaving != nil && c.leaving.Stop() {
		t.Error("a timer runs")
	}
}
