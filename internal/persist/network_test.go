//go:build linux

package persist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/rexectest"
)

// TestNetworkGone: a request that goes into a dead connection is made again over another one, long before its
// client would give up, and runs once although the first one may still arrive. The process ends.
func TestNetworkGone(t *testing.T) {
	for name, over := range map[string]client.Transport{"tcp": client.TCP, "udp": client.UDP} {
		t.Run(name, func(t *testing.T) {
			place(t)
			d := rexectest.New(t, rexectest.Options{Transport: over})
			var network interface {
				Blackhole()
				Forward()
				Address() string
			} = rexectest.NewProxy(t, d.Address())
			if over == client.UDP {
				network = rexectest.NewUDPProxy(t, d.Address())
			}
			r := keepAt(t, d, network.Address(), over, time.Minute)
			r.sh("true")
			until(t, "a spare conversation", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.opening == 0 && len(r.free) > map[client.Transport]int{client.TCP: 1}[over]
			})
			p := r.use(time.Minute)
			o := d.ClientOptions() // its own way leads past the dead network
			o.Shared = func(context.Context) (*client.Proven, error) { return p, nil }
			c := client.New(o)
			defer c.Close()
			if err := c.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			counter := filepath.Join(t.TempDir(), "counter")
			network.Blackhole()
			began := time.Now()
			result, err := c.Run(t.Context(), shell("echo x >>"+counter))
			if err != nil || result.Code != 0 || result.Resumed == 0 {
				t.Errorf("%+v, %v", result, err)
			}
			t.Logf("it took %s", time.Since(began))
			r.gone()
			network.Forward()
			r.d.Stop()
			if text, err := os.ReadFile(counter); err != nil || string(text) != "x\n" {
				t.Errorf("it ran %q, %v", text, err)
			}
		})
	}
}

// TestAsleep: a conversation of which nothing was heard for long, as after the sleep of a machine, is not
// given to anybody before the server has answered on it.
func TestAsleep(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		r.sh("true")
		old := time.Now().Add(-time.Hour)
		r.mu.Lock()
		for c := range r.all {
			c.mu.Lock()
			c.heard = old
			if ago := elapsed(c.heard); ago < fresh {
				t.Errorf("heard %s ago", ago)
			}
			c.mu.Unlock()
		}
		r.mu.Unlock()
		// Now or soon: each answer makes one good again.
		until(t, "a conversation", func() bool {
			p, _, err := Use(t.Context(), r.target, time.Minute)
			switch {
			case errors.Is(err, ErrBusy), errors.Is(err, ErrHung):
				return false
			case err != nil:
				t.Fatal(err)
			}
			defer p.Channel.Close()
			r.mu.Lock()
			defer r.mu.Unlock()
			for c := range r.all {
				c.mu.Lock()
				given, heard := c.sink != nil, c.heard
				c.mu.Unlock()
				if given && heard.Equal(old) {
					t.Error("a conversation was given unheard")
				}
			}
			return true
		})
	})
}
