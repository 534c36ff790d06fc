package hosts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	f, err := parse(`
[[host]]
match = ["db1", "*.old.example"]
charset = "GBK"

[[host]]
match = "DB*"
charset = "raw"
cmd_charset = "gb18030"

[[host]]
match = "*:2222"
local_charset = "utf8"

[[host]]
match = "shop-?"
address = "10.0.0.7:8001"
port = 8002
user = "bob"
key = "ops"
connect_timeout = 1.5
timeout = "2m"
persist = "no"

[[host]]
match = "shop-*"
address = "other"
port = 1
user = "eve"
timeout = 7
persist = "10m"
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		names []string
		want  Settings
	}{
		{[]string{"db1", "db1:8000"}, Settings{Charset: "gbk", CmdCharset: "gb18030"}},
		{[]string{"DB2", "db2:8000"}, Settings{Charset: "raw", CmdCharset: "gb18030"}},
		{[]string{"a.old.example", "a.old.example:2222"}, Settings{Charset: "gbk", LocalCharset: "utf-8"}},
		{[]string{"other", "other:8000"}, Settings{}},
		{[]string{"shop-1"}, Settings{Address: "10.0.0.7:8001", Port: 8002, User: "bob", Key: "ops",
			ConnectTimeout: Span(1500 * time.Millisecond), Timeout: Span(2 * time.Minute), Persist: -1}},
		{[]string{"shop-11"}, Settings{Address: "other", Port: 1, User: "eve", Timeout: Span(7 * time.Second),
			Persist: Persist(10 * time.Minute)}},
	} {
		if got := f.For(tt.names...); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.names, got, tt.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"[host]\nmatch = \"h\"\n":                            "[host] needs two brackets on each side",
		"[[host]]\nmatch = \"h\"\ncharset = \"big5\"\n":      "line 3: charset \"big5\": want auto, raw, utf-8, gbk or gb18030",
		"[[host]]\nmatch = \"h\"\ncmd_charset = \"auto\"\n":  "line 3: charset \"auto\": want utf-8, gbk or gb18030",
		"[[host]]\nmatch = \"h\"\nlocal_charset = \"raw\"\n": "line 3: charset \"raw\": want utf-8, gbk or gb18030",
		"[[host]]\nmatch = \"h\"\ncharset = 936\n":           "line 3: want a charset's name in quotes, not 936",
		"[[host]]\nmatch = \"h\"\nchraset = \"gbk\"\n":       "unknown setting \"host.chraset\"",
		"[[host]]\ncharset = \"gbk\"\n":                      "[[host]] number 1 has no match",
		"[[host]]\nmatch = \"[\"\n":                          "line 2: pattern \"[\": a bracket is not closed",
		"[[host]]\nmatch = 1\n":                              "line 2: want a host name such as \"db1\"",
		"[[host]]\nmatch = \"h\"\nport = 65536\n":            "line 3: port 65536: want a number from 1 to 65535",
		"[[host]]\nmatch = \"h\"\nport = \"80\"\n":           "line 3: port 80: want a number",
		"[[host]]\nmatch = \"h\"\naddress = \"-oX\"\n":       "line 3: address \"-oX\": a host does not begin with -",
		"[[host]]\nmatch = \"h\"\nuser = \"\"\n":             "line 3: : want a name in quotes",
		"[[host]]\nmatch = \"h\"\npersist = \"yes\"\n":       "line 3: yes: want a time such as \"10m\", or \"no\"",
		"[[host]]\nmatch = \"h\"\ntimeout = 0\n":             "line 3: 0: want seconds",
		"[[host]]\nmatch = \"h\"\nconnect_timeout = \"1\"\n": "line 3: 1: want seconds",
		"\n[[host\n": "line 3: expected",
		"[[host]]\nmatch = \"h\"\n\n[hosts]\ncharset = \"\"\n": "unknown setting \"hosts\"",
	} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.toml")
	if f, err := Load(name); err != nil || f.For("h") != (Settings{}) {
		t.Errorf("no file: %v, %v", f, err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err == nil || !strings.HasPrefix(err.Error(), name+": line 1: ") {
		t.Errorf("a bad file: %v", err)
	}
	if _, err := Load(filepath.Dir(name)); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestNames(t *testing.T) {
	f, err := parse("[[host]]\nmatch = ['db1', '*.x', 'db?', 'db[12]', 'Db2:9']\n[[host]]\nmatch = 'db1'\n")
	if got := strings.Join(f.Names(), " "); err != nil || got != "db1 db2:9 db1" {
		t.Errorf("%q, %v", got, err)
	}
}
