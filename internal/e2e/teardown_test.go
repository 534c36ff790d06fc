//go:build linux

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/server"
)

// frame is one message as it was received.
type frame struct {
	typ     proto.Type
	payload []byte
}

// TestExitIsLast records every frame of a conversation while pings, signals and acknowledgements go the
// other way: all output comes before the exit record, and after it nothing but pongs.
func TestExitIsLast(t *testing.T) {
	rexectest.CheckLeaks(t)
	for name, command := range map[string]string{
		"both streams":       "for i in 1 2 3 4 5 6 7 8 9; do seq 2000; seq 2000 >&2; done; exit 3",
		"background writer":  "(while :; do echo late; sleep 0.01; done) & seq 5000; exit 3",
		"background flood":   "(timeout 3 yes) & seq 5000; exit 3",
		"large last write":   "head -c 3000000 /dev/zero; seq 10 >&2; exit 3",
		"killed":             "seq 20000; kill -KILL $$",
		"output at the exit": "trap 'seq 20000' EXIT; exit 3",
	} {
		t.Run(name, func(t *testing.T) {
			d := rexectest.New(t, rexectest.Options{})
			p := d.Peer(t)
			p.Send(&proto.Run{ID: client.NewID(), Shell: []byte(command)})
			frames := record(t, p)
			checkOrder(t, frames)
			// The connection is as good as new, and the client closes it.
			if o := p.Run(proto.Run{Shell: []byte("exit 6")}); o.Exit.Code != 6 || len(o.Out[0])+len(o.Out[1]) != 0 {
				t.Errorf("the next command: %+v %q", o.Exit, o.Out)
			}
			_ = p.Conn.CloseWrite()
			if typ, _, err := p.Read(); !errors.Is(err, io.EOF) {
				t.Errorf("after the client's end the daemon says %s, %v", typ, err)
			}
		})
	}
}

// record reads to the exit record and a while beyond, with pings on the way.
func record(t *testing.T, p *rexectest.Peer) []frame {
	t.Helper()
	var frames []frame
	var got [2]uint64
	const after = 50    // pings behind the exit record
	const most = 20_000 // before it: on a busy machine the command takes its time, and a flood would end this
	pings, pongs, ended := uint64(0), uint64(0), false
	for {
		if pings-pongs < 4 && pings < most && !ended {
			pings++
			p.Send(proto.Ping{Token: pings})
		}
		typ, payload := p.Next()
		frames = append(frames, frame{typ, bytes.Clone(payload)})
		switch typ {
		case proto.TypeStdout, proto.TypeStderr:
			i := typ - proto.TypeStdout
			got[i] += uint64(len(payload) - 8)
			p.Send(&proto.Ack{Stream: proto.Stream(i + 1), Offset: got[i], Window: 1 << 20})
		case proto.TypePong:
			pongs++
		case proto.TypeExit:
			ended = true
			for range after {
				pings++
				p.Send(proto.Ping{Token: pings})
			}
			p.Send(proto.Signal{Name: "TERM"}, proto.EOF{Length: 0})
			p.Send(&proto.Ack{Stream: proto.Stdout, Offset: got[0], Window: 1})
			pings++
			p.Send(proto.Ping{Token: pings})
		}
		// A newer pong may stand for older ones while a command's sender owns the connection.
		if ended && typ == proto.TypePong {
			if m, err := proto.ParsePong(payload); err == nil && m.Token == pings {
				return frames
			}
		}
	}
}

func checkOrder(t *testing.T, frames []frame) {
	t.Helper()
	var got [2]uint64
	var exit *proto.Exit
	for i, f := range frames {
		switch {
		case i == 0 && f.typ != proto.TypeStarted:
			t.Errorf("the first frame is %s", f.typ)
		case exit != nil && f.typ != proto.TypePong:
			t.Errorf("%s after the exit record", f.typ)
		case f.typ == proto.TypeStdout || f.typ == proto.TypeStderr:
			n := uint64(len(f.payload) - 8)
			if n == 0 {
				t.Error("a data frame without data")
			}
			got[f.typ-proto.TypeStdout] += n
		case f.typ == proto.TypeExit:
			var err error
			if exit, err = proto.ParseExit(f.payload); err != nil {
				t.Fatal(err)
			}
			if exit.Code != 3 && exit.Code != 137 {
				t.Errorf("the command ended with %+v", exit)
			}
		}
	}
	if want := [2]uint64{exit.StdoutBytes, exit.StderrBytes}; got != want {
		t.Errorf("%d bytes came before the exit record, which counts %d", got, want)
	}
}

// TestServerWaitsForTheClient ends the client's side right after the request; the output comes whole,
// and the client that reads slowly loses nothing.
func TestServerWaitsForTheClient(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for range 20 {
		p := d.Peer(t)
		p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("head -c 1000000 /dev/zero"), NoStdin: true})
		o := p.Outcome()
		if len(o.Out[0]) != 1_000_000 || o.Exit.StdoutBytes != 1_000_000 {
			t.Fatalf("%d bytes and %+v", len(o.Out[0]), o.Exit)
		}
		p.Close()
	}
}

// TestShutdownTellsClients shuts a daemon down under a command, an idle session and a handshake.
func TestShutdownTellsClients(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{Server: server.Options{HandshakeTimeout: time.Hour}})
	running, idle := d.Peer(t), d.Peer(t)
	rexectest.Connect(t, d.Address()) // a stranger, who may not hold anything up
	running.Send(&proto.Run{ID: client.NewID(), Shell: []byte("echo begun; sleep 1000"), NoStdin: true})
	for typ := proto.Type(0); typ != proto.TypeStdout; {
		typ, _ = running.Next()
	}
	stopped := make(chan struct{})
	go func() { defer close(stopped); d.Stop() }()
	o := running.Outcome()
	if o.Exit.State != proto.StateKilled || o.Exit.Cause != proto.CauseShutdown || o.Exit.Code == 0 {
		t.Errorf("the command's record: %+v", o.Exit)
	}
	said, other := running.Ended()
	if len(said) != 1 || said[0].Code != proto.ErrorShutdown || len(other) != 0 {
		t.Errorf("after it: %v %v", said, other)
	}
	said, other = idle.Ended()
	if len(said) != 1 || said[0].Code != proto.ErrorShutdown || len(other) != 0 {
		t.Errorf("the idle session is told %v %v", said, other)
	}
	running.Close()
	idle.Close()
	select {
	case <-stopped:
	case <-time.After(patience):
		t.Fatal("the stranger holds up the end")
	}
}

// TestManyClients runs commands side by side, each with its own output and code.
func TestManyClients(t *testing.T) {
	rexectest.CheckLeaks(t)
	d := rexectest.New(t, rexectest.Options{})
	const clients, each = 8, 10
	failures := make(chan error, clients)
	for i := range clients {
		c := d.Client(t)
		go func() { failures <- manyCommands(t, c, i, each) }()
	}
	for range clients {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
}

func manyCommands(t *testing.T, c *client.Client, i, n int) error {
	for k := range n {
		var out, errOut strings.Builder
		result, err := c.Run(t.Context(), &client.Command{
			Run:   proto.Run{Shell: fmt.Appendf(nil, "cat; echo %d >&2; exit %d", i, k)},
			Stdin: strings.NewReader(fmt.Sprintf("%d/%d", i, k)), Stdout: &out, Stderr: &errOut,
		})
		if err != nil || int(result.Code) != k || out.String() != fmt.Sprintf("%d/%d", i, k) || errOut.String() != fmt.Sprintf("%d\n", i) {
			return fmt.Errorf("client %d, command %d: %q %q %+v %w", i, k, out.String(), errOut.String(), result, err)
		}
	}
	return nil
}
