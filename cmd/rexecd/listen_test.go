package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// TestHandedOver: the sockets listen before the daemon is there, and who came over TCP or UDP in the
// meantime is served once it is.
func TestHandedOver(t *testing.T) {
	p := newProgram(t, "")
	tcp, udp := socketsOf(t)
	address := tcp.Addr().String()
	line := p.rexecd("key", "add", "early", "--address", address)
	token, err := auth.ParseToken(strings.TrimSuffix(strings.TrimPrefix(line, "rexec enroll '"), "'\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clients sync.WaitGroup
	defer clients.Wait()
	for _, over := range []client.Transport{client.TCP, client.UDP} {
		clients.Go(func() {
			c := client.New(client.Options{Address: address, Key: token.Key, Transport: over, Timeout: time.Minute})
			defer func() { _ = c.Close() }()
			var out bytes.Buffer
			r, err := c.Run(ctx, &client.Command{Run: proto.Run{Shell: []byte("echo $LISTEN_FDS$LISTEN_PID$NOTIFY_SOCKET; ls /proc/self/fd")}, Stdout: &out})
			if err != nil || r.Code != 0 {
				t.Errorf("%v: %+v, %v", over, r, err)
			}
			// 3 is the directory that ls reads.
			if got := out.String(); got != "\n0\n1\n2\n3\n" {
				t.Errorf("%v: the command sees %q", over, got)
			}
		})
	}
	waitForClients(t, tcp, udp)
	daemon := p.handOver(udp, tcp) // in the order that nobody expects
	clients.Wait()
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
	p.logged(`"listening".*"handed_over":\["tcp:` + address + `","udp:` + address + `"\]`)
}

// socketsOf are a TCP and a UDP socket with the same number.
func socketsOf(t *testing.T) (*net.TCPListener, *net.UDPConn) {
	t.Helper()
	for range portTries {
		tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Addr().(*net.TCPAddr).Port})
		if err == nil {
			t.Cleanup(func() { tcp.Close(); udp.Close() })
			return tcp, udp
		}
		tcp.Close()
	}
	t.Fatal("no number is free for both")
	return nil, nil
}

// waitForClients returns when a connection and a datagram wait in the sockets.
func waitForClients(t *testing.T, tcp *net.TCPListener, udp *net.UDPConn) {
	t.Helper()
	for _, s := range []syscall.Conn{tcp, udp} {
		raw, err := s.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Control(func(fd uintptr) {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := 0, error(unix.EINTR)
			for err == unix.EINTR { //nolint:errorlint // signals come to this process, also those of Go's own scheduler
				n, err = unix.Poll(ready, 60_000)
			}
			if n != 1 {
				t.Errorf("nobody came: %v", err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// handOver starts the program with sockets, as a service manager does.
func (p *program) handOver(udp *net.UDPConn, tcp *net.TCPListener) *exec.Cmd {
	p.t.Helper()
	var files []*os.File
	for _, s := range []interface{ File() (*os.File, error) }{udp, tcp} {
		f, err := s.File()
		if err != nil {
			p.t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@"`, os.Args[0],
		"--config", p.config, "--state-dir", filepath.Join(p.dir, "state"))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.ExtraFiles, cmd.Stderr = files, &p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // both for a test that has failed
	return cmd
}
