package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func enroll(t *testing.T, c *ClientStore, token Token, name string) string {
	t.Helper()
	path, err := c.Enroll(token, name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func names(found []Enrolled) string {
	var s []string
	for _, e := range found {
		s = append(s, e.Token.Address+"/"+e.Name)
	}
	return strings.Join(s, " ")
}

func TestClientStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "config", "rexec")
	c := OpenClientStore(dir)
	for _, find := range []func() ([]Enrolled, error){c.All, func() ([]Enrolled, error) { return c.ByAddress("h:1") },
		func() ([]Enrolled, error) { return c.ByName("alice") }} {
		if found, err := find(); err != nil || len(found) != 0 {
			t.Errorf("empty store: %v, %v", found, err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a look makes directories")
	}
	one, two, six := newTestToken(t), newTestToken(t), newTestToken(t)
	two.Key.KeyID = "bob"
	six.Address = "[fe80::1%eth0]:8000"
	path := enroll(t, c, one, "")
	if want := filepath.Join(dir, "keys", "host.example_8000", "alice@laptop"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	enroll(t, c, two, "work")
	enroll(t, c, six, "")
	if read(t, path) != one.Encode()+"\n" {
		t.Errorf("file %q", read(t, path))
	}
	for name, want := range map[string]fs.FileMode{dir: 0o700, filepath.Dir(path): 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v", name, info.Mode(), want)
		}
	}
	expect := func(what, want string, found []Enrolled, err error) {
		t.Helper()
		if err != nil || names(found) != want {
			t.Errorf("%s: %s, want %s; %v", what, names(found), want, err)
		}
	}
	found, err := c.ByAddress("HOST.example:8000")
	expect("address", "host.example:8000/alice@laptop host.example:8000/work", found, err)
	if len(found) > 0 && (!sameToken(found[0].Token, one) || found[0].Path != path) {
		t.Errorf("%v", found[0])
	}
	found, err = c.ByName("alice@laptop")
	expect("name", "[fe80::1%eth0]:8000/alice@laptop host.example:8000/alice@laptop", found, err)
	found, err = c.All()
	expect("all", "[fe80::1%eth0]:8000/alice@laptop host.example:8000/alice@laptop host.example:8000/work", found, err)
	found, err = c.ByAddress("other:8000")
	expect("other address", "", found, err)
	found, err = c.ByName("other")
	expect("other name", "", found, err)
	for _, bad := range []string{"", "..", "../x", "A", ".hidden"} {
		if _, err := c.ByName(bad); err == nil {
			t.Errorf("name %q is accepted", bad)
		}
	}
	if _, err := c.ByAddress("host.example"); err == nil {
		t.Error("an address without a port is accepted")
	}
}

// TestEnrollAgain is the rotation of a key, and names that are taken.
func TestEnrollAgain(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	token := newTestToken(t)
	first := enroll(t, c, token, "work")
	token.Key.Secret = newTestSecret(t)
	if again := enroll(t, c, token, ""); again != first {
		t.Errorf("rotated key at %s, want %s", again, first)
	}
	found, err := c.All()
	if err != nil || len(found) != 1 || !sameToken(found[0].Token, token) {
		t.Errorf("%v, %v", found, err)
	}
	token.Key.Secret = newTestSecret(t)
	moved := enroll(t, c, token, "home")
	if found, err = c.All(); err != nil || len(found) != 1 || found[0].Path != moved || !sameToken(found[0].Token, token) {
		t.Errorf("%v, %v", found, err)
	}
	other := newTestToken(t)
	other.Key.Server = ServerID{9}
	_, err = c.Enroll(other, "home")
	mustFail(t, err, other.Key.Secret.base64(), moved, "another key of that name", "fix: ")
	enroll(t, c, other, "")
	write(t, filepath.Join(filepath.Dir(moved), "broken"), "x")
	_, err = c.Enroll(other, "broken")
	mustFail(t, err, "", "another key of that name", "fix: ")
	for _, bad := range []string{"..", "a/b", "A", ".x"} {
		if _, err := c.Enroll(token, bad); err == nil {
			t.Errorf("name %q is accepted", bad)
		}
	}
	if _, err := c.Enroll(Token{Address: "Host"}, ""); err == nil {
		t.Error("an invalid token is accepted")
	}
	onlyFiles(t, filepath.Dir(moved), "alice@laptop", "broken", "home")
}

// TestReplace is a server that has become another one: its key takes the place of the earlier one.
func TestReplace(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	token := newTestToken(t)
	path := enroll(t, c, token, "work")
	token.Key.Server, token.Key.Secret = ServerID{9}, newTestSecret(t)
	if again, err := c.Replace(token, ""); err != nil || again != path {
		t.Errorf("at %s, want %s; %v", again, path, err)
	}
	// A name that another key has.
	token.Key.KeyID = "bob"
	if again, err := c.Replace(token, "work"); err != nil || again != path {
		t.Errorf("at %s, want %s; %v", again, path, err)
	}
	found, err := c.All()
	if err != nil || len(found) != 1 || !sameToken(found[0].Token, token) {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := c.Replace(token, "A"); err == nil {
		t.Error("a bad name is accepted")
	}
}

// TestBadEnrolled names every file that cannot be used and still finds the good one.
func TestBadEnrolled(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	token := newTestToken(t)
	path := enroll(t, c, token, "good")
	sibling := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	elsewhere := token
	elsewhere.Address = "other:8000"
	write(t, sibling("elsewhere"), elsewhere.Encode())
	write(t, sibling("damaged"), token.Encode()[:60])
	write(t, sibling("open"), token.Encode())
	chmod(t, sibling("open"), 0o644)
	write(t, sibling(".good.123.tmp"), "half a tok")
	found, err := c.ByAddress(token.Address)
	if names(found) != "host.example:8000/good" {
		t.Errorf("found %s", names(found))
	}
	mustFail(t, err, token.Key.Secret.base64(), sibling("elsewhere")+": holds a key for other:8000 (fix: ",
		sibling("damaged")+": the token is damaged", sibling("open"), "fix: chmod 600 "+sibling("open"))
	if strings.Contains(err.Error(), ".tmp") {
		t.Errorf("%v; a temporary file is no key", err)
	}
	found, err = c.ByName("good")
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	_, err = c.ByName("damaged")
	mustFail(t, err, "", sibling("damaged"))
}

func TestForget(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	token, other := newTestToken(t), newTestToken(t)
	other.Address = "other:1"
	enroll(t, c, token, "")
	enroll(t, c, other, "")
	if err := c.SetPin(token.Key.Server, [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	all, err := c.All()
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for i, e := range all {
		if err := c.Forget(e); err != nil {
			t.Error(err)
		}
		if _, ok := c.Pin(token.Key.Server); ok != (i == 0) {
			t.Errorf("after %d keys are forgotten: pin %v", i+1, ok)
		}
	}
	onlyFiles(t, c.keysDir())
	if err := c.Forget(all[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("forgotten twice: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "file")
	write(t, outside, "x")
	if err := c.Forget(Enrolled{Path: outside}); err == nil || read(t, outside) != "x" {
		t.Errorf("a file outside the store: %v", err)
	}
}

func TestPin(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	id, other := ServerID{1}, ServerID{2}
	want := [32]byte(count(3, 32))
	if _, ok := c.Pin(id); ok {
		t.Error("a pin in an empty store")
	}
	if err := c.SetPin(id, want); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Pin(id); !ok || got != want {
		t.Errorf("%x, %v", got, ok)
	}
	if _, ok := c.Pin(other); ok {
		t.Error("the pin of another server")
	}
	path := c.pinPath(id)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetPin(id, want); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("written without a change: %v", err)
	}
	if err := c.SetPin(id, [32]byte{7}); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Pin(id); !ok || got != [32]byte{7} {
		t.Errorf("after a change: %x, %v", got, ok)
	}
	good := read(t, path)
	for name, spoil := range map[string]func(){
		"empty":   func() { write(t, path, "") },
		"cut":     func() { write(t, path, good[:30]) },
		"long":    func() { write(t, path, good+"00") },
		"no hex":  func() { write(t, path, "x"+good[1:]) },
		"mode":    func() { write(t, path, good); chmod(t, path, 0o620) },
		"dir":     func() { chmod(t, path, 0o600); chmod(t, filepath.Dir(path), 0o777) },
		"symlink": func() { _ = os.Rename(path, path+"2"); _ = os.Symlink(path+"2", path) },
	} {
		spoil()
		if _, ok := c.Pin(id); ok {
			t.Errorf("%s: accepted", name)
		}
		chmod(t, filepath.Dir(path), 0o700)
		if err := c.SetPin(id, [32]byte{7}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, ok := c.Pin(id); !ok || got != [32]byte{7} {
			t.Errorf("%s: not mended: %x, %v", name, got, ok)
		}
		_ = os.Remove(path + "2")
	}
	onlyFiles(t, filepath.Dir(path), id.String())
}

// TestEnrollAtOnce lets programs enroll side by side.
func TestEnrollAtOnce(t *testing.T) {
	c := OpenClientStore(filepath.Join(t.TempDir(), "rexec"))
	var wg sync.WaitGroup
	for i := range 10 {
		token := newTestToken(t)
		token.Key.KeyID = fmt.Sprint("key", i)
		wg.Go(func() {
			if _, err := c.Enroll(token, ""); err != nil {
				t.Error(err)
			}
			if err := c.SetPin(token.Key.Server, [32]byte{byte(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if found, err := c.All(); err != nil || len(found) != 10 {
		t.Errorf("%d keys, %v", len(found), err)
	}
	if _, ok := c.Pin(ServerID(count(0x40, 16))); !ok {
		t.Error("no pin")
	}
}

// TestAddresses: they are those under which keys are enrolled, whatever else is there.
func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	c := OpenClientStore(dir)
	if got, err := c.Addresses(); len(got) != 0 || err != nil {
		t.Errorf("nothing: %q, %v", got, err)
	}
	for _, name := range []string{"db_1_8000", "[__1]_9", "[fe80__1%eth0]_8000", "db1", "_8000", "x_0", "$(x)_8000", ".hidden_8000"} {
		if err := os.MkdirAll(filepath.Join(dir, "keys", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Addresses()
	if want := []string{"[::1]:9", "[fe80::1%eth0]:8000", "db_1:8000"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
