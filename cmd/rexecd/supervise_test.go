package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rexec/internal/rexectest"
)

// manager is the service manager's end of the notification socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	mu   sync.Mutex
	got  []string
}

// newManager makes the daemon of this test believe that a service manager has started it.
func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	m := &manager{t: t, conn: conn}
	var wg sync.WaitGroup
	wg.Go(m.read)
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
		if t.Failed() {
			t.Logf("the manager was told:\n%s", strings.Join(m.all(), "\n"))
		}
	})
	return m
}

func (m *manager) read() {
	b := make([]byte, 4096)
	for {
		n, err := m.conn.Read(b)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.got = append(m.got, string(b[:n]))
		m.mu.Unlock()
	}
}

func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.got...)
}

// await waits for a message with this text behind the first n, and returns how many there were up to it.
func (m *manager) await(n int, text string) int {
	m.t.Helper()
	for deadline := time.Now().Add(never); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for i, got := range m.all() {
			if i >= n && strings.Contains(got, text) {
				return i + 1
			}
		}
	}
	m.t.Fatalf("the service manager was not told %q", text)
	return 0
}

// TestManaged goes through a daemon's life as its service manager sees it.
func TestManaged(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "30000000") // a third of it is for a self-check, beside whatever else this machine does
	m := newManager(t)
	p := newProgram(t, "")
	p.start()
	n := m.await(0, "READY=1")
	n = m.await(n, "STATUS=0 connections, 0 commands running")
	n = m.await(n, "WATCHDOG=1")
	n = m.await(n, "WATCHDOG=1") // there was a self-check between these two
	p.logged(`"msg":"listening"`)
	if strings.Contains(p.log.String(), `"connection"`) || strings.Contains(p.log.String(), "self") {
		t.Errorf("the self-check is in the log:\n%s", p.log.String())
	}

	p.configure("") // which stays as it is
	if err := os.WriteFile(p.config, []byte("lisen = ':1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hangup(t)
	n = m.await(n, "RELOADING=1\nMONOTONIC_USEC=")
	n = m.await(n, "the new configuration is not used: "+p.config+":1: ")
	n = m.await(n, "READY=1")
	p.configure("")
	hangup(t)
	n = m.await(n, "STATUS=0 connections")

	keys := filepath.Join(p.dir, "state", "keys")
	good, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	p.replace(keys, []byte("nonsense\n"))
	n = m.await(n, "the key file is not used, the keys read before stay in force: "+keys+":1")
	p.replace(keys, good)
	n = m.await(n, "STATUS=0 connections")
	p.rexecd("key", "revoke", "tutorial")
	n = m.await(n, "STATUS=there are no keys, so everybody is refused; make one with: rexecd key add NAME")

	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	n = m.await(n, "STOPPING=1")
	m.await(n, "EXTEND_TIMEOUT_USEC=15000000")
}

// TestStatusLineIsCorrected: what a reload has told is not what is true for ever.
func TestStatusLineIsCorrected(t *testing.T) {
	m := newManager(t)
	p := newProgram(t, "")
	p.start()
	n := m.await(0, "STATUS=0 connections")
	peer := rexectest.Connect(t, p.logged(`"msg":"listening","address":"([0-9.:]+)"`)[1])
	hangup(t)
	n = m.await(n, "STATUS=1 connection, ")
	peer.Close()
	m.await(n, "STATUS=0 connections")
}

// hangup reloads this process, which is the daemon.
func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// replace gives a file another content, at once: the daemon looks at its files at any time, and one that it finds
// empty holds no keys.
func (p *program) replace(path string, text []byte) {
	p.t.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.t.Fatal(err)
	}
}

// TestPassedIdentity: a daemon whose identity comes from the service manager, and tokens that are for it.
func TestPassedIdentity(t *testing.T) {
	p := newProgram(t, "")
	id := p.rexecd("id")
	state, elsewhere := filepath.Join(p.dir, "state"), t.TempDir()
	if err := os.Rename(filepath.Join(state, "identity"), filepath.Join(elsewhere, credential)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", elsewhere)
	p.start()
	p.logged(`"listening".*"server":"` + strings.TrimSpace(id) + `"`)
	t.Setenv("CREDENTIALS_DIRECTORY", "") // as in an administrator's shell
	if got := p.rexecd("id"); got != id {
		t.Errorf("the ID is %s, want %s", got, id)
	}
	if _, err := os.Stat(filepath.Join(state, "identity")); err == nil {
		t.Error("another identity was made")
	}
}
