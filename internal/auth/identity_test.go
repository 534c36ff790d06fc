package auth

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "state")
	if _, err := OpenIdentity(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	made, err := CreateIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "identity"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, want %v; %v", name, info.Mode(), want, err)
		}
	}
	onlyFiles(t, dir, "identity")
	before := read(t, filepath.Join(dir, "identity"))
	if !strings.Contains(before, "\nid "+made.ID.String()+"\nkey ") || before[0] != '#' {
		t.Errorf("file %q", before)
	}
	opened, err := OpenIdentity(dir)
	if err != nil || opened.ID != made.ID || !opened.Key.Equal(made.Key) {
		t.Errorf("opened %v, made %v; %v", opened, made, err)
	}
	again, err := CreateIdentity(dir)
	if err != nil || again.ID != made.ID || !again.Key.Equal(made.Key) || read(t, filepath.Join(dir, "identity")) != before {
		t.Errorf("made again as %v; %v", again, err)
	}
	empty := stateDir(t)
	if _, err := OpenIdentity(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no identity: %v", err)
	}
}

// TestCreateIdentityAtOnce is a first start of several daemons: all end with one identity.
func TestCreateIdentityAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var wg sync.WaitGroup
	ids := make([]Identity, 16)
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = CreateIdentity(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id.ID != ids[0].ID || !id.Key.Equal(ids[0].Key) {
			t.Errorf("%v and %v", id, ids[0])
		}
	}
	onlyFiles(t, dir, "identity")
}

func TestBadIdentity(t *testing.T) {
	made, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	good := made.text()
	_, key, _ := strings.Cut(good, "\nkey ")
	key = strings.TrimSpace(key)
	mark := strings.Repeat("0f", markLen)
	id := "id " + made.ID.String() + "\n"
	tests := map[string]struct{ text, want string }{
		"good":        {"key " + key + "\r\n\n#\n" + id, ""},
		"empty":       {"", "is missing"},
		"no key":      {id, "is missing"},
		"no id":       {"key " + key, "is missing"},
		"two ids":     {id + id + "key " + key, ":2: "},
		"two keys":    {id + "key " + key + "\nkey " + key, ":3: "},
		"unknown":     {good + "name x\n", "neither id, key nor machine"},
		"machine":     {good + "machine " + mark + "\n", ""},
		"two marks":   {good + "machine " + mark + "\nmachine " + mark, ":6: neither"},
		"short mark":  {good + "machine " + mark[2:], ":5: the mark of the machine is damaged (fix: remove the line)"},
		"zero id":     {"id " + strings.Repeat("0", 32) + "\nkey " + key, ":1: a server ID is"},
		"short key":   {id + "key " + key[:20], ":2: the key is damaged"},
		"not base64":  {id + "key " + key[:20] + "!" + key[21:], ":2: the key is damaged"},
		"zero key":    {id + "key AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", ":2: the key is damaged"},
		"cut by half": {good[:len(good)-30], "the key is damaged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := stateDir(t)
			path := filepath.Join(dir, "identity")
			write(t, path, tt.text)
			for _, open := range []func(string) (Identity, error){OpenIdentity, CreateIdentity} {
				got, err := open(dir)
				if tt.want != "" {
					mustFail(t, err, key, path, tt.want, "fix: ")
				} else if err != nil || !got.Key.Equal(made.Key) || got.ID != made.ID {
					t.Errorf("%v, %v", got, err)
				}
			}
			if read(t, path) != tt.text {
				t.Error("the file was changed")
			}
		})
	}
}

// TestMachine: an identity knows the machine that it was made on, and no more of it than that.
func TestMachine(t *testing.T) {
	dir := stateDir(t)
	made, err := CreateIdentity(dir)
	if err != nil || made.Moved() {
		t.Fatalf("%v, moved %v, %v", made, made.Moved(), err)
	}
	path := filepath.Join(dir, "machine-id")
	const here, there = "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdee"
	write(t, path, here+"\n")
	id := Identity{ID: made.ID, Key: made.Key, machine: machineMark(path, made.ID)}
	if strings.Contains(id.text(), here[:8]) || len(id.machine) != 2*markLen || !strings.Contains(id.text(), "\nmachine "+id.machine+"\n") {
		t.Errorf("mark %q in %q", id.machine, id.text())
	}
	if machineMark(path, ServerID{1}) == id.machine {
		t.Error("two servers of a machine have one mark")
	}
	write(t, filepath.Join(dir, "identity"), id.text())
	if again, err := OpenIdentity(dir); err != nil || again.machine != id.machine {
		t.Errorf("%q, %v", again.machine, err)
	}
	for text, moved := range map[string]bool{here: false, here + "\n": false, there + "\n": true, "": false,
		"uninitialized\n": false, here[:30]: false} {
		write(t, path, text)
		if id.moved(path) != moved {
			t.Errorf("%q: moved %v", text, !moved)
		}
		if made.machine = ""; made.moved(path) {
			t.Error("an identity of an unknown machine has moved")
		}
	}
	if id.moved(path + "x") {
		t.Error("moved to a machine without a machine-id")
	}
}

func TestResetIdentity(t *testing.T) {
	dir := stateDir(t)
	made, err := CreateIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	reset, err := ResetIdentity(dir)
	if err != nil || reset.ID == made.ID || reset.Key.Equal(made.Key) {
		t.Fatalf("%v is %v, %v", made, reset, err)
	}
	if opened, err := OpenIdentity(dir); err != nil || opened.ID != reset.ID || !opened.Key.Equal(reset.Key) || opened.machine != reset.machine {
		t.Errorf("%v, want %v; %v", opened, reset, err)
	}
	onlyFiles(t, dir, "identity")
	if _, err := ResetIdentity(dir + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
