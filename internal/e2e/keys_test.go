//go:build linux

package e2e

import (
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// endsWithin is how soon what was done with a key must end once the key, or the secret, does.
const endsWithin = 5 * time.Second

// TestEndOfAKey ends keys in every way while one peer runs a command and another one is idle: both are told why, in
// time, and what was proved with a secret that is still good goes on.
func TestEndOfAKey(t *testing.T) {
	change := func(t *testing.T, path, id string, f func(*auth.Key)) {
		if _, err := auth.ChangeKey(path, id, func(k *auth.Key) error { f(k); return nil }); err != nil {
			t.Error(err)
		}
	}
	soon := func() time.Time { return time.Now().Add(time.Second) }
	endings := map[string]struct {
		says string
		end  func(t *testing.T, path, id string) (at time.Time)
	}{
		"revoked": {"was revoked", func(t *testing.T, path, id string) time.Time {
			if err := auth.RevokeKey(path, id); err != nil {
				t.Error(err)
			}
			return time.Now()
		}},
		"disabled": {"is disabled", func(t *testing.T, path, id string) time.Time {
			change(t, path, id, func(k *auth.Key) { k.Disabled = true })
			return time.Now()
		}},
		"expired": {"expired on", func(t *testing.T, path, id string) time.Time {
			at := soon()
			change(t, path, id, func(k *auth.Key) { k.NotAfter = at })
			return at
		}},
		"old secret": {"its old secret ended on", func(t *testing.T, path, id string) time.Time {
			rotated(t, path, id, time.Hour)
			at := soon()
			change(t, path, id, func(k *auth.Key) { k.Old.Until = at })
			return at
		}},
		"replaced secret": {"the secret of key replaced.secret was revoked", func(t *testing.T, path, id string) time.Time {
			rotated(t, path, id, 0)
			return time.Now()
		}},
	}
	overBoth(t, func(t *testing.T, x *target) {
		for name, e := range endings {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				key := x.AddKey(auth.Key{ID: strings.ReplaceAll(name, " ", ".")})
				idle, busy := x.Connect(t), x.Connect(t)
				for _, p := range []*rexectest.Peer{idle, busy} {
					if err := p.Prove(key); err != nil {
						t.Fatal(err)
					}
				}
				busy.Send(&proto.Run{ID: client.NewID(), Shell: []byte("exec sleep 60")})
				if typ, _ := busy.Next(); typ != proto.TypeStarted {
					t.Fatal(typ)
				}
				at := e.end(t, x.KeysPath(), key.KeyID)
				said, _ := idle.Ended()
				if len(said) != 1 || said[0].Code != proto.ErrorRevoked || !strings.Contains(said[0].Text, e.says) {
					t.Errorf("the idle one is told %v", said)
				}
				exit := busy.Outcome().Exit
				if exit.State != proto.StateKilled || exit.Cause != proto.CauseRevoked || !strings.Contains(exit.Reason, e.says) {
					t.Errorf("the command: %+v", exit)
				}
				if took := time.Since(at); took > endsWithin {
					t.Errorf("it took %s", took)
				}
			})
		}
	})
}

func rotated(t *testing.T, path, id string, keep time.Duration) auth.Key {
	k, err := auth.RotateKey(path, id, auth.Rotation{Now: time.Now(), Keep: keep})
	if err != nil {
		t.Error(err)
	}
	return k
}

// TestRotationInFlight takes a command up again with the new secret: it goes on when the old one ends, under which it
// was started. So does an idle peer that proved the new one.
func TestRotationInFlight(t *testing.T) {
	overBoth(t, func(t *testing.T, x *target) {
		key := x.AddKey(auth.Key{ID: "rotated"})
		before, idle := x.Connect(t), x.Connect(t)
		if err := before.Prove(key); err != nil {
			t.Fatal(err)
		}
		m := proto.Run{ID: client.NewID(), Shell: []byte("sleep 5; exit 7")}
		before.Send(&m)
		if typ, _ := before.Next(); typ != proto.TypeStarted {
			t.Fatal(typ)
		}
		key.Secret = rotated(t, x.KeysPath(), key.KeyID, time.Hour).Secret
		before.Close()
		after := x.Connect(t)
		for _, p := range []*rexectest.Peer{after, idle} {
			if err := p.Prove(key); err != nil {
				t.Fatal(err)
			}
		}
		after.Send(&m)
		if typ, _ := after.Next(); typ != proto.TypeStarted {
			t.Fatal(typ)
		}
		if _, err := auth.ChangeKey(x.KeysPath(), key.KeyID, func(k *auth.Key) error { k.Old = nil; return nil }); err != nil {
			t.Fatal(err)
		}
		if exit := after.Outcome().Exit; exit.State != proto.StateExited || exit.Code != 7 {
			t.Errorf("%+v", exit)
		}
		if o := idle.Run(proto.Run{Shell: []byte("exit 8")}); o.Exit.Code != 8 {
			t.Errorf("%+v", o.Exit)
		}
		if x.Starts() != 2 {
			t.Errorf("%d starts, want 2", x.Starts())
		}
	})
}
