package auth

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPassedIdentity(t *testing.T) {
	elsewhere, dir := t.TempDir(), filepath.Join(t.TempDir(), "state")
	want, err := CreateIdentity(filepath.Join(elsewhere, "made"))
	if err != nil {
		t.Fatal(err)
	}
	path := IdentityPath(filepath.Join(elsewhere, "made"))
	for range 2 { // the second time its ID is noted already
		got, err := PassedIdentity(path, dir)
		if err != nil || got.ID != want.ID || !got.Key.Equal(want.Key) {
			t.Fatalf("%v, %v", got, err)
		}
	}
	if id, err := OpenServerID(dir); err != nil || id != want.ID {
		t.Errorf("%v, %v, want %v", id, err, want.ID)
	}
	if _, err := OpenIdentity(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory has an identity: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := PassedIdentity(path, dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("one that everybody can read: %v", err)
	}
	_ = os.Chmod(path, 0o600)

	if err := os.WriteFile(filepath.Join(dir, serverIDName), []byte("damaged\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenServerID(dir); err == nil || !strings.Contains(err.Error(), "server-id:1: ") {
		t.Errorf("a damaged note: %v", err)
	}
	if _, err := PassedIdentity(path, dir); err != nil {
		t.Errorf("over a damaged note: %v", err)
	}
	if id, err := OpenServerID(dir); err != nil || id != want.ID {
		t.Errorf("%v, %v, want %v", id, err, want.ID)
	}

	own, err := CreateIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := OpenServerID(dir); err != nil || id != own.ID {
		t.Errorf("%v, %v, want %v", id, err, own.ID)
	}
	if _, err := PassedIdentity(path, dir); err == nil || !strings.Contains(err.Error(), "remove one of the two") {
		t.Errorf("two identities: %v", err)
	}
}
