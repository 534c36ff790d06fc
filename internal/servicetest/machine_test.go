//go:build linux

package servicetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

// labFailed is the exit status of the lab for a failure of its own.
const labFailed = 125

// machine is one guest.
type machine struct {
	program string // the lab's
	suite   string
	port    string   // of 127.0.0.1, led to the daemon's, for TCP and UDP
	env     []string // by which the lab knows the guest
	home    string   // of the client; it holds the keys
}

// boot starts a guest, which is gone when the test ends.
func boot(t *testing.T, program, suite string) *machine {
	t.Helper()
	port := freePort(t)
	m := &machine{program: program, suite: suite, port: port}
	m.env = []string{
		"LAB_SUITE=" + suite,
		// Runs of several people on one machine do not meet.
		fmt.Sprintf("LAB_NAME=rexec-%s-%d", suite, os.Getpid()),
		fmt.Sprintf("LAB_FORWARD=tcp:%s:8000 udp:%s:8000", port, port),
		// For the story in which a command does what needs privileges.
		"LAB_PACKAGES=sudo",
	}
	if dir := os.Getenv("LAB_DIR"); dir != "" {
		m.env = append(m.env, "LAB_DIR="+dir)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if t.Failed() {
			log, err := m.lab(ctx, "run", "journalctl", "--no-pager", "-n", "60", "-u", "rexecd")
			t.Logf("the guest's journal (%v):\n%s", err, log)
		}
		if out, err := m.lab(ctx, "down"); err != nil {
			t.Errorf("the guest is not down: %v\n%s", err, out)
		}
	})
	if out, err := m.lab(t.Context(), "up"); err != nil {
		t.Fatalf("no guest: %v\n%s", err, out)
	}
	return m
}

func (m *machine) lab(ctx context.Context, args ...string) (output []byte, err error) {
	cmd := exec.CommandContext(ctx, m.program, args...)
	cmd.Env = append(os.Environ(), m.env...)
	// What stays behind of up, the guest and the way into it, holds the output open.
	cmd.WaitDelay = 5 * time.Second
	return cmd.CombinedOutput()
}

// freePort finds a port that is free for TCP and for UDP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		tcp.Close()
		if err != nil {
			continue
		}
		udp.Close()
		_, port, _ := net.SplitHostPort(tcp.Addr().String())
		return port
	}
	t.Fatal("no port is free for both TCP and UDP")
	return ""
}
