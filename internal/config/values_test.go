package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestBounds goes to both sides of every limit of every key.
func TestBounds(t *testing.T) {
	tests := []struct {
		key    string
		good   []string
		bad    []string
		inText string // in each error
	}{
		{"listen", []string{`":0"`, `":65535"`, `"0.0.0.0:1"`, `"[::]:1"`, `"[fe80::1%eth0]:1"`, `"localhost:1"`, `"a-b.example:1"`},
			[]string{`""`, `"8000"`, `":"`, `":65536"`, `":-1"`, `":+1"`, `":08"`, `":http"`, `"*:1"`, `"::1"`, `"::1:1"`, `"[::1]"`, `"a b:1"`, `"http://h:1"`, `"-h:1"`, `"[fe80::1%\u001b]:1"`, `"é:1"`},
			"must be host:port"},
		{"server.handshake_timeout", []string{`"100ms"`, `"5m"`}, []string{`"99ms"`, `"5m1ns"`, `"-1s"`}, "must be from 100ms to 5m, not "},
		{"server.handshake_timeout", nil, []string{`""`, `"10"`, `"1d"`, `"s"`, `"1e9s"`, `" 1s"`, `"99999999999h"`}, "is not a duration such as"},
		{"server.max_unauthenticated", []string{"1", "1_000_000"}, []string{"0", "-1", "1_000_001", "9223372036854775807"}, "must be from 1 to 1000000, not "},
		{"server.max_connections", []string{"1", "1_000_000"}, []string{"0", "-1", "1_000_001"}, "must be from 1 to 1000000, not "},
		{"server.grace", []string{`"0s"`, `"0"`, `"24h"`}, []string{`"-1ns"`, `"24h1ns"`}, "must be from 0s to 24h, not "},
		{"server.drain", []string{`"100ms"`, `"24h"`}, []string{`"0s"`, `"24h1ns"`}, "must be from 100ms to 24h, not "},
		{"exec.path", []string{`"/"`, `"/usr/bin:/opt/a b"`}, []string{`""`, `"bin"`, `"/bin:"`, `":/bin"`, `"/a::/b"`, `"/bin:."`}, "is not absolute"},
		{"exec.path", nil, []string{`"/a\n"`, `"/a\u0000"`, `"/a\u007f"`}, "control characters"},
		{"exec.lang", []string{`"C"`, `"de_DE.UTF-8@euro"`}, []string{`""`, `"a b"`, `"/etc"`, `"C\n"`}, "name of a locale"},
		{"exec.charset", []string{`"auto"`, `"raw"`, `"utf-8"`, `"gbk"`, `"gb18030"`},
			[]string{`""`, `"GBK"`, `"utf8"`, `"cp936"`, `"gb2312"`, `"gbk "`, `"big5"`}, "must be one of auto, raw, utf-8, gbk, gb18030, not "},
		{"exec.umask", []string{`"000"`, `"777"`, `"0022"`}, []string{`""`, `"22"`, `"1000"`, `"0o22"`, `"088"`, `"-22"`, `"+022"`, `"0_22"`}, "must be an octal number in quotes"},
		{"exec.accept_env", []string{`[]`, `["*"]`, `["_"]`, `["A1_*"]`}, []string{`[""]`, `["A=B"]`, `["1A"]`, `["A**"]`, `["A*B"]`, `["**"]`, `["é"]`, `["A\n"]`}, "is not the name of a variable"},
		{"exec.env", []string{`{}`, `{_ = "x"}`, `{A = "line\nline"}`}, []string{`{1A = ""}`, `{"A=B" = ""}`, `{"" = ""}`, `{"é" = ""}`, `{"A\n" = ""}`, `{"A*" = ""}`}, "is not the name of a variable"},
		{"exec.env", nil, []string{`{A = "\u0000"}`}, "zero byte"},
		{"exec.stop_grace", []string{`"10ms"`, `"1h"`}, []string{`"0s"`, `"9ms"`, `"1h1ns"`}, "must be from 10ms to 1h, not "},
		{"exec.oom_score_adj", []string{"-1000", "1000"}, []string{"-1001", "1001"}, "must be from -1000 to 1000, not "},
		{"exec.max_processes", []string{"0", "4_194_304"}, []string{"-1", "4_194_305"}, "must be from 0 to 4194304, not "},
		{"exec.max_memory", []string{`"unlimited"`, `"1MiB"`, `"1024KiB"`, `"1TiB"`, `"1%"`, `"100%"`, "1_048_576"},
			[]string{`"1023KiB"`, `"0GiB"`, "1_048_575", "-1"}, "must be at least 1MiB, not "},
		{"exec.max_memory", nil, []string{`""`, `"none"`, `"0%"`, `"101%"`, `"1.5GiB"`, `"2G"`, `"2GB"`, `" 2GiB"`, `"2 GiB"`, `"-1GiB"`, `"8388608TiB"`, `"1"`, `"KiB"`, `"%"`},
			`must be "unlimited", a size in quotes`},
		{"exec.cgroup", []string{`"auto"`, `"own"`, `"off"`, `"/sys/fs/cgroup/a b"`}, []string{`""`, `"on"`, `"rexecd"`, `"/a/../b"`, `"/a/"`, `"/a\n"`}, `must be "auto", "own", "off" or the directory`},
		{"exec.limits", []string{`{as = 1, core = 1, cpu = 1, data = 1, fsize = 1, locks = 1, memlock = 1, msgqueue = 1, nice = 1, ` +
			`nofile = 1, nproc = 1, rss = 1, rtprio = 1, rttime = 1, sigpending = 1, stack = 1}`},
			[]string{`{nofiles = 1}`}, "no such limit (did you mean nofile?)"},
		{"exec.limits", nil, []string{`{bandwidth = 1}`, `{NOFILE = 1, RLIMIT_CORE = 1}`}, "no such limit"},
		{"exec.limits", []string{`{cpu = 0}`, `{cpu = 9223372036854775807}`}, []string{`{cpu = -1}`}, "must not be negative"},
		{"exec.limits", []string{`{cpu = "1:1"}`, `{cpu = "1:unlimited"}`, `{cpu = "unlimited:unlimited"}`}, []string{`{cpu = "2:1"}`, `{cpu = "unlimited:1"}`}, "soft limit is above the hard limit"},
		{"exec.limits", nil, []string{`{cpu = ""}`, `{cpu = ":"}`, `{cpu = "1:"}`, `{cpu = ":1"}`, `{cpu = "1:2:3"}`, `{cpu = "1k"}`, `{cpu = "-1"}`, `{cpu = "18446744073709551615"}`, `{cpu = "infinity"}`},
			`must be a number, "unlimited" or "soft:hard" of these`},
		{"jobs.keep_named", []string{`"1m"`, `"8784h"`}, []string{`"0s"`, `"59s"`, `"8785h"`}, "must be from 1m to 8784h, not "},
		{"log.level", []string{`"debug"`, `"info"`, `"warn"`, `"error"`}, []string{`""`, `"INFO"`, `"trace"`}, "must be one of debug, info, warn, error"},
		{"log.format", []string{`"auto"`, `"console"`, `"json"`}, []string{`""`, `"text"`}, "must be one of auto, console, json"},
	}
	for _, tt := range tests {
		for _, v := range tt.good {
			if _, err := Parse("f.toml", []byte(tt.key+" = "+v)); err != nil {
				t.Errorf("%s = %s: %v", tt.key, v, err)
			}
		}
		for _, v := range tt.bad {
			_, err := Parse("f.toml", fmt.Appendf(nil, "\n%s = %s", tt.key, v))
			if err == nil || !strings.Contains(err.Error(), tt.inText) || !strings.HasPrefix(err.Error(), "f.toml:2: "+tt.key) {
				t.Errorf("%s = %s: %v, want %q at f.toml:2", tt.key, v, err, tt.inText)
			}
		}
	}
}

func TestListenHints(t *testing.T) {
	for value, want := range map[string]string{
		"::1":    `write the IPv6 address in brackets and add the port: "[::1]:8000"`,
		"*:8000": `for every address leave it out`,
		":https": `the port must be a number from 0 to 65535`,
		":512":   `must not be port 512`,
	} {
		_, err := Parse("f.toml", []byte("listen = '"+value+"'"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listen = %s: %v, want %q", value, err, want)
		}
	}
}
