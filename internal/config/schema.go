package config

import (
	"slices"
	"time"
)

// key is one key of the file: its full name, and where and how its value is
// stored.
type key struct {
	name  string
	value value
}

// value is one field of a [Config] together with the rule for it.
type value interface {
	// set checks what the TOML library decoded and stores it in the field. The
	// error says what is allowed.
	set(v any) error
	// toml returns the field as TOML.
	toml() string
}

// schema returns every key of the file, in the order in which they are
// written, bound to the fields of c.
func schema(c *Config) []key {
	sv, ex := &c.Server, &c.Exec
	return []key{
		{"listen", &text{&c.Listen, checkListen}},

		{"server.handshake_timeout", &duration{&sv.HandshakeTimeout, 100 * time.Millisecond, 5 * time.Minute}},
		{"server.max_unauthenticated", &integer{&sv.MaxUnauthenticated, 1, 1_000_000}},
		{"server.max_connections", &integer{&sv.MaxConnections, 1, 1_000_000}},
		{"server.grace", &duration{&sv.Grace, 0, day}},
		{"server.drain", &duration{&sv.Drain, 100 * time.Millisecond, day}},

		{"exec.path", &text{&ex.Path, checkPath}},
		{"exec.lang", &text{&ex.Lang, checkLang}},
		{"exec.umask", &umask{&ex.Umask}},
		{"exec.accept_env", &patterns{&ex.AcceptEnv}},
		{"exec.env", &environment{&ex.Env}},
		{"exec.stop_grace", &duration{&ex.StopGrace, 10 * time.Millisecond, time.Hour}},
		{"exec.oom_score_adj", &integer{&ex.OOMScoreAdj, -1000, 1000}},
		{"exec.limits", &limits{&ex.Limits}},

		{"jobs.keep_named", &duration{&c.Jobs.KeepNamed, time.Minute, 366 * day}},

		{"log.level", &text{&c.Log.Level, oneOf("debug", "info", "warn", "error")}},
		{"log.format", &text{&c.Log.Format, oneOf("auto", "console", "json")}},
	}
}

const day = 24 * time.Hour

// names returns the full names of all keys.
func names(s []key) []string {
	out := make([]string, len(s))
	for i, k := range s {
		out[i] = k.name
	}
	return out
}

// sections returns the names of the sections, each once, in order.
func sections(s []key) []string {
	var out []string
	for _, k := range s {
		if section, _ := split(k.name); section != "" && !slices.Contains(out, section) {
			out = append(out, section)
		}
	}
	return out
}
