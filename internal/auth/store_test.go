package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func stateDir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// onlyFiles wants exactly these names in a directory, so no temporary file.
func onlyFiles(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("%s holds %q, want %q", dir, got, names)
	}
}

// mustFail wants an error with all of the parts and without the secret.
func mustFail(t *testing.T, err error, secret string, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v; want %q in it", err, part)
		}
	}
	if secret != "" && strings.Contains(err.Error(), secret[:10]) {
		t.Errorf("%v; holds the secret", err)
	}
}

func fullKey(t testing.TB) Key {
	return Key{ID: "alice", Secret: newTestSecret(t), RunAs: "deploy",
		Argv:    [][]string{{"systemctl", "restart", "nginx"}, {"git-upload-pack", "*"}, {"echo", "", "<&>\u2028é"}},
		Charset: "gb18030", NoPty: true,
		From:      []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 5, time.UTC),
		Created: time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC), Address: "db1:8000", Disabled: true,
		Limits:  []Limit{{"core", 0, 0}, {"cpu", 5, Unlimited}, {"nofile", 1024, 4096}, {"stack", Unlimited, Unlimited}},
		Rotated: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
		Old:     &OldSecret{newTestSecret(t), time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)}}
}

func TestStoreRoundTrip(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	full := fullKey(t)
	forced := Key{ID: "bob", Secret: newTestSecret(t), Command: "git-shell -c \"$x\""}
	for _, k := range []Key{forced, full} {
		if err := AddKey(path, k); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	forced.Line, full.Line = 3, 4
	if got, want := s.Keys(), []Key{full, forced}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	onlyFiles(t, filepath.Dir(path), "keys", "keys.lock")
}

func TestStoreMissing(t *testing.T) {
	s, err := OpenStore(filepath.Join(stateDir(t), "keys"))
	if err != nil || len(s.Keys()) != 0 {
		t.Errorf("%v, %v", s, err)
	}
	if changed, err := s.Refresh(); changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
}

// TestBadKeyLines holds what is wrong with a line, where, and how to mend it. <1> and <2> stand for secrets.
func TestBadKeyLines(t *testing.T) {
	tests := []struct{ line, want, fix string }{
		{``, "", ""},
		{`  `, "", ""},
		{`# {`, "", ""},
		{`{"id":"b","secret":"<2>"}` + "\r", "", ""},
		{` {"secret":"<2>" , "id":"b","disabled":false}`, "", ""},
		{`{"id":"b","secret":"<2>","from":["10.0.0.1","::1"]}`, "", ""},
		{`{`, "not JSON at byte", "a key looks like"},
		{`x`, "not JSON at byte", "a key looks like"},
		{`[]`, "{ is missing", "a key looks like"},
		{`null`, "{ is missing", "a key looks like"},
		{`{"id":"b","secret":"<2>",}`, "not JSON", "a key looks like"},
		{`{"id" "b","secret":"<2>"}`, "not JSON", "a key looks like"},
		{`{"id":"b","secret":"<2>"} x`, "something stands after the key", "line of its own"},
		{`{"id":"b","secret":"<2>"}{}`, "something stands after the key", "line of its own"},
		{`{}`, "no id", "give it an ID"},
		{`{"secret":"<2>"}`, "no id", "give it an ID"},
		{`{"id":"b"}`, "key b has no secret", "rexecd key add"},
		{`{"id":"b","secret":"<2>","runas":"x"}`, `unknown name "runas"`, "known are"},
		{`{"ID":"b","secret":"<2>"}`, `unknown name "ID"`, "known are"},
		{`{"id":"b","Secret":"<2>"}`, `unknown name "Secret"`, "known are"},
		{`{"id":"b","<2>":"secret"}`, `unknown name "..."`, "known are"},
		{`{"id":"b","id":"b","secret":"<2>"}`, `"id" stands twice`, "remove one"},
		{`{"id":"b","secret":"<2>","secret":"<2>"}`, `"secret" stands twice`, "remove one"},
		{`{"id":"Bob","secret":"<2>"}`, "a key ID is", "another ID"},
		{`{"id":"","secret":"<2>"}`, "a key ID is", "another ID"},
		{`{"id":"../b","secret":"<2>"}`, "a key ID is", "another ID"},
		{`{"id":7,"secret":"<2>"}`, "id is not a string", "text"},
		{`{"id":"b","secret":null}`, "secret is not a string", "text"},
		{`{"id":"b","secret":"<2>="}`, "base64url", "rexecd key add"},
		{`{"id":"b","secret":"\n<2>"}`, "base64url", "rexecd key add"},
		{`{"id":"b","secret":"YQ"}`, "32 bytes, not 1", "rexecd key add"},
		{`{"id":"b","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, "all zero", "rexecd key add"},
		{`{"id":"b","secret":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZSAxMjM"}`, "it is text", "rexecd key add"},
		{`{"id":"b","secret":"<2>","run_as":"-1"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":"#0"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":"+0"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":"00"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":" root"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":"root\n"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":"-h"}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","run_as":""}`, "run_as", "name an account"},
		{`{"id":"b","secret":"<2>","command":""}`, "command is empty", "remove it"},
		{`{"id":"b","secret":"<2>","command":"a\u0000"}`, "NUL in command", "remove it"},
		{`{"id":"b","secret":"<2>","command":"\ud800"}`, "broken character in command", ""},
		{`{"id":"b","secret":"<2>","command":"id","argv":[["id"]]}`, "command, which is always run", "remove one"},
		{`{"id":"b","secret":"<2>","argv":[]}`, "argv is empty", "disabled"},
		{`{"id":"b","secret":"<2>","argv":[[]]}`, "a command in argv is empty", "remove it"},
		{`{"id":"b","secret":"<2>","argv":["id"]}`, "[ is missing", "a key looks like"},
		{`{"id":"b","secret":"<2>","argv":[[""]]}`, "no program", "name the program"},
		{`{"id":"b","secret":"<2>","argv":[["*"]]}`, `"*" in argv`, "put it last"},
		{`{"id":"b","secret":"<2>","argv":[["a","*","b"]]}`, `"*" in argv`, "put it last"},
		{`{"id":"b","secret":"<2>","argv":[["a",["b"]]]}`, "argv is not a string", ""},
		{`{"id":"b","secret":"<2>","argv":[["a"]}`, "not JSON", ""},
		{`{"id":"b","secret":"<2>","charset":"utf-8"}`, "", ""},
		{`{"id":"b","secret":"<2>","charset":""}`, "charset is none of the known names", "auto, raw, utf-8, gbk or gb18030"},
		{`{"id":"b","secret":"<2>","charset":"GBK"}`, "charset is none of the known names", "auto, raw, utf-8, gbk or gb18030"},
		{`{"id":"b","secret":"<2>","charset":"cp936"}`, "charset is none of the known names", "auto, raw, utf-8, gbk or gb18030"},
		{`{"id":"b","secret":"<2>","charset":"<2>"}`, "charset is none of the known names", "auto, raw, utf-8, gbk or gb18030"},
		{`{"id":"b","secret":"<2>","charset":936}`, "charset is not a string", "text"},
		{`{"id":"b","secret":"<2>","charset":"gbk","charset":"raw"}`, `"charset" stands twice`, "remove one"},
		{`{"id":"b","secret":"<2>","from":[]}`, "from is empty", "remove it"},
		{`{"id":"b","secret":"<2>","from":["10.0.0.0/33"]}`, "not a network", "10.0.0.0/8"},
		{`{"id":"b","secret":"<2>","from":["localhost"]}`, "not a network", "10.0.0.0/8"},
		{`{"id":"b","secret":"<2>","from":["fe80::1%eth0"]}`, "not a network", "10.0.0.0/8"},
		{`{"id":"b","secret":"<2>","from":["10.1.2.3/8"]}`, "10.1.2.3/8 in from", "write 10.0.0.0/8"},
		{`{"id":"b","secret":"<2>","from":["::ffff:10.0.0.0/104"]}`, "IPv6 form", "10.0.0.0/8"},
		{`{"id":"b","secret":"<2>","not_after":"tomorrow"}`, "not_after is not a time", "2027-01-31T00:00:00Z"},
		{`{"id":"b","secret":"<2>","not_after":"0001-01-01T00:00:00Z"}`, "not_after is not a time", ""},
		{`{"id":"b","secret":"<2>","not_after":1}`, "not_after is not a string", ""},
		{`{"id":"b","secret":"<2>","not_before":"2027-01-01T00:00:00Z","not_after":"2027-01-01T00:00:00Z"}`, "never valid", "dates"},
		{`{"id":"b","secret":"<2>","old_secret":"<3>","old_until":"2027-01-01T00:00:00Z","rotated":"2026-01-01T00:00:00Z"}`, "", ""},
		{`{"id":"b","secret":"<2>","old_secret":"<3>"}`, "one of old_secret and old_until only", "remove the one"},
		{`{"id":"b","secret":"<2>","old_until":"2027-01-01T00:00:00Z"}`, "one of old_secret and old_until only", "remove the one"},
		{`{"id":"b","secret":"<2>","old_secret":"<2>","old_until":"2027-01-01T00:00:00Z"}`, "same secret as its old one", "remove old_secret"},
		{`{"id":"b","secret":"<2>","old_secret":"<1>","old_until":"2027-01-01T00:00:00Z"}`, "key b has the secret of key a in line 2", "rexecd key add"},
		{`{"id":"b","secret":"<2>","old_secret":"YQ","old_until":"2027-01-01T00:00:00Z"}`, "32 bytes, not 1", "rexecd key add"},
		{`{"id":"b","secret":"<2>","old_secret":"=","old_until":"2027-01-01T00:00:00Z"}`, "old_secret is not 43 characters", "rexecd key add"},
		{`{"id":"b","secret":"<2>","rotated":"once"}`, "rotated is not a time", "2027-01-31T00:00:00Z"},
		{`{"id":"b","secret":"<2>","address":"db1:8000"}`, "", ""},
		{`{"id":"b","secret":"<2>","address":"DB1:8000"}`, "address is not host:port in plain form", "db1:8000"},
		{`{"id":"b","secret":"<2>","address":""}`, "address is not host:port in plain form", "db1:8000"},
		{`{"id":"b","secret":"<2>","limits":{"nofile":1024,"core":"0","as":"1:unlimited","cpu":"unlimited"}}`, "", ""},
		{`{"id":"b","secret":"<2>","limits":{}}`, "limits is empty", "remove it"},
		{`{"id":"b","secret":"<2>","limits":["nofile"]}`, "{ is missing", ""},
		{`{"id":"b","secret":"<2>","limits":{"files":1}}`, "files in limits: no such limit (known: as, core,", `{"nofile":"1024:4096"}`},
		{`{"id":"b","secret":"<2>","limits":{"<2>":1}}`, "... in limits: no such limit", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":"<2>"}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":-1}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":1e3}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":true}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":null}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":[1]}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":"2:1"}}`, "nofile in limits: the soft limit is above the hard limit", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":1,"nofile":1}}`, "nofile in limits: stands twice", ""},
		{`{"id":"b","secret":"<2>","limits":{"nofile":18446744073709551615}}`, "nofile in limits: want a number", ""},
		{`{"id":"b","secret":"<2>","disabled":"no"}`, "neither true nor false", "true or false"},
		{`{"id":"a","secret":"<2>"}`, "key ID a is that of line 2", "remove one"},
		{`{"id":"b","secret":"<1>"}`, "key b has the secret of key a in line 2", "rexecd key add"},
		{"{\"id\":\"b\",\"secret\":\"<2>\",\"command\":\"\xff\"}", "not UTF-8", "restore"},
	}
	first, second, third := newTestSecret(t).base64(), newTestSecret(t).base64(), newTestSecret(t).base64()
	dir := stateDir(t)
	for i, tt := range tests {
		path := filepath.Join(dir, fmt.Sprint("keys", i))
		line := strings.NewReplacer("<1>", first, "<2>", second, "<3>", third).Replace(tt.line)
		write(t, path, "# comment\n"+fmt.Sprintf(`{"id":"a","secret":%q}`, first)+"\n"+line)
		_, err := OpenStore(path)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.line, err)
			}
			continue
		}
		t.Run(tt.line, func(t *testing.T) {
			mustFail(t, err, second, path, tt.want, tt.fix)
			mustFail(t, err, first)
			var file *FileError
			if !errors.As(err, &file) || file.Line != 3 && tt.want != "not UTF-8" {
				t.Errorf("%#v, want line 3", err)
			}
		})
	}
}

// TestBadKeyFiles goes through every file that holds a secret.
func TestBadKeyFiles(t *testing.T) {
	secret := newTestSecret(t)
	client := Token{"h:1", ClientKey{ServerID{1}, "alice", secret}}
	id, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	kinds := []struct {
		name, text string
		open       func(dir string) (path string, open func() error)
	}{
		{"keys", fmt.Sprintf(`{"id":"a","secret":%q}`, secret.base64()), func(dir string) (string, func() error) {
			path := filepath.Join(dir, "keys")
			return path, func() error { _, err := OpenStore(path); return err }
		}},
		{"identity", id.text(), func(dir string) (string, func() error) {
			return filepath.Join(dir, "identity"), func() error { _, err := OpenIdentity(dir); return err }
		}},
		{"client", client.Encode(), func(dir string) (string, func() error) {
			c := OpenClientStore(dir)
			if err := os.MkdirAll(c.addressDir("h:1"), 0o700); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(c.addressDir("h:1"), "alice"), func() error { _, err := c.ByAddress("h:1"); return err }
		}},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			with := func(name, want string, make func(path string)) {
				t.Run(name, func(t *testing.T) {
					path, open := kind.open(stateDir(t))
					make(path)
					if err := open(); want != "" {
						mustFail(t, err, secret.base64(), filepath.Dir(path), want)
					} else if err != nil {
						t.Error(err)
					}
				})
			}
			with("good", "", func(path string) { write(t, path, kind.text) })
			for _, mode := range []fs.FileMode{0o644, 0o640, 0o602, 0o610} {
				with(mode.String(), "fix: chmod 600 ", func(path string) {
					write(t, path, kind.text)
					chmod(t, path, mode)
				})
			}
			with("symlink", "is a symbolic link (fix: ", func(path string) {
				write(t, path+"2", kind.text)
				if err := os.Symlink(path+"2", path); err != nil {
					t.Fatal(err)
				}
			})
			with("directory", "is a directory (fix: ", func(path string) {
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			})
			with("large", "is larger than", func(path string) { write(t, path, kind.text+strings.Repeat("\n", storeLimit)) })
			with("open directory", "fix: chmod 700 ", func(path string) {
				write(t, path, kind.text)
				chmod(t, filepath.Dir(path), 0o777)
			})
			with("sticky directory", "", func(path string) {
				write(t, path, kind.text)
				chmod(t, filepath.Dir(path), 0o777|fs.ModeSticky)
			})
			if os.Getuid() != 0 {
				t.Skip("files of other accounts need root")
			}
			with("owner", "belongs to user 4242 (fix: chown 0 ", func(path string) {
				write(t, path, kind.text)
				if err := os.Chown(path, 4242, -1); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestAddKeyRefuses(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	good := Key{ID: "alice", Secret: newTestSecret(t)}
	if err := AddKey(path, good); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	other := newTestSecret(t)
	tests := map[string]struct {
		key  Key
		want string
	}{
		"same ID":       {Key{ID: "alice", Secret: other}, "key ID alice is that of line 3"},
		"same secret":   {Key{ID: "bob", Secret: good.Secret}, "key bob has the secret of key alice in line 3"},
		"no secret":     {Key{ID: "bob"}, "no secret"},
		"bad ID":        {Key{ID: "Bob", Secret: other}, "a key ID is"},
		"bad pattern":   {Key{ID: "bob", Secret: other, Argv: [][]string{{"*"}}}, "argv"},
		"not UTF-8":     {Key{ID: "bob", Secret: other, Command: "\xff"}, "not UTF-8"},
		"wide prefix":   {Key{ID: "bob", Secret: other, From: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}, "from"},
		"never valid":   {Key{ID: "bob", Secret: other, NotAfter: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)}, "not_after"},
		"too large":     {Key{ID: "bob", Secret: other, Command: strings.Repeat("x", storeLimit)}, "is larger than"},
		"bad charset":   {Key{ID: "bob", Secret: other, Charset: "big5"}, "charset is none of the known names"},
		"bad limit":     {Key{ID: "bob", Secret: other, Limits: []Limit{{"nofile", 2, 1}}}, "nofile in limits"},
		"bad run_as":    {Key{ID: "bob", Secret: other, RunAs: "-1"}, "run_as"},
		"empty pattern": {Key{ID: "bob", Secret: other, Argv: [][]string{{}}}, "argv"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { mustFail(t, AddKey(path, tt.key), other.base64(), tt.want) })
	}
	if read(t, path) != before {
		t.Error("a refused key changed the file")
	}
	onlyFiles(t, filepath.Dir(path), "keys", "keys.lock")
}

func TestEditKeepsOtherLines(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	a, b := newTestSecret(t).base64(), newTestSecret(t).base64()
	lineA := fmt.Sprintf(` { "secret":%q,"id":"a" }`, a)
	lineB := fmt.Sprintf(`{"id":"b","secret":%q}`, b)
	write(t, path, "# first\r\n\n"+lineA+"\n  # second\n"+lineB+"\n# no newline")
	if err := AddKey(path, Key{ID: "c", Secret: newTestSecret(t)}); err != nil {
		t.Fatal(err)
	}
	if err := RevokeKey(path, "b"); err != nil {
		t.Fatal(err)
	}
	want := "# first\r\n\n" + lineA + "\n  # second\n# no newline\n{\"id\":\"c\","
	if got := read(t, path); !strings.HasPrefix(got, want) || strings.Contains(got, b) || strings.Count(got, "\n") != 6 {
		t.Errorf("%q, want %q", got, want)
	}
	if err := RevokeKey(path, "b"); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("%v, want unknown", err)
	}
}

// TestRevokeInBadFile removes a key although another line is bad, and says that it has no effect yet.
func TestRevokeInBadFile(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	secret := newTestSecret(t).base64()
	write(t, path, fmt.Sprintf(`{"id":"a","secret":%q}`+"\n"+`{"id":"a","secret":""}`+"\n{bad\n", secret))
	mustFail(t, RevokeKey(path, "a"), secret, "key a is removed, but a running daemon accepts it", path+":1", "fix: ")
	if got := read(t, path); got != "{bad\n" {
		t.Errorf("left %q", got)
	}
}

func TestRefresh(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(what string, wantChanged bool, wantError string, wantKeys ...string) {
		t.Helper()
		changed, err := s.Refresh()
		if changed != wantChanged || (err == nil) != (wantError == "") {
			t.Errorf("%s: changed %v, %v", what, changed, err)
		}
		if wantError != "" {
			mustFail(t, err, "", wantError)
		}
		var got []string
		for _, k := range s.Keys() {
			got = append(got, k.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(wantKeys) {
			t.Errorf("%s: keys %q, want %q", what, got, wantKeys)
		}
		if wantChanged || wantError != "" { // reported once
			if changed, err := s.Refresh(); changed || err != nil {
				t.Errorf("%s: again %v, %v", what, changed, err)
			}
		}
	}
	expect("nothing", false, "")
	a := fmt.Sprintf(`{"id":"a","secret":%q}`+"\n", newTestSecret(t).base64())
	b := strings.Replace(a, `"a"`, `"b"`, 1)
	write(t, path, a)
	expect("first key", true, "", "a")
	expect("no change", false, "", "a")
	// In place, of the same size and, as far as the clock of files goes, at the same time.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, b)
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	expect("same size and time", true, "", "b")
	write(t, path, b+"{\n")
	expect("bad line", false, path+":2", "b")
	write(t, path, b+"[\n")
	expect("other bad line", false, path+":2", "b")
	write(t, path, b+a)
	expect("one secret twice", false, "key a has the secret of key b in line 1", "b")
	write(t, path, b)
	expect("mended", true, "", "b")
	chmod(t, path, 0o644)
	expect("open to others", false, "fix: chmod 600 "+path, "b")
	chmod(t, path, 0o600)
	expect("mended mode", true, "", "b")
	chmod(t, filepath.Dir(path), 0o777)
	write(t, path, a)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect("open directory", false, "fix: chmod 700 ", "b")
	chmod(t, filepath.Dir(path), 0o700)
	expect("mended directory", true, "", "a")
	write(t, path, b)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect("and back", true, "", "b")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	expect("touched", false, "", "b")
	write(t, path, a)
	expect("after rest", true, "", "a")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("removed", true, "")
}

// TestConcurrentAdd adds 20 keys at once while a reader refreshes: none is lost, none half read.
func TestConcurrentAdd(t *testing.T) {
	const n = 20
	path := filepath.Join(stateDir(t), "keys")
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	var writers, reader sync.WaitGroup
	done := make(chan struct{})
	reader.Go(func() {
		for {
			if _, err := s.Refresh(); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for i := range n {
		k := Key{ID: fmt.Sprint("key", i), Secret: newTestSecret(t)}
		writers.Go(func() {
			if err := AddKey(path, k); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	close(done)
	reader.Wait()
	if _, err := s.Refresh(); err != nil || len(s.Keys()) != n {
		t.Errorf("%d keys, want %d; %v", len(s.Keys()), n, err)
	}
	onlyFiles(t, filepath.Dir(path), "keys", "keys.lock")
}

// TestSweep removes what a crash left behind, and not what another program writes just now.
func TestSweep(t *testing.T) {
	dir := stateDir(t)
	path := filepath.Join(dir, "keys")
	old, recent, other := filepath.Join(dir, ".keys.1.tmp"), filepath.Join(dir, ".keys.2.tmp"), filepath.Join(dir, ".other.3.tmp")
	for _, name := range []string{old, recent, other} {
		write(t, name, "secret")
	}
	for _, name := range []string{old, other} {
		if err := os.Chtimes(name, time.Time{}, time.Now().Add(-2*staleAfter)); err != nil {
			t.Fatal(err)
		}
	}
	if err := AddKey(path, Key{ID: "a", Secret: newTestSecret(t)}); err != nil {
		t.Fatal(err)
	}
	onlyFiles(t, dir, ".keys.2.tmp", ".other.3.tmp", "keys", "keys.lock")
}

func TestAllowsArgv(t *testing.T) {
	list := [][]string{{"systemctl", "restart", "nginx"}, {"git-upload-pack", "*"}, {"echo", "a", "*"}}
	tests := []struct {
		argv []string
		want bool
	}{
		{[]string{"systemctl", "restart", "nginx"}, true},
		{[]string{"systemctl", "restart", "nginx", "sshd"}, false},
		{[]string{"systemctl", "restart"}, false},
		{[]string{"systemctl", "restart", "nginx;id"}, false},
		{[]string{"systemctl", "restart", "nginx\n"}, false},
		{[]string{"systemctl restart nginx"}, false},
		{[]string{"Systemctl", "restart", "nginx"}, false},
		{[]string{"/bin/systemctl", "restart", "nginx"}, false},
		{[]string{"git-upload-pack"}, true},
		{[]string{"git-upload-pack", "--strict", "/x"}, true},
		{[]string{"git-upload-pack", "*"}, true},
		{[]string{"git-upload-packx"}, false},
		{[]string{"echo", "a"}, true},
		{[]string{"echo", "a", "$(id)"}, true},
		{[]string{"echo"}, false},
		{[]string{"echo", "b", "a"}, false},
		{[]string{"*"}, false},
		{[]string{""}, false},
		{nil, false},
	}
	for _, tt := range tests {
		argv := make([][]byte, len(tt.argv))
		for i, s := range tt.argv {
			argv[i] = []byte(s)
		}
		if got := (Key{Argv: list}).AllowsArgv(argv); got != tt.want {
			t.Errorf("%q: %v", tt.argv, got)
		}
		if !(Key{}).AllowsArgv(argv) {
			t.Errorf("%q: refused without a list", tt.argv)
		}
	}
	// Keys that were not loaded from a file hold to the same rule.
	for _, pattern := range [][]string{{}, {"*"}, nil} {
		if (Key{Argv: [][]string{pattern}}).AllowsArgv([][]byte{[]byte("id")}) {
			t.Errorf("pattern %q admits id", pattern)
		}
	}
}
