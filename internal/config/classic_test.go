package config

import (
	"reflect"
	"testing"
	"time"
)

func TestClassicIsOff(t *testing.T) {
	if c := Default().Classic; c.On() || c.Insecure || c.Auth != "none" || c.Output != "classic" || c.Split != "none" || c.Pause != 50*time.Millisecond {
		t.Errorf("%+v", c)
	}
	for _, text := range []string{"[classic]", "[classic]\nkey = 'a'", "[classic]\ninsecure = true"} {
		if c, err := Parse("f.toml", []byte(text)); err != nil || c.Classic.On() {
			t.Errorf("%q: %+v, %v", text, c.Classic, err)
		}
	}
}

func TestClassicEveryKey(t *testing.T) {
	c, err := Parse("f.toml", []byte(`[classic]
listen_tcp = "0.0.0.0:9000"
listen_udp = "[::1]:9001"
key = "tutorial"
auth = "hmac-md5"
secret_file = "/etc/rexecd/classic.key"
output = "both"
split = "newline"
pause = "1s"
idle_timeout = "5s"
udp_timeout = "2h"
insecure = true
max_connections = 7
max_answer = 4096
`))
	want := Classic{
		ListenTCP: "0.0.0.0:9000", ListenUDP: "[::1]:9001", Key: "tutorial", Auth: "hmac-md5",
		SecretFile: "/etc/rexecd/classic.key", Output: "both", Split: "newline", Pause: time.Second,
		IdleTimeout: 5 * time.Second, UDPTimeout: 2 * time.Hour, Insecure: true, MaxConnections: 7, MaxAnswer: 4096,
	}
	if err != nil || c.Classic != want {
		t.Fatalf("%+v, %v", c.Classic, err)
	}
	set := reflect.ValueOf(want)
	for i := range set.NumField() {
		if set.Field(i).Equal(reflect.ValueOf(Default().Classic).Field(i)) {
			t.Errorf("%s is its default here", set.Type().Field(i).Name)
		}
	}
	again, err := Parse("printed", []byte(c.TOML()))
	if err != nil || again.Classic != want {
		t.Errorf("printed and read again: %+v, %v", again.Classic, err)
	}
}

func TestClassicErrors(t *testing.T) {
	const far = "is reached from other machines, and the classic protocols are plain text " +
		"(listen on 127.0.0.1, or set classic.insecure = true)"
	for _, tt := range []struct{ name, text, want string }{
		{"all addresses", "listen_tcp = ':9000'\nkey = 'a'", "f.toml:2: classic.listen_tcp: " + far},
		{"the same in IPv6", "key = 'a'\nlisten_udp = '[::]:9000'", "f.toml:3: classic.listen_udp: " + far},
		{"a name", "listen_tcp = 'db1:9000'\nkey = 'a'", "f.toml:2: classic.listen_tcp: " + far},
		{"no port", "listen_tcp = '127.0.0.1'\nkey = 'a'", `f.toml:2: classic.listen_tcp: must be host:port, such as ":8000", "192.0.2.1:8000" or "[::1]:8000", not "127.0.0.1"`},
		{"no key", "listen_tcp = '127.0.0.1:9000'", "f.toml:2: classic.listen_tcp: there is no key to run commands with " +
			"(set classic.key to the name of a key, which rexecd key add NAME makes)"},
		{"bad key", "key = 'A B'", `f.toml:2: classic.key: must be the name of a key, 1 to 64 of a-z 0-9 . _ @ -, the first a letter or digit, not "A B"`},
		{"no secret", "auth = 'hmac-sha256'", "f.toml:2: classic.auth: there is no secret to check the clients' answers with " +
			"(set classic.secret_file to a file with the secret, of mode 0600)"},
		{"useless secret", "secret_file = '/a'", `f.toml:2: classic.secret_file: is of no use with classic.auth = "none" ` +
			`(set classic.auth = "hmac-sha256", or remove secret_file)`},
		{"relative secret", "secret_file = 'a'", `f.toml:2: classic.secret_file: must be an absolute path, not "a"`},
		{"control character", "secret_file = \"/a\\u001b\"", "f.toml:2: classic.secret_file: must not contain control characters"},
		{"other hash", "auth = 'hmac-sha1'", `f.toml:2: classic.auth: must be one of none, hmac-md5, hmac-sha256, not "hmac-sha1"`},
		{"text for a boolean", "insecure = 'true'", "f.toml:2: classic.insecure: must be true or false without quotes, not text in quotes"},
		{"unknown", "listen_tpc = ':1'", "f.toml:2: classic.listen_tpc: unknown key (did you mean classic.listen_tcp?)"},
		{"no pause", "pause = '0s'", "f.toml:2: classic.pause: must be from 1ms to 10s, not 0s"},
		{"answers beyond the length", "max_answer = 2147483648", "f.toml:2: classic.max_answer: must be from 1024 to 1073741824, not 2147483648"},
	} {
		_, err := Parse("f.toml", []byte("[classic]\n"+tt.text))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
	}
	for _, text := range []string{"127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"} {
		if _, err := Parse("f.toml", []byte("[classic]\nkey = 'a'\nlisten_tcp = '"+text+"'")); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
