package auth

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestUses: a proof, a vouching and a command are uses, of the secret that was proved; a refusal is none.
func TestUses(t *testing.T) {
	r := newRotating(t)
	path := filepath.Join(filepath.Dir(r.path), "lastused")
	u, err := OpenUses(path)
	if err != nil {
		t.Fatal(err)
	}
	r.Record(u)
	start := r.clock
	expect := func(what string, h *handshake, minute int, from string) {
		t.Helper()
		want := Use{}
		if from != "" {
			want = Use{start.Add(time.Duration(minute) * time.Minute), netip.MustParseAddr(from)}
		}
		if got := u.Last(h.client.Secret); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	before := r.handshake
	expect("at first", before, 0, "")
	if err := u.Save(r.store); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file without anything to say")
	}
	r.clock = start.Add(time.Minute)
	v, _ := r.try(before)
	expect("a proof", before, 1, "192.0.2.1")
	r.clock = start.Add(2 * time.Minute)
	if _, err := r.Use(v.Grant, netip.MustParseAddr("::ffff:192.0.2.7")); err != nil {
		t.Fatal(err)
	}
	expect("a command", before, 2, "192.0.2.7")
	r.clock = start.Add(3 * time.Minute)
	if _, err := r.Authorize(v.Grant, netip.MustParseAddr("192.0.2.8")); err != nil {
		t.Fatal(err)
	}
	expect("a review", before, 2, "192.0.2.7")
	after := r.rotate(time.Hour)
	expect("a new secret", after, 0, "")
	r.clock = start.Add(4 * time.Minute)
	if _, err := r.Vouch("alice", netip.MustParseAddr("192.0.2.9")); err != nil {
		t.Fatal(err)
	}
	expect("vouched for", after, 4, "192.0.2.9")
	expect("the old secret", before, 2, "192.0.2.7")
	if err := u.Save(r.store); err != nil {
		t.Fatal(err)
	}
	// What another daemon reads is the same, and holds no secret.
	text := read(t, path)
	for _, h := range []*handshake{before, after} {
		if strings.Contains(text, h.client.Secret.base64()[:10]) {
			t.Error("the file holds a secret")
		}
	}
	if u, err = OpenUses(path); err != nil {
		t.Fatal(err)
	}
	expect("read again", before, 2, "192.0.2.7")
	// A secret that nobody has any more is forgotten.
	r.Record(u)
	last := r.rotate(0)
	_, _ = r.try(before)
	_, _ = r.try(last)
	if err := u.Save(r.store); err != nil {
		t.Fatal(err)
	}
	expect("gone", before, 0, "")
	expect("gone", after, 0, "")
	expect("the last one", last, 4, "192.0.2.1")
}

// TestUsesDoNoHarm: whatever becomes of the file, keys go on, and so does what remembers.
func TestUsesDoNoHarm(t *testing.T) {
	r := newRotating(t)
	path := filepath.Join(filepath.Dir(r.path), "lastused")
	for _, text := range []string{"", "{", "null", "[]", `{"x":{"at":"yesterday"}}`} {
		write(t, path, text)
		u, err := OpenUses(path)
		mustFail(t, err, "", path, "fix: remove it")
		r.Record(u)
		if v, err := r.try(r.handshake); err != nil || v.Grant == nil {
			t.Errorf("%+v, %v", v, err)
		}
		if err := u.Save(r.store); err != nil {
			t.Error(err)
		}
		if u, err = OpenUses(path); err != nil || u.Last(r.client.Secret).At != r.clock {
			t.Errorf("%v, %v", u.Last(r.client.Secret), err)
		}
	}
	// A directory that is gone: told once, tried again, and saved at the end.
	gone := filepath.Join(t.TempDir(), "gone", "lastused")
	u, err := OpenUses(gone)
	if err != nil {
		t.Fatal(err)
	}
	r.Record(u)
	_, _ = r.try(r.handshake)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan error, 100)
	var wg sync.WaitGroup
	wg.Go(func() { u.Keep(ctx, time.Millisecond, r.store, func(err error) { told <- err }) })
	if err := <-told; !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Dir(gone), 0o700); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(gone); err == nil {
			break
		}
	}
	r.clock = r.clock.Add(time.Hour)
	_, _ = r.try(r.handshake)
	cancel()
	wg.Wait()
	if u, err = OpenUses(gone); err != nil || u.Last(r.client.Secret).At != r.clock {
		t.Errorf("%v, %v", u.Last(r.client.Secret), err)
	}
}
