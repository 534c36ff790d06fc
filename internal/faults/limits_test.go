//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// TestNoFilesLeft: strangers take all the descriptors of the daemon. Who knocks is turned away, who is connected is told
// why no command runs, nothing spins, and once they have left all is as before.
func TestNoFilesLeft(t *testing.T) {
	s := newService(t, "[server]\nhandshake_timeout = \"5m\"")
	s.wrapper = []string{"sh", "-c", "ulimit -n 48; exec \"$@\"", "-"}
	s.start()
	c := s.client("test")
	s.prints(c, "echo before", "before\n")
	var strangers []net.Conn
	defer func() {
		for _, conn := range strangers {
			conn.Close()
		}
	}()
	knock := func() net.Conn {
		t.Helper()
		conn, err := net.DialTimeout("tcp", s.address, patience)
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, conn)
		return conn
	}
	for range 48 {
		knock()
	}
	s.logged(`"level":"warn".*"no connection can be accepted".*too many open files.*LimitNOFILE`)
	last := knock()
	_ = last.SetReadDeadline(time.Now().Add(patience))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who is too many is not turned away: %v", err)
	}
	s.says(s.run(c, "echo during"), proto.StateRefused, "the server has too many files open, so nothing was started; try again later")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.says(runNamed(ctx, c, "deploy", "echo during"), proto.StateRefused, "nothing was started")

	before := s.usage()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	<-tick.C
	if spent := s.usage().cpu - before.cpu; spent > 500*time.Millisecond {
		t.Errorf("it took %s of CPU in 2 s of waiting", spent)
	}
	if n := strings.Count(s.log.String(), "no connection can be accepted"); n > 20 {
		t.Errorf("said %d times", n)
	}

	for _, conn := range strangers {
		conn.Close()
	}
	s.prints(s.client("test"), "echo after", "after\n")
	s.prints(c, "echo after", "after\n")
	s.logged(`"connections are accepted again","turned_away":[1-9]`)
	if o := runNamed(ctx, c, "deploy", "echo once"); o.out.String() != "once\n" {
		t.Errorf("what was refused does not run afterwards: %s", o)
	}
}

// TestStopped: a daemon that stands still for a while goes on where it was.
func TestStopped(t *testing.T) {
	for name, transport := range map[string]client.Transport{"tcp": client.TCP, "udp": client.UDP} {
		t.Run(name, func(t *testing.T) { stopped(t, transport) })
	}
}

func stopped(t *testing.T, transport client.Transport) {
	// A busy machine may take its time for a handshake, but not as long as the daemon stands still.
	s := newService(t, "[server]\ngrace = \"1s\"\nhandshake_timeout = \"4s\"")
	s.transport = transport
	s.start()
	idle, busy := s.client("test"), s.client("test")
	s.prints(idle, "echo before", "before\n")
	runs := filepath.Join(t.TempDir(), "runs")
	const text = `echo x >>%s; i=0; while [ $i -lt 40000 ]; do i=$((i+1)); echo $i; done; sleep 2; echo end; exit 9`
	ended := make(chan *outcome, 1)
	go func() { ended <- s.run(busy, fmt.Sprintf(text, runs)) }() // awaited below
	s.until("the command does not begin", func() bool { _, err := os.Stat(runs); return err == nil })

	s.signal(unix.SIGSTOP)
	began := time.Now()
	tick := time.NewTicker(6 * time.Second)
	defer tick.Stop()
	<-tick.C
	s.signal(unix.SIGCONT)

	o := <-ended
	var want strings.Builder
	for i := range 40000 {
		fmt.Fprintln(&want, i+1)
	}
	want.WriteString("end\n")
	if o.failure != nil || o.result.State != proto.StateExited || o.result.Code != 9 || o.out.String() != want.String() {
		t.Errorf("after %s: %s", time.Since(began), o)
	}
	if text, _ := os.ReadFile(runs); string(text) != "x\n" {
		t.Errorf("it ran %d times", len(text)/2)
	}
	s.prints(idle, "echo after", "after\n")
	s.prints(s.client("test"), "echo new", "new\n")
	for _, words := range []string{"closed", "failed", "dropped", "refused"} {
		if strings.Contains(s.log.String(), fmt.Sprintf(`"outcome":%q`, words)) {
			t.Errorf("a connection was %s", words)
		}
	}
	if n := strings.Count(s.log.String(), `"outcome":"accepted"`); n != 3 {
		t.Errorf("%d connections, want the first ones and the new one", n)
	}
}

// TestNameServiceHangs: who waits for an account that a directory service does not give gets an answer, and nobody else waits.
func TestNameServiceHangs(t *testing.T) {
	s := newService(t, "")
	dir := t.TempDir()
	for name, text := range map[string]string{"getent": "#!/bin/sh\nsleep 60\n", "nsswitch.conf": "passwd: files ldap\ngroup: files\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.inNamespace(fmt.Sprintf("mount --bind %s/getent \"$(command -v getent)\"; mount --bind %[1]s/nsswitch.conf /etc/nsswitch.conf", dir))
	s.addKey(auth.Key{ID: "far", RunAs: "nobody-here"})
	s.addKey(auth.Key{ID: "near", RunAs: "root"})
	s.start()
	c := s.client("far")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil { // which asks for no account
		t.Fatal(err)
	}
	began := time.Now()
	answers := make(chan *outcome, 8)
	for range cap(answers) {
		c := s.client("far")
		go func() { answers <- s.run(c, "echo here") }() // awaited below
	}
	// A local account's commands run meanwhile, on connections that are made meanwhile.
	others := 0
	for ; others < 10 && len(answers) == 0; others++ {
		s.prints(s.client("near"), "echo at once", "at once\n")
	}
	if others < 3 { // each would have waited for an answer
		t.Errorf("%d commands of others before the first answer, in %s", others, time.Since(began))
	}
	for range cap(answers) {
		s.says(<-answers, proto.StateRefused, `account "nobody-here": looking it up: the name service did not answer in time`)
	}
	if took := time.Since(began); took < 4*time.Second || took > patience {
		t.Errorf("the answers took %s, want 5 s", took)
	}
}
