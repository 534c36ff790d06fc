//go:build linux

package exec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const passwdText = `root:x:0:0:root:/root:/bin/bash
alice:x:1000:1000:Alice:/home/alice:/bin/bash
bare:x:1001:1001:::
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
false:x:1002:1002::/:/bin/false
locked:x:1003:1003::/:/bin/sh
locked2:x:1004:1004::/:/bin/sh
lockedmd5:!$1$abcdefgh$xyz:1005:1005::/:/bin/sh
never:x:1006:1006::/:/bin/sh
never2:x:1007:1007::/:/bin/sh
never3:x:1008:1008::/:/bin/sh
never4:*:1009:1009::/:/bin/sh
empty:x:1010:1010::/:/bin/sh
empty2::1011:1011::/:/bin/sh
expired:x:1012:1012::/:/bin/sh
later:x:1013:1013::/:/bin/sh
minus:x:4294967295:1014::/:/bin/sh
minusgid:x:1015:4294967295::/:/bin/sh
wrap:x:4294967296:0::/:/bin/sh
negative:x:-1:0::/:/bin/sh
short:x:1016:1016
host$:x:1017:1017::/:/bin/sh
alice:x:0:0:second entry:/root:/bin/sh
noshadow:x:1018:1018::/:/bin/sh
`

const shadowText = `root:$6$salt$hash:19000:0:99999:7:::
alice:$6$salt$hash:19000:0:99999:7:::
bare:$6$salt$hash:19000:0:99999:7:::
daemon:*:19000:0:99999:7:::
false:*:19000:0:99999:7:::
locked:!$6$salt$hash:19000:0:99999:7:::
locked2:!!$6$salt$hash:19000:0:99999:7:::
never:!:19000:0:99999:7:::
never2:!!:19000:0:99999:7:::
never3:!*:19000:0:99999:7:::
empty::19000:0:99999:7:::
expired:$6$salt$hash:19000:0:99999:7::10000:
later:$6$salt$hash:19000:0:99999:7::99999:
host$:*:19000:0:99999:7:::
`

const groupText = `root:x:0:
alice:x:1000:
staff:x:50:bare,alice
sudo:x:27:alice
other:x:51:alicex,xalice
again:x:1000:alice
dup:x:27:alice
bad:x:zz:alice
minus:x:4294967295:alice
`

// testDatabase is a database of the texts above, with a getent of its own.
func testDatabase(t *testing.T, nsswitch, getent string) *database {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	d := &database{
		passwdFile:   file("passwd", passwdText, 0o644),
		groupFile:    file("group", groupText, 0o644),
		shadowFile:   file("shadow", shadowText, 0o600),
		nsswitchFile: file("nsswitch.conf", nsswitch, 0o644),
		getent:       []string{filepath.Join(dir, "absent")},
		timeout:      10 * time.Second,
	}
	if getent != "" {
		d.getent = append(d.getent, file("getent", "#!/bin/sh\n"+getent, 0o755))
	}
	return d
}

func TestLookup(t *testing.T) {
	d := testDatabase(t, "passwd: files systemd\ngroup: files systemd\n", "exit 2")
	tests := []struct {
		name string
		want Account
	}{
		{"root", Account{Name: "root", Groups: []uint32{0}, Home: "/root", Shell: "/bin/bash"}},
		{"alice", Account{"alice", 1000, 1000, []uint32{1000, 50, 27}, "/home/alice", "/bin/bash"}},
		{"bare", Account{"bare", 1001, 1001, []uint32{1001, 50}, "/", "/bin/sh"}},
		{"never", Account{"never", 1006, 1006, []uint32{1006}, "/", "/bin/sh"}},
		{"never2", Account{"never2", 1007, 1007, []uint32{1007}, "/", "/bin/sh"}},
		{"never3", Account{"never3", 1008, 1008, []uint32{1008}, "/", "/bin/sh"}},
		{"never4", Account{"never4", 1009, 1009, []uint32{1009}, "/", "/bin/sh"}},
		{"later", Account{"later", 1013, 1013, []uint32{1013}, "/", "/bin/sh"}},
		{"host$", Account{"host$", 1017, 1017, []uint32{1017}, "/", "/bin/sh"}},
		{"noshadow", Account{"noshadow", 1018, 1018, []uint32{1018}, "/", "/bin/sh"}},
	}
	for _, tt := range tests {
		got, err := d.lookup(t.Context(), tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		groups := got.Groups
		got.Groups = nil
		wantGroups := tt.want.Groups
		tt.want.Groups = nil
		if !slices.Equal(groups, wantGroups) || got.Name != tt.want.Name || got.UID != tt.want.UID ||
			got.GID != tt.want.GID || got.Home != tt.want.Home || got.Shell != tt.want.Shell {
			t.Errorf("%s: got %+v %v, want %+v %v", tt.name, got, groups, tt.want, wantGroups)
		}
	}
}

// Who is refused, and never becomes anybody else.
func TestLookupRefused(t *testing.T) {
	const invalid = "not a valid account name"
	tests := []struct{ name, reason string }{
		{"", invalid}, {"-1", invalid}, {"#0", invalid}, {"+0", invalid}, {"00", invalid}, {"0", invalid},
		{" root", invalid}, {"root ", invalid}, {"root\n", invalid}, {"root\x00", invalid}, {"-h", invalid},
		{"4294967295", invalid}, {"a:b", invalid}, {"ro/ot", invalid}, {"rö", invalid}, {"$", invalid},
		{"$x", invalid}, {"a$b", invalid}, {".a", invalid}, {strings.Repeat("a", 65), invalid},
		{"missing", "no such account"}, {"Root", "no such account"}, {strings.Repeat("a", 64), "no such account"},
		{"wrap", "no such account"}, {"negative", "no such account"}, {"short", "no such account"},
		{"minus", "its user or group ID is -1"}, {"minusgid", "its user or group ID is -1"},
		{"daemon", "its login shell does not allow logins"}, {"false", "its login shell does not allow logins"},
		{"locked", "the account is locked"}, {"locked2", "the account is locked"}, {"lockedmd5", "the account is locked"},
		{"empty", "its password is empty"}, {"empty2", "its password is empty"},
		{"expired", "the account has expired"},
	}
	d := testDatabase(t, "", "exit 2")
	for _, tt := range tests {
		a, err := d.lookup(t.Context(), tt.name)
		var refused *AccountError
		if !errors.As(err, &refused) || refused.Reason != tt.reason || refused.Name != tt.name {
			t.Errorf("%q: got %+v, %v; want %s", tt.name, a, err, tt.reason)
		}
	}
}

// A shadow file that is not for us (no root) leaves only what passwd says.
func TestLookupWithoutShadow(t *testing.T) {
	d := testDatabase(t, "", "exit 2")
	if err := os.Remove(d.shadowFile); err != nil {
		t.Fatal(err)
	}
	if _, err := d.lookup(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if _, err := d.lookup(t.Context(), "empty2"); err == nil {
		t.Error("the empty password in passwd is not seen")
	}
}

// What is not in the files, or may be elsewhere as well, is asked of getent.
func TestGetent(t *testing.T) {
	const answers = `
case "$1 $2 $3" in
"passwd -- remote") echo 'remote:*:2000:2001:Remote:/home/remote:/bin/zsh' ;;
"passwd -- alias") echo 'someone:*:0:0::/:/bin/sh' ;;
"passwd -- evil") echo 'evil:*:-1:0::/:/bin/sh' ;;
"passwd -- junk") echo 'what?' ;;
"passwd -- long") yes x | head -c 3000000 ;;
"passwd -- breaks") exit 1 ;;
"passwd -- alice") echo 'alice:*:3000:3001::/net/alice:/bin/sh' ;;
"passwd -- 2000") echo 'remote:*:2000:2001:Remote:/home/remote:/bin/zsh' ;;
"initgroups -- remote") echo 'remote  2001 2002 50 2002' ;;
"initgroups -- alice") echo 'alice 1000 7000' ;;
*) exit 2 ;;
esac`
	const network = "passwd: files sss # [NOTFOUND=return]\ngroup: files [SUCCESS=merge] sss\n"
	tests := []struct {
		label, nsswitch, name string
		uid                   uint32
		groups                []uint32
		reason                string
	}{
		{"local only", "", "alice", 1000, []uint32{1000, 50, 27}, ""},
		{"not in the file", "passwd: files systemd\n", "remote", 2000, []uint32{2001}, ""},
		{"network", network, "remote", 2000, []uint32{2001, 2002, 50}, ""},
		{"file first, groups from the network", network, "alice", 1000, []uint32{1000, 7000}, ""},
		{"network first", "passwd: sss files\n", "alice", 3000, []uint32{3001, 50, 27, 1000}, ""},
		{"initgroups", "initgroups: ldap\n", "alice", 1000, []uint32{1000, 7000}, ""},
		{"another name", "", "alias", 0, nil, "no such account"},
		{"negative", "", "evil", 0, nil, "no such account"},
		{"junk", "", "junk", 0, nil, "no such account"},
		{"too long", "", "long", 0, nil, "looking it up: the name service answered with an error"},
		{"error", "", "breaks", 0, nil, "looking it up: the name service answered with an error"},
		{"unknown", "", "absent", 0, nil, "no such account"},
		{"no groups", network, "never", 0, nil, "looking up its groups: the name service has no answer"},
	}
	for _, tt := range tests {
		d := testDatabase(t, tt.nsswitch, answers)
		a, err := d.lookup(t.Context(), tt.name)
		if tt.reason != "" {
			var refused *AccountError
			if !errors.As(err, &refused) || refused.Reason != tt.reason {
				t.Errorf("%s: got %+v, %v", tt.label, a, err)
			}
			continue
		}
		if err != nil || a.UID != tt.uid || !slices.Equal(a.Groups, tt.groups) {
			t.Errorf("%s: got %+v, %v", tt.label, a, err)
		}
	}
}

func TestGetentAbsent(t *testing.T) {
	if _, err := testDatabase(t, "", "").lookup(t.Context(), "missing"); err == nil || !strings.HasSuffix(err.Error(), "no such account") {
		t.Errorf("got %v", err)
	}
	for _, nsswitch := range []string{"passwd: files ldap\n", "passwd: ldap files\n"} {
		if _, err := testDatabase(t, nsswitch, "").lookup(t.Context(), "missing"); !errors.Is(err, errNoGetent) {
			t.Errorf("%s: got %v", nsswitch, err)
		}
	}
	if _, err := testDatabase(t, "group: ldap\n", "").lookup(t.Context(), "alice"); !errors.Is(err, errNoGetent) {
		t.Errorf("got %v", err)
	}
}

// TestShadowCannotBeRead: what keeps the file of locks from being read makes no account usable.
func TestShadowCannotBeRead(t *testing.T) {
	d := testDatabase(t, "", "")
	if _, err := d.lookup(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	d.shadowFile = t.TempDir() // reading a directory is an error to root, too
	_, err := d.lookup(t.Context(), "alice")
	if err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("got %v", err)
	}
}

// A name service that hangs is given up, with all of its processes.
func TestGetentHangs(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	d := testDatabase(t, "", "sleep 60 & echo $! >"+pidFile+"; wait")
	var pid []byte
	// On a busy machine the shell needs more time to get as far as the file.
	for d.timeout = 300 * time.Millisecond; len(pid) == 0; d.timeout *= 2 {
		if d.timeout > 30*time.Second {
			t.Fatal("the name service was never begun")
		}
		began := time.Now()
		_, err := d.lookup(t.Context(), "missing")
		if err == nil || !strings.HasSuffix(err.Error(), "the name service did not answer in time") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > d.timeout+20*time.Second {
			t.Errorf("took %v", took)
		}
		pid, _ = os.ReadFile(pidFile)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the getent tree is gone", func() bool { return !alive(child) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.lookup(ctx, "missing"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// The system's own getent understands how it is called.
func TestSystemGetent(t *testing.T) {
	d := systemDatabase()
	if d.findGetent() == "" {
		t.Skip("getent is not installed")
	}
	out, found, err := d.ask(t.Context(), "passwd", "root")
	if err != nil || !found || !strings.HasPrefix(out, "root:") {
		t.Errorf("got %q, %v, %v", out, found, err)
	}
	if out, found, err := d.ask(t.Context(), "passwd", "no_such_account"); err != nil || found {
		t.Errorf("got %q, %v, %v", out, found, err)
	}
	if out, found, err := d.ask(t.Context(), "initgroups", "root"); err != nil || !found || !strings.HasPrefix(out, "root ") {
		t.Errorf("got %q, %v, %v", out, found, err)
	}
}

func TestSources(t *testing.T) {
	d := testDatabase(t, "# passwd: ldap\n passwd :  files [!UNAVAIL=return foo] sss\t# nis\npasswd: second\ngroup:\n", "")
	for database, want := range map[string]string{"passwd": "files sss", "group": "", "initgroups": "files"} {
		if got := strings.Join(d.sources(database), " "); got != want {
			t.Errorf("%s: got %q, want %q", database, got, want)
		}
	}
}

func TestCompatGroups(t *testing.T) {
	d := testDatabase(t, "group: compat\n", `[ "$1" = initgroups ] && echo "$3 1 2"`)
	if err := os.WriteFile(d.groupFile, []byte("sudo:x:27:alice\n+::0:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if a, err := d.lookup(t.Context(), "alice"); err != nil || !slices.Equal(a.Groups, []uint32{1000, 1, 2}) {
		t.Errorf("got %v, %v", a.Groups, err)
	}
}

func TestSelfWithoutEntry(t *testing.T) {
	d := testDatabase(t, "", "exit 2")
	if err := os.WriteFile(d.passwdFile, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a, err := d.self(t.Context())
	if err != nil || a.UID != uint32(os.Geteuid()) || a.Home != "/" || a.Shell != "/bin/sh" || a.Name == "" {
		t.Errorf("got %+v, %v", a, err)
	}
}
