package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEmptyFileIsDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "\r\n", "# only a comment", "[server]\n[exec]\n"} {
		got, err := Parse("rexecd.toml", []byte(text))
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if !reflect.DeepEqual(got, Default()) {
			t.Errorf("Parse(%q) = %+v, want the defaults", text, got)
		}
	}
}

func TestDefaultIsNotShared(t *testing.T) {
	a := Default()
	a.Exec.Env["A"] = "b"
	a.Exec.Limits["core"] = Limit{}
	a.Exec.AcceptEnv[0] = "X"
	if b := Default(); len(b.Exec.Env) != 0 || len(b.Exec.Limits) != 0 || b.Exec.AcceptEnv[0] != "LANG" {
		t.Errorf("a change of one default shows in the next: %+v", b)
	}
}

// everything sets every key to something other than its default, in all the
// ways TOML has to write keys.
const everything = `
listen = '[::1]:0'
"server" . "handshake_timeout" = "1m30s"
jobs.keep_named = "90m"

[exec]
	path = "/bin"
	lang = "zh_CN.GBK"
	charset = "gbk"
	umask = "0077"
	accept_env = [
		"*",
		"TERM",
	]
	env.PROXY = "a\u0009\"b\"\\"
	env.EMPTY = ''
	stop_grace = "250ms"
	oom_score_adj = -1000
	max_processes = 0
	max_memory = "2GiB"
	cgroup = "/sys/fs/cgroup/rexecd"
[exec.limits]
nofile = "1024:524288"
as = "unlimited"
core = 0
stack = "8388608:unlimited"
cpu = "60"

[banner]
text = "be\nkind"
`

// mergedServer cannot stand in everything, where server is a dotted key.
const mergedServer = `
[server]
max_unauthenticated = 1
max_connections = 1_000_000
grace = "0s"
drain = "1h0m0s"
[log]
level = "debug"
format = "json"
`

func TestEveryKey(t *testing.T) {
	got, err := Parse("rexecd.toml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen = "[::1]:0"
	want.Server.HandshakeTimeout = 90 * time.Second
	want.Jobs.KeepNamed = 90 * time.Minute
	want.Banner = Banner{Text: "be\nkind"}
	want.Exec = Exec{
		Path:        "/bin",
		Lang:        "zh_CN.GBK",
		Charset:     "gbk",
		Umask:       0o077,
		AcceptEnv:   []string{"*", "TERM"},
		Env:         map[string]string{"PROXY": "a\t\"b\"\\", "EMPTY": ""},
		StopGrace:   250 * time.Millisecond,
		OOMScoreAdj: -1000,
		MaxMemory:   Memory{Bytes: 2 << 30},
		Cgroup:      "/sys/fs/cgroup/rexecd",
		Limits: map[string]Limit{
			"nofile": {1024, 524288},
			"as":     {Unlimited, Unlimited},
			"core":   {0, 0},
			"stack":  {8388608, Unlimited},
			"cpu":    {60, 60},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	got, err = Parse("rexecd.toml", []byte(mergedServer))
	if err != nil {
		t.Fatal(err)
	}
	want = Default()
	want.Server.MaxUnauthenticated, want.Server.MaxConnections = 1, 1_000_000
	want.Server.Grace, want.Server.Drain = 0, time.Hour
	want.Log = Log{Level: "debug", Format: "json"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestTOMLRoundTrip also covers every key: what TOML left out would come back
// as the default.
func TestTOMLRoundTrip(t *testing.T) {
	for _, text := range []string{"", everything, mergedServer} {
		want, err := Parse("in", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse("out", []byte(want.TOML()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, want.TOML())
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v\nfrom %s", got, want, want.TOML())
		}
	}
}

func TestTOMLText(t *testing.T) {
	c := Default()
	c.Exec.Env = map[string]string{"B": "\x1b[31m\U0001F600é", "A": ""}
	c.Exec.Limits = map[string]Limit{"nofile": {1, 2}, "core": {0, Unlimited}, "as": {Unlimited, Unlimited}, "cpu": {7, 7}}
	for _, want := range []string{
		"listen = \":8000\"\n\n[server]\nudp = true\nhandshake_timeout = \"10s\"\n",
		"grace = \"1m\"\n",
		"umask = \"022\"\n",
		`env = { A = "", B = "\u001B[31m\U0001F600\u00E9" }` + "\n",
		`limits = { as = "unlimited", core = "0:unlimited", cpu = 7, nofile = "1:2" }` + "\n",
		"keep_named = \"168h\"\n",
	} {
		if got := c.TOML(); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	var b strings.Builder
	if err := c.Write(&b); err != nil || b.String() != c.TOML() {
		t.Errorf("Write = %v, %q", err, b.String())
	}
}

type failingWriter struct{}

var errFull = errors.New("disk full")

func (failingWriter) Write([]byte) (int, error) { return 0, errFull }

func TestWriteReportsFailure(t *testing.T) {
	if err := Default().Write(failingWriter{}); !errors.Is(err, errFull) {
		t.Errorf("Write = %v, want %v", err, errFull)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rexecd.toml")
	if err := os.WriteFile(path, []byte("listen = ':1'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || c.Listen != ":1" {
		t.Errorf("Load = %q, %v", c.Listen, err)
	}

	if _, err := Load(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was accepted")
	}

	if err := os.WriteFile(path, []byte("\nlisten = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Load(path)
	if bad, ok := errors.AsType[*Error](err); !ok || bad.File != path || bad.Line != 2 {
		t.Errorf("Load = %v, want an *Error that names %s:2", err, path)
	}
}

func TestLoadTooBig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big.toml")
	for _, c := range []struct {
		size int64
		ok   bool
	}{{maxSize, true}, {maxSize + 1, false}, {10 << 20, false}} {
		if err := os.WriteFile(path, []byte(strings.Repeat("\n", int(c.size))), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if (err == nil) != c.ok {
			t.Errorf("%d bytes: %v", c.size, err)
		}
		if err != nil && !strings.Contains(err.Error(), path+": larger than 1 MiB") {
			t.Errorf("%d bytes: %v", c.size, err)
		}
	}
}
