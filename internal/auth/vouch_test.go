package auth

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rexec/internal/proto"
)

// TestVouch: without a proof a key lets in whom it would let in with one.
func TestVouch(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	near := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	v := newTestVerifier(t, ServerID{1}, func() time.Time { return now },
		Key{ID: "open", Secret: newTestSecret(t), RunAs: "deploy", From: near, NotAfter: now.Add(time.Hour)},
		Key{ID: "old", Secret: newTestSecret(t), NotAfter: now},
		Key{ID: "young", Secret: newTestSecret(t), NotBefore: now.Add(time.Second)},
		Key{ID: "off", Secret: newTestSecret(t), Disabled: true},
	)
	for _, tt := range []struct {
		id, remote, text string
		status           proto.Status
	}{
		{"nobody", "10.0.0.1", "there is no key nobody on this server", proto.StatusDisabled},
		{"", "10.0.0.1", "there is no key", proto.StatusDisabled},
		{"open", "192.0.2.1", "may not be used from 192.0.2.1", proto.StatusSource},
		{"old", "10.0.0.1", "expired", proto.StatusExpired},
		{"young", "10.0.0.1", "not valid before", proto.StatusNotYet},
		{"off", "10.0.0.1", "disabled", proto.StatusDisabled},
	} {
		g, err := v.Vouch(tt.id, netip.MustParseAddr(tt.remote))
		denied, ok := errors.AsType[*DeniedError](err)
		if g != nil || !ok || denied.Status != tt.status || !strings.Contains(denied.Text, tt.text) {
			t.Errorf("%q from %s: %v, %v; want status %d, %q", tt.id, tt.remote, g, err, tt.status, tt.text)
		}
	}
	remote := netip.MustParseAddr("10.0.0.1")
	g, err := v.Vouch("open", remote)
	if err != nil || g.KeyID() != "open" {
		t.Fatalf("%+v, %v", g, err)
	}
	if k, err := v.Authorize(g, remote); err != nil || k.RunAs != "deploy" {
		t.Errorf("%+v, %v", k, err)
	}
	if other, err := v.Vouch("open", remote); err != nil || other.SessionID() == g.SessionID() {
		t.Errorf("two grants have one session: %v", err)
	}
	// What holds later counts later.
	if _, err := v.Authorize(g, netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("the grant is good from everywhere")
	}
	now = now.Add(time.Hour)
	if _, err := v.Authorize(g, remote); err == nil {
		t.Error("the grant outlives its key")
	}
	now = now.Add(-time.Hour)
	if err := RevokeKey(v.store.path, "open"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.store.Refresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Authorize(g, remote); err == nil {
		t.Error("the grant survives a revocation")
	}
}

func TestReadShared(t *testing.T) {
	dir := stateDir(t)
	path := filepath.Join(dir, "secret")
	for text, want := range map[string]string{
		"abc": "abc", "abc\n": "abc", "abc\r\n": "abc", "a b \n\n": "a b \n", " \x00\xff": " \x00\xff",
		strings.Repeat("x", sharedLimit): strings.Repeat("x", sharedLimit),
	} {
		write(t, path, text)
		if got, err := ReadShared(path); err != nil || string(got) != want {
			t.Errorf("%.20q: %.20q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("secret", 1000): "larger than"} {
		write(t, path, text)
		_, err := ReadShared(path)
		mustFail(t, err, "secretsecret", want)
	}
	write(t, path, "secretsecret")
	for _, mode := range []os.FileMode{0o644, 0o640, 0o606} {
		chmod(t, path, mode)
		_, err := ReadShared(path)
		mustFail(t, err, "secretsecret", "chmod 600")
	}
	chmod(t, path, 0o600)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{link: "symbolic link", dir: "is a directory", path + "x": "no such file"} {
		_, err := ReadShared(path)
		mustFail(t, err, "secretsecret", want)
	}
}
