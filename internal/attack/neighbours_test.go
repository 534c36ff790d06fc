//go:build linux

package attack

import (
	"context"
	"errors"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// TestSameNameOfTwoKeys: execution names are of the clients' choosing, so two keys may use one at once. What ends the
// one's processes must not touch the other's.
func TestSameNameOfTwoKeys(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	o := d.ClientOptions()
	o.Key = d.AddKey(auth.Key{ID: "neighbour"})
	id := client.NewID()
	first := shell("sleep 30")
	first.ID, first.Timeout = id, 600
	second := shell("(setsid sleep 1.5; echo still there) ; exit 4")
	second.ID = id
	ended := make(chan *output, 1)
	go func() { ended <- run(limited(t, 20*time.Second), d.Client(t), client.Command{Run: first}) }()
	until(t, time.Minute, "the first command", func() bool { return d.Starts() == 1 })
	got := run(limited(t, 20*time.Second), rexectest.NewClient(t, o), client.Command{Run: second})
	got.exited(t, 4)
	if got.out.String() != "still there\n" {
		t.Errorf("%q", got.out.String())
	}
	if one := <-ended; one.failure != nil || one.result.State != proto.StateTimeout {
		t.Errorf("the first: %+v, %v", one.result, one.failure)
	}
}

// TestEarlySignal: a signal between the request and the server's answer reaches the command; it does not leave the
// command to itself.
func TestEarlySignal(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	for after := range 12 {
		signals := make(chan string, 1)
		ctx, cancel := context.WithCancel(limited(t, 20*time.Second))
		timer := time.AfterFunc(time.Duration(after)*time.Millisecond, func() { signals <- "TERM" })
		got := run(ctx, d.Client(t), client.Command{Run: shell("exec sleep 15"), Signals: signals})
		timer.Stop()
		cancel()
		switch {
		case got.failure == nil && got.result.State == proto.StateSignaled && got.result.Signal == "TERM":
		case errors.Is(got.failure, client.ErrInterrupted) && !errors.As(got.failure, new(*client.LostError)):
		default:
			t.Errorf("after %d ms: %+v, %v", after, got.result, got.failure)
		}
	}
}
