package main

import (
	"net"
	"strings"
	"testing"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// TestHungUpHint: a server that takes the connection and ends it at once, as one does that has no files left, is told
// from one that is not there.
func TestHungUpHint(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // the end of the listener ends it
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	secret, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	try := func() string {
		c := client.New(client.Options{
			Address: ln.Addr().String(), Transport: client.TCP, Log: func(string, ...any) {},
			Key: auth.ClientKey{Server: auth.ServerID{1}, KeyID: "k", Secret: secret},
		})
		defer func() { _ = c.Close() }()
		_, err := c.Run(t.Context(), &client.Command{Run: proto.Run{Shell: []byte("true")}})
		if err == nil {
			t.Fatal("a command ran")
		}
		return new(program).hint(err)
	}
	if got := try(); !strings.Contains(got, "hung up") {
		t.Errorf("hint %q", got)
	}
	ln.Close()
	<-ended
	if got := try(); !strings.Contains(got, "nothing listens there") {
		t.Errorf("hint %q", got)
	}
}

// TestLostHint: the option that a single command can have is none of a prompt's line.
func TestLostHint(t *testing.T) {
	for prompting, want := range map[bool]bool{false: true, true: false} {
		hint := (&program{prompting: prompting}).hint(&client.LostError{Cause: client.ErrRestarted})
		if strings.Contains(hint, "--id") != want || !strings.Contains(hint, "may have run") {
			t.Errorf("prompt %v: %q", prompting, hint)
		}
	}
}

// TestLackOfMemoryIsTold: a KILL without a reason, or a code that a shell made of it, would leave the user guessing.
func TestLackOfMemoryIsTold(t *testing.T) {
	const reason = "the kernel ended 1 of its processes for lack of memory"
	for _, tt := range []struct {
		state       proto.State
		quiet       bool
		begins, has string
	}{
		{proto.StateSignaled, false, "rexec: error: the command was ended: " + reason, "exec.max_memory"},
		{proto.StateSignaled, true, "rexec: error: the command was ended: " + reason, "exec.max_memory"},
		{proto.StateExited, false, "rexec: warning: " + reason, ""},
		{proto.StateExited, true, "", ""},
	} {
		var said strings.Builder
		p := &program{options: &options{quiet: tt.quiet}, words: &said}
		p.tell(&client.Result{Exit: proto.Exit{State: tt.state, Code: 137, Cause: proto.CauseMemory, Reason: reason}})
		got := said.String()
		if !strings.HasPrefix(got, tt.begins) || !strings.Contains(got, tt.has) || tt.begins == "" && got != "" {
			t.Errorf("%v, quiet %v: %q", tt.state, tt.quiet, got)
		}
	}
}
