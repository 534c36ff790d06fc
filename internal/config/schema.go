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
	sv, ex, cl := &c.Server, &c.Exec, &c.Classic
	return []key{
		{"listen", &text{&c.Listen, checkListen}},

		{"server.udp", &boolean{&sv.UDP}},
		{"server.handshake_timeout", &duration{&sv.HandshakeTimeout, 100 * time.Millisecond, 5 * time.Minute}},
		{"server.max_unauthenticated", &integer{&sv.MaxUnauthenticated, 1, 1_000_000}},
		{"server.max_connections", &integer{&sv.MaxConnections, 1, 1_000_000}},
		{"server.grace", &duration{&sv.Grace, 0, day}},
		{"server.drain", &duration{&sv.Drain, 100 * time.Millisecond, day}},

		{"exec.path", &text{&ex.Path, checkPath}},
		{"exec.lang", &text{&ex.Lang, checkLang}},
		{"exec.charset", &text{&ex.Charset, oneOf("auto", "raw", "utf-8", "gbk", "gb18030")}},
		{"exec.umask", &umask{&ex.Umask}},
		{"exec.accept_env", &patterns{&ex.AcceptEnv}},
		{"exec.env", &environment{&ex.Env}},
		{"exec.stop_grace", &duration{&ex.StopGrace, 10 * time.Millisecond, time.Hour}},
		{"exec.oom_score_adj", &integer{&ex.OOMScoreAdj, -1000, 1000}},
		{"exec.max_processes", &integer{&ex.MaxProcesses, 0, 4_194_304}},
		{"exec.max_memory", &memory{&ex.MaxMemory}},
		{"exec.cgroup", &text{&ex.Cgroup, checkCgroup}},
		{"exec.limits", &limits{&ex.Limits}},

		{"jobs.keep_named", &duration{&c.Jobs.KeepNamed, time.Minute, 366 * day}},

		{"classic.listen_tcp", &text{&cl.ListenTCP, orEmpty(checkListen)}},
		{"classic.listen_udp", &text{&cl.ListenUDP, orEmpty(checkListen)}},
		{"classic.key", &text{&cl.Key, orEmpty(checkKey)}},
		{"classic.auth", &text{&cl.Auth, oneOf("none", "hmac-md5", "hmac-sha256")}},
		{"classic.secret_file", &text{&cl.SecretFile, orEmpty(checkFile)}},
		{"classic.output", &text{&cl.Output, oneOf("classic", "both")}},
		{"classic.split", &text{&cl.Split, oneOf("none", "newline")}},
		{"classic.pause", &duration{&cl.Pause, time.Millisecond, 10 * time.Second}},
		{"classic.idle_timeout", &duration{&cl.IdleTimeout, time.Second, day}},
		{"classic.udp_timeout", &duration{&cl.UDPTimeout, time.Second, day}},
		{"classic.insecure", &boolean{&cl.Insecure}},
		{"classic.max_connections", &integer{&cl.MaxConnections, 1, 10_000}},
		{"classic.max_answer", &integer{&cl.MaxAnswer, 1 << 10, 1 << 30}},

		{"metrics.listen", &text{&c.Metrics.Listen, orEmpty(checkMetrics)}},

		{"banner.text", &text{&c.Banner.Text, checkBanner}},
		{"banner.file", &text{&c.Banner.File, orEmpty(checkFile)}},

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
