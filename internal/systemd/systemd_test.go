//go:build linux

package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSorted hands over UDP before TCP, and twice TCP, as a socket unit may list them.
func TestSorted(t *testing.T) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp := [2]*net.TCPListener{listen(t), listen(t)}
	s, err := sorted([]*os.File{file(t, udp), file(t, tcp[0]), file(t, tcp[1])})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.TCP) != 2 || len(s.UDP) != 1 || s.None() {
		t.Fatalf("%d TCP and %d UDP sockets", len(s.TCP), len(s.UDP))
	}
	for i, l := range s.TCP {
		if got, want := l.Addr().String(), tcp[i].Addr().String(); got != want {
			t.Errorf("TCP socket %d is %s, want %s", i, got, want)
		}
	}
	if got, want := s.UDP[0].LocalAddr().String(), udp.LocalAddr().String(); got != want {
		t.Errorf("the UDP socket is %s, want %s", got, want)
	}
	conn, err := net.Dial("tcp", tcp[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := s.TCP[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
}

// TestSortedRefuses: what is no socket for us ends the start, and says which one it is.
func TestSortedRefuses(t *testing.T) {
	dir := t.TempDir()
	stream, err := net.Listen("unix", filepath.Join(dir, "stream"))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "datagram"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	plain, err := os.Create(filepath.Join(dir, "plain"))
	if err != nil {
		t.Fatal(err)
	}
	connected, err := net.Dial("unix", stream.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connected.Close()
	for _, f := range []*os.File{
		file(t, stream.(*net.UnixListener)), file(t, datagram), file(t, connected.(*net.UnixConn)), plain,
	} {
		name := f.Name()
		_, err := sorted([]*os.File{file(t, listen(t)), f})
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "ListenDatagram=") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNotify reads what a service manager would.
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for want, send := range map[string]func(){
		"READY=1":                      Ready,
		"STOPPING=1":                   Stopping,
		"RELOADING=1\nMONOTONIC_USEC=": Reloading,
		"STATUS=two lines":             func() { Status("two\nlines") },
		"EXTEND_TIMEOUT_USEC=1500000":  func() { Extend(1500 * time.Millisecond) },
		"WATCHDOG=1":                   Alive,
	} {
		send()
		b := make([]byte, 512)
		_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b[:n]); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestWatchdog(t *testing.T) {
	for usec, want := range map[string]time.Duration{"": 0, "20000000": 20 * time.Second, "x": 0} {
		t.Setenv("WATCHDOG_USEC", usec)
		if got := Watchdog(); got != want {
			t.Errorf("%q: %v, want %v", usec, got, want)
		}
	}
}

func TestCredential(t *testing.T) {
	if got := Credential("x"); got != "" {
		t.Errorf("without credentials: %q", got)
	}
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if got := Credential("x"); got != "" {
		t.Errorf("one that is not there: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if got, want := Credential("x"), filepath.Join(dir, "x"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFieldName(t *testing.T) {
	if got := FieldName("REXEC_", "old-secret 2ä"); got != "REXEC_OLD_SECRET_2_" {
		t.Error(got)
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func file(t *testing.T, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}
