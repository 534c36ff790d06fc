package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestErrors fixes the whole text of an error, since the operator has nothing
// else to go by. Every case is named f.toml.
func TestErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		// Keys that do not exist.
		{"top level", "\nlisen = ':1'", `f.toml:2: lisen: unknown key (did you mean listen?)`},
		{"in a section", "[server]\n\ngrce = '1s'", `f.toml:3: server.grce: unknown key (did you mean server.grace?)`},
		{"dotted", "#\nserver.grce = '1s'", `f.toml:2: server.grce: unknown key (did you mean server.grace?)`},
		{"quoted", "\n\"server\".'grce' = '1s'", `f.toml:2: server.grce: unknown key (did you mean server.grace?)`},
		{"inline table", "\nserver = { drain = '1s', grce = '1s' }", `f.toml:2: server.grce: unknown key (did you mean server.grace?)`},
		{"needs quotes", "\n\"a b\" = 1", `f.toml:2: "a b": unknown key (known here: listen, [server], [exec], [jobs], [classic], [metrics], [banner], [log])`},
		{"empty", "\n\"\" = 1", `f.toml:2: "": unknown key (known here: listen, [server], [exec], [jobs], [classic], [metrics], [banner], [log])`},
		{"other case", "Listen = ':1'", `f.toml:1: Listen: unknown key (did you mean listen?)`},
		{"wrong section", "[exec]\ngrace = '1s'", `f.toml:2: exec.grace: unknown key (grace belongs under [server])`},
		{"section forgotten", "umask = '022'", `f.toml:1: umask: unknown key (umask belongs under [exec])`},
		{"below a section", "[log]\nlisten = ':1'", `f.toml:2: log.listen: unknown key (listen stands above the first [section])`},
		{"far from all", "[jobs]\nzzzzzzzz = 1", `f.toml:2: jobs.zzzzzzzz: unknown key (known here: keep_named)`},
		{"section", "\n[sever]\ngrace = 1\ndrain = 1", `f.toml:2: sever: unknown section (did you mean server?)`},
		{"dotted section", "\n\nsever.grace = '1s'", `f.toml:3: sever: unknown section (did you mean server?)`},
		{"deep section", "\n[server.tls]\ncert = 'x'", `f.toml:2: server.tls: unknown key (known here: udp, handshake_timeout, max_unauthenticated, max_connections, grace, drain)`},
		{"deep dotted", "\n[x]\n[server]\na.b.c = 1", "f.toml:2: x: unknown section (known here: server, exec, jobs, classic, metrics, banner, log)\n" +
			`f.toml:4: server.a: unknown key (known here: udp, handshake_timeout, max_unauthenticated, max_connections, grace, drain)`},
		{"key in a comment and in text", "# grce = 1\n[exec]\nlang = 'C'\n[exec.env]\nA = '''\ngrce = 1\n'''\n[server]\ngrce = 1",
			`f.toml:9: server.grce: unknown key (did you mean server.grace?)`},
		{"same name elsewhere", "[server]\n[jobs]\ngrace = '1s'", `f.toml:3: jobs.grace: unknown key (grace belongs under [server])`},
		{"empty in a table", "\n[exec.env]\n'' = 'x'", `f.toml:3: exec.env."": is not the name of a variable (letters, digits and _)`},

		{"banner too long", "[banner]\ntext = '" + strings.Repeat("x", 4097) + "'", `f.toml:2: banner.text: must have at most 4096 bytes, not 4097`},
		{"banner with NUL", "[banner]\ntext = \"a\\u0000\"", `f.toml:2: banner.text: must not contain NUL`},
		{"banner from nowhere", "[banner]\nfile = 'motd'", `f.toml:2: banner.file: must be an absolute path, not "motd"`},
		{"two banners", "[banner]\ntext = 'a'\nfile = '/etc/motd'", `f.toml:3: banner.file: there is banner.text already (remove one of the two)`},

		// A value of several lines has the line of its key.
		{"long list", "[exec]\naccept_env = [\n'A',\n'1A',\n]", `f.toml:2: exec.accept_env: "1A" is not the name of a variable (letters, digits and _, at the end perhaps *)`},
		{"long text", "[exec]\nlang = \"\"\"\\\n  x\n  y\"\"\"", `f.toml:2: exec.lang: must be the name of a locale such as "C.UTF-8", not "x\u000A  y"`},
		{"long raw text", "[exec]\nlang = '''\nx y\n'''", `f.toml:2: exec.lang: must be the name of a locale such as "C.UTF-8", not "x y\u000A"`},
		{"long inline table", "[exec]\nlimits = {\n  core = 1,\n  cpu = -1,\n}", `f.toml:4: exec.limits.cpu: must not be negative; for no limit write "unlimited"`},

		// Syntax.
		{"duplicate key", "listen = ':1'\n\nlisten = ':2'", `f.toml:3: listen: Key 'listen' has already been defined (remove one of the two)`},
		{"duplicate quoted", "[server]\ngrace = '1s'\n'grace' = '1s'", `f.toml:3: server.grace: Key 'server.grace' has already been defined (remove one of the two)`},
		{"duplicate section", "[log]\n[exec]\n[log]", `f.toml:3: Key 'log' has already been defined (remove one of the two)`},
		{"byte order mark", "\uFEFFlisten = ':1'", `f.toml:1: begins with a byte order mark (save it as UTF-8 without BOM)`},
		{"invalid UTF-8", "# \u00e9\n# \ufffd\n# \xff", `f.toml:3: not valid UTF-8 (save the file as UTF-8)`},
		{"UTF-16", "\xff\xfel\x00", `f.toml:1: not valid UTF-8 (save the file as UTF-8)`},

		// Values of the wrong type.
		{"integer for text", "listen = 8000", `f.toml:1: listen: must be text in quotes, not an integer`},
		{"text for integer", "[server]\nmax_connections = '1'", `f.toml:2: server.max_connections: must be an integer without quotes, not text in quotes`},
		{"fraction", "[server]\nmax_connections = 1.5", `f.toml:2: server.max_connections: must be an integer without quotes, not a fraction`},
		{"integer for duration", "[server]\ngrace = 60", `f.toml:2: server.grace: must be a duration in quotes such as "60s" (units ms, s, m, h), not an integer`},
		{"list for text", "[log]\nlevel = ['info']", `f.toml:2: log.level: must be text in quotes, not a list`},
		{"bool for text", "[log]\nlevel = true", `f.toml:2: log.level: must be text in quotes, not true or false`},
		{"date for text", "[log]\nlevel = 2020-01-01", `f.toml:2: log.level: must be text in quotes, not a date or time`},
		{"table for text", "\n[log.level]\nx = 1", `f.toml:2: log.level: must be text in quotes, not a table`},
		{"text for section", "\nlog = 'info'", `f.toml:2: log: must be a section, not text in quotes (write [log] on a line of its own and its keys below)`},
		{"list of sections", "\n[[log]]\nlevel = 'info'", `f.toml:2: log: must be a section, not a list (write [log] on a line of its own and its keys below)`},
		{"umask as number", "[exec]\numask = 0o22", `f.toml:2: exec.umask: must be an octal number in quotes from "000" to "777", such as "022", not an integer`},
		{"list with a number", "[exec]\naccept_env = ['A', 1]", `f.toml:2: exec.accept_env: must hold names in quotes, not an integer`},
		{"text for list", "[exec]\naccept_env = 'A'", `f.toml:2: exec.accept_env: must be a list of names such as ["LANG", "LC_*"], not text in quotes`},
		{"list for env", "[exec]\nenv = ['A=b']", `f.toml:2: exec.env: must be a table such as { NAME = "value" }, not a list`},
		{"number in env", "[exec.env]\nA = 'x'\nB = 1", `f.toml:3: exec.env.B: must be text in quotes, not an integer`},
		{"PATH in env", "[exec.env]\nA = 'x'\nPATH = '/bin'", `f.toml:3: exec.env.PATH: is set by exec.path; write path under [exec] instead`},
		{"LANG in env", "[exec.env]\nLANG = 'C'", `f.toml:2: exec.env.LANG: is set by exec.lang; write lang under [exec] instead`},
		{"HOME in env", "[exec]\nenv = { HOME = '/' }", `f.toml:2: exec.env.HOME: comes from the account that the command runs as; remove it`},
		{"list for limits", "[exec]\nlimits = []", `f.toml:2: exec.limits: must be a table such as { nofile = "1024:524288" }, not a list`},
		{"bool in limits", "[exec]\nlimits.core = false", `f.toml:2: exec.limits.core: must be a number, "unlimited" or "soft:hard", not true or false`},

		// More than one mistake: all are told, in the order of the file.
		{"several", "[server]\ngrace = 1\n[log]\nlevel = 'all'\nx = 1", "f.toml:2: server.grace: " +
			"must be a duration in quotes such as \"60s\" (units ms, s, m, h), not an integer\n" +
			"f.toml:4: log.level: must be one of debug, info, warn, error, not \"all\"\n" +
			"f.toml:5: log.x: unknown key (known here: level, format)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f.toml", []byte(tt.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

// TestSyntaxErrors checks file and line only: the wording is the library's.
func TestSyntaxErrors(t *testing.T) {
	for name, text := range map[string]string{
		"no value":         "\nlisten =\n",
		"no quotes":        "\nlisten = localhost:8000\n",
		"open string":      "\nlisten = \"abc\n",
		"no newline":       "\nlisten = ':1' [server]\n",
		"space in section": "\n[server x]\n",
		"open section":     "\n[server\n",
		"open string CRLF": "\r\nlisten = 'abc\r\n",
		"at the end":       "\nlisten = 'abc",
		"at the end CRLF":  "\r\nlisten = [",
		"zero byte":        "\nlisten = '\x00'\n",
		"control byte":     "\nlisten = '\x1b'\n",
		"YAML":             "\nlisten: ':1'\n",
		"leading zero":     "\nserver.max_connections = 022\n",
		"key under value":  "listen = ':1'\n[listen]\n",
	} {
		_, err := Parse("f.toml", []byte(text))
		bad, ok := errors.AsType[*Error](err)
		if !ok || bad.Line != 2 || !strings.HasPrefix(err.Error(), "f.toml:2: ") {
			t.Errorf("%s: %v, want an *Error at f.toml:2", name, err)
		}
	}
}

// TestWhiteSpace: tabs and CRLF are ordinary in TOML.
func TestWhiteSpace(t *testing.T) {
	for _, text := range []string{
		"[server]\r\ngrace = '2s'\r\n",
		"\t[server]\n\tgrace\t=\t'2s'\t# tab\n",
	} {
		c, err := Parse("f.toml", []byte(text))
		if err != nil || c.Server.Grace.Seconds() != 2 {
			t.Errorf("Parse(%q) = %v, %v", text, c.Server.Grace, err)
		}
	}
}

// TestErrorsKeepSecrets: env is where operators put tokens.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"[exec.env]\nTOKEN = 'hunter2\\u0000'\n'A B' = 'hunter2'",
		"[exec.env]\nTOKEN = \"hunter2\\u0000\"",
		"[exec.env]\nTOKEN = ['hunter2']",
	} {
		_, err := Parse("f.toml", []byte(text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Parse(%q) = %v", text, err)
		}
	}
}

// TestNotAConfiguration: some other file is told apart quickly and briefly.
func TestNotAConfiguration(t *testing.T) {
	var manyKeys, manySections strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&manyKeys, "k%d = 1\n", i)
		fmt.Fprintf(&manySections, "[k%d]\n", i)
	}
	for name, text := range map[string]string{
		"keys":        manyKeys.String(),
		"sections":    manySections.String(),
		"section":     "[server]\n" + manyKeys.String(),
		"long text":   "[log]\nlevel = '" + strings.Repeat("\u00e9", 1<<18) + "'",
		"long key":    strings.Repeat("k", 1<<19) + " = 1",
		"long number": "listen = " + strings.Repeat("1", 1<<19),
		"deep list":   "listen = " + strings.Repeat("[", 1<<16),
	} {
		_, err := Parse("f.toml", []byte(text))
		if err == nil || len(err.Error()) > 4000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	_, err := Parse("f.toml", []byte(manyKeys.String()))
	if n := strings.Count(fmt.Sprint(err), "\n") + 1; n != maxProblems || !strings.HasPrefix(err.Error(), "f.toml:1: k0: ") {
		t.Errorf("%d mistakes, want the first %d:\n%.200v", n, maxProblems, err)
	}
}

func TestNearestIsBounded(t *testing.T) {
	if got := nearest(strings.Repeat("x", 1<<20), []string{"listen"}); got != "" {
		t.Errorf("nearest = %q", got)
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"grce", "grace", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
