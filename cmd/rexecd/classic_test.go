package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rexec/internal/rexectest"
)

// asProgram is the environment variable that makes the test binary rexecd itself.
const asProgram = "REXECD_TEST_AS_PROGRAM"

// TestMain is also the program that the daemon starts to check itself.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" || slices.Equal(os.Args[1:], []string{"--version"}) {
		main()
	}
	os.Exit(rexectest.Main(m))
}

// safeBuffer is what a daemon logs.
type safeBuffer struct {
	hold func(line []byte) // before a line is there; may be nil

	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	if s.hold != nil {
		s.hold(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// program is rexecd with a configuration and a state directory of a test's own.
type program struct {
	t      *testing.T
	dir    string
	config string
	log    safeBuffer
	stop   func() error

	drain, stopGrace string // how long commands may go on when the daemon is to end, and then have to end
}

// never is when something that should happen at once counts as not happening.
const never = time.Minute

// newProgram takes the text of the [classic] section.
func newProgram(t *testing.T, classic string) *program {
	t.Helper()
	rexectest.CheckLeaks(t)
	p := &program{t: t, dir: t.TempDir(), drain: "100ms", stopGrace: "1s"}
	p.config = filepath.Join(p.dir, "rexecd.toml")
	p.configure(classic)
	p.rexecd("key", "add", "tutorial", "--address", "127.0.0.1:1")
	return p
}

func (p *program) configure(classic string) {
	p.t.Helper()
	text := fmt.Sprintf("[exec]\nenv = { %s = %q }\nstop_grace = %q\n[server]\ndrain = %q\n[classic]\n%s\n",
		rexectest.MarkName, rexectest.Mark(), p.stopGrace, p.drain, classic)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) args(args ...string) []string {
	return append([]string{"--config", p.config, "--state-dir", filepath.Join(p.dir, "state")}, args...)
}

func (p *program) rexecd(args ...string) string {
	p.t.Helper()
	var out bytes.Buffer
	if err := run(p.t.Context(), p.args(args...), streams{nil, &out, &p.log}); err != nil {
		p.t.Fatalf("rexecd %q: %v", args, err)
	}
	return out.String()
}

// start runs the daemon until the test ends or stop is called, and waits until it listens.
func (p *program) start() {
	p.t.Helper()
	p.log.mu.Lock()
	p.log.b.Reset()
	p.log.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { // stop waits for it
		ended <- run(ctx, p.args("--listen", "127.0.0.1:0"), streams{nil, &p.log, &p.log})
	}()
	p.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	p.t.Cleanup(func() {
		if err := p.stop(); err != nil {
			p.t.Errorf("rexecd: %v", err)
		}
		if p.t.Failed() {
			p.t.Logf("rexecd's log:\n%s", p.log.String())
		}
	})
	p.logged(`"msg":"listening"`)
}

// logged waits for a line that matches and returns its groups.
func (p *program) logged(expr string) []string {
	p.t.Helper()
	re := regexp.MustCompile(expr)
	for deadline := time.Now().Add(never); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := re.FindStringSubmatch(p.log.String()); m != nil {
			return m
		}
	}
	p.t.Fatalf("no line of the log matches %s:\n%s", expr, p.log.String())
	return nil
}

// port is where the daemon takes classic clients.
func (p *program) port(protocol string) string {
	p.t.Helper()
	return p.logged(`"listening for classic clients","protocol":"` + protocol + `","address":"[0-9.]*:(\d+)","key":"tutorial"`)[1]
}

// secretFile makes the file that clients share with the daemon.
func (p *program) secretFile() string {
	path := filepath.Join(p.dir, "classic.key")
	if err := os.WriteFile(path, []byte("c2VjcmV0IG9mIHRoZSB0dXRvcmlhbA==\n"), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// python runs a program of the examples, or with -c a text, and returns what it prints.
func python(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the examples are written in Python 3, and there is no python3: ", err)
	}
	if args[0] != "-c" {
		args[0] = filepath.Join("..", "..", "examples", "classic", args[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), never)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "PYTHONUTF8=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("python3 %.200q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestExamples runs the programs in examples/classic against listeners without authentication.
func TestExamples(t *testing.T) {
	p := newProgram(t, "listen_tcp = '127.0.0.1:0'\nlisten_udp = '127.0.0.1:0'\nkey = 'tutorial'")
	p.start()
	tcp, udp := p.port("tcp"), p.port("udp")
	got := python(t, "tcp.py", "127.0.0.1", tcp, "echo 中文", "true", "echo out; echo 错误 >&2", "exit 7", "echo 完; exit 7")
	wantText(t, "TCP", got, "中文\n执行成功错误\n执行成功完\n")
	p.logged(`"msg":"command ended".*"key":"tutorial","peer":"127.0.0.1:\d+","outcome":"exited","code":7`)
	p.logged(`"msg":"command answered","key":"tutorial","peer":"127.0.0.1:\d+","job":"[0-9a-f]{32}","outcome":"exited","code":7,"bytes":3`)
	wantText(t, "UDP", python(t, "udp.py", "127.0.0.1", udp, "echo 中文"), "中文\n")
	wantText(t, "UDP, much", python(t, "udp.py", "127.0.0.1", udp, "seq 300"), seq(300))
	wantText(t, "UDP, nothing", python(t, "udp.py", "127.0.0.1", udp, "true"), "执行成功")
	wantText(t, "glued", python(t, "tcp.py", "127.0.0.1", tcp, "echo 甲\necho 乙"), "甲\n乙\n")
	wantText(t, "more than one recv", python(t, "tcp.py", "127.0.0.1", tcp, "echo "+strings.Repeat("中", 3000)),
		strings.Repeat("中", 3000)+"\n")
	p.logged(`"level":"warn".*"msg":"classic clients prove nothing: every user of this machine`)
}

func seq(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// inPieces is a client that sends a list of texts, each by itself, and reads the answers to what should
// be so many commands.
const inPieces = `
import socket, struct, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
answers = s.makefile("rb")
for piece in sys.argv[3:]:
    s.sendall(piece.encode("utf-8"))
for i in range(int(sys.argv[2])):
    (size,) = struct.unpack("i", answers.read(4))
    print(i, answers.read(size).decode("gbk"), end="")
`

func TestExamplesSplit(t *testing.T) {
	const split = "listen_tcp = '127.0.0.1:0'\nkey = 'tutorial'\nsplit = 'newline'\noutput = 'both'\npause = "
	p := newProgram(t, split+"'10s'") // which no machine is so busy as to make within what is sent in pieces
	p.start()
	tcp := p.port("tcp")
	wantText(t, "glued", python(t, "-c", inPieces, tcp, "3", "echo 甲\necho 乙\r\n\necho 丙\n"), "0 甲\n1 乙\n2 丙\n")
	wantText(t, "in pieces", python(t, "-c", inPieces, tcp, "2", "echo ", "甲", "乙", "\necho", " 丙\n"), "0 甲乙\n1 丙\n")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	p.configure(split + "'50ms'")
	p.start()
	wantText(t, "both", python(t, "tcp.py", "127.0.0.1", p.port("tcp"), "echo 甲; echo 乙 >&2", "true"), "甲\n乙\n执行成功")
}

func TestExamplesWithSecret(t *testing.T) {
	for _, method := range []string{"md5", "sha256"} {
		t.Run(method, func(t *testing.T) {
			p := newProgram(t, "")
			file := p.secretFile()
			p.configure("listen_tcp = '127.0.0.1:0'\nlisten_udp = '127.0.0.1:0'\nkey = 'tutorial'\nauth = 'hmac-" + method +
				"'\nsecret_file = '" + file + "'")
			p.start()
			tcp, udp := p.port("tcp"), p.port("udp")
			wantText(t, "TCP", python(t, "tcp_challenge.py", "127.0.0.1", tcp, "echo 中文", file, method), "中文\n")
			wantText(t, "UDP", python(t, "udp_auth.py", "127.0.0.1", udp, "seq 2000", file), seq(2000))
			if text := p.log.String(); strings.Contains(text, `"warn"`) {
				t.Errorf("a warning:\n%s", text)
			}
			if strings.Contains(p.log.String(), "echo 中文") {
				t.Error("a command is in the log")
			}
		})
	}
}

// TestClassicAcrossRestart sends one datagram to two runs of the daemon.
func TestClassicAcrossRestart(t *testing.T) {
	p := newProgram(t, "")
	file := p.secretFile()
	p.configure("listen_udp = '127.0.0.1:0'\nkey = 'tutorial'\nauth = 'hmac-sha256'\nsecret_file = '" + file + "'")
	const replay = `
import hmac, socket, struct, sys, time
key = open(sys.argv[2], "rb").read().rstrip()
signed = struct.pack(">Q", int(sys.argv[3])) + b"echo once >>" + sys.argv[4].encode()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(hmac.digest(key, signed, "sha256") + signed, ("127.0.0.1", int(sys.argv[1])))
`
	ahead := fmt.Sprint(time.Now().Add(15 * time.Second).UnixMilli())
	count := filepath.Join(p.dir, "count")
	p.start()
	python(t, "-c", replay, p.port("udp"), file, ahead, count)
	p.logged(`"msg":"command answered"`)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	p.start()
	python(t, "-c", replay, p.port("udp"), file, ahead, count)
	p.logged("not newer than what the daemon took before it was started again")
	if b, err := os.ReadFile(count); err != nil || string(b) != "once\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestClassicOff: without a word in the configuration nothing is served.
func TestClassicOff(t *testing.T) {
	p := newProgram(t, "")
	p.start()
	if text := p.log.String(); strings.Contains(text, "classic") {
		t.Errorf("the log speaks of classic clients:\n%s", text)
	}
}

// TestClassicInsecure: an address that others reach needs to be allowed, and there is a warning at each
// start. The key that it names does not exist, so that nobody could do anything there meanwhile.
func TestClassicInsecure(t *testing.T) {
	p := newProgram(t, "")
	file := p.secretFile()
	for _, protocol := range []string{"tcp", "udp"} {
		listen := "listen_" + protocol + " = '0.0.0.0:0'\nkey = 'nobody'\n"
		p.configure(listen)
		err := run(t.Context(), p.args(), streams{nil, &p.log, &p.log})
		if err == nil || !strings.Contains(err.Error(), "classic.listen_"+protocol+": is reached from other machines") ||
			!strings.Contains(err.Error(), "listen on 127.0.0.1, or set classic.insecure = true") {
			t.Errorf("%s: %v", protocol, err)
		}
		for text, warning := range map[string]string{
			"insecure = true": "on an address that other machines reach, and prove nothing",
			"insecure = true\nauth = 'hmac-sha256'\nsecret_file = '" + file + "'": "on an address that other machines reach: whoever is on the way",
		} {
			p.configure(listen + text)
			for range 2 {
				p.start()
				p.logged(`"level":"warn".*in plain text ` + warning)
				if err := p.stop(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestClassicProblems: what is wrong is said before anything is served.
func TestClassicProblems(t *testing.T) {
	p := newProgram(t, "")
	open := filepath.Join(p.dir, "open.key")
	if err := os.WriteFile(open, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(p.dir, "state", "classic-newest")
	if err := os.WriteFile(state, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const listen = "listen_udp = '127.0.0.1:0'\nkey = 'tutorial'\nauth = 'hmac-sha256'\n"
	for name, tt := range map[string]struct{ text, want string }{
		"open secret":  {listen + "secret_file = '" + open + "'", "reading classic.secret_file: "},
		"no secret":    {listen + "secret_file = '" + open + "x'", "reading classic.secret_file: "},
		"broken state": {listen + "secret_file = '" + p.secretFile() + "'", "does not hold the time of the newest datagram"},
	} {
		p.configure(tt.text)
		if err := run(t.Context(), p.args("--listen", "127.0.0.1:0"), streams{nil, &p.log, &p.log}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	p.configure("listen_tcp = '127.0.0.1:0'\nkey = 'nobody'")
	p.start()
	p.logged(`"level":"warn".*"msg":"there is no key called as in classic.key`)
}

// TestClassicShutdown: a client that neither reads nor leaves does not hold up the end, and its command
// ends with the daemon.
func TestClassicShutdown(t *testing.T) {
	p := newProgram(t, "listen_tcp = '127.0.0.1:0'\nkey = 'tutorial'")
	p.start()
	address := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if _, err := fmt.Sscan(p.port("tcp"), &address.Port); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Connect(fd, address); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(fd, []byte("yes 中 & sleep 1000")); err != nil {
		t.Fatal(err)
	}
	p.logged(`"msg":"command"`)
	began := time.Now()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 25*time.Second { // a client may take 30 s to read
		t.Errorf("it took %s", took)
	}
	if left := rexectest.Processes(); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
}
