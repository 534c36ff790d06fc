// Package config owns rexecd.toml: which keys exist, what each may hold, its
// default, and how a mistake in the file is told to the operator.
//
// It does not act on any value: nothing here listens, logs or starts commands,
// and keys and permissions of clients live elsewhere. It is the only package
// that imports the TOML library, and it imports no other package of this module.
package config

import (
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// Unlimited is the value of a [Limit] that sets no bound (RLIM_INFINITY,
// see setrlimit(2)).
const Unlimited uint64 = math.MaxUint64

// maxSize bounds the file before it is parsed. A thousand times the shipped
// file is certainly a wrong path rather than a configuration.
const maxSize = 1 << 20

// maxProblems bounds what is told of a file that is no configuration at all.
const maxProblems = 20

// Config is a complete, checked configuration. Fields hold plain values, so
// that the packages they are meant for need not know this one.
type Config struct {
	Listen  string // host:port; an empty host is every address, port 0 any free port
	Server  Server
	Exec    Exec
	Jobs    Jobs
	Classic Classic
	Metrics Metrics
	Banner  Banner
	Log     Log
}

// Server holds the [server] section: limits on connections and on waiting.
type Server struct {
	UDP                bool          // QUIC on the UDP port of the same number
	HandshakeTimeout   time.Duration // TLS and proof together
	MaxUnauthenticated int           // connections that have not proved a key
	MaxConnections     int           // all connections
	Grace              time.Duration // how long a command waits for its client; 0 is not at all
	Drain              time.Duration // what running commands get when the daemon stops
}

// Exec holds the [exec] section: the surroundings of every command.
type Exec struct {
	Path         string            // PATH of the command
	Lang         string            // LANG of the command
	Charset      string            // what commands print: auto, raw, utf-8, gbk or gb18030
	Umask        uint32            // permission bits to take away, 0 to 0o777
	AcceptEnv    []string          // names a client may set; a trailing * matches any rest
	Env          map[string]string // further variables; never nil
	StopGrace    time.Duration     // between TERM and KILL
	OOMScoreAdj  int               // see proc_pid_oom_score_adj(5)
	MaxProcesses int               // processes and threads of one command; 0 is no limit
	MaxMemory    Memory            // of one command, swap not counted
	Cgroup       string            // auto, own, off or the directory of a cgroup v2
	Limits       map[string]Limit  // by name as in setrlimit(2), lower case, without RLIMIT_; never nil
}

// Limit is one resource limit in the unit that setrlimit(2) names for it.
// Soft is never above Hard; [Unlimited] stands for no bound.
type Limit struct {
	Soft, Hard uint64
}

// Jobs holds the [jobs] section.
type Jobs struct {
	KeepNamed time.Duration // how long the outcome of a command with a chosen ID is remembered
}

// Classic holds the [classic] section: the listeners for the clients of a tutorial.
type Classic struct {
	ListenTCP, ListenUDP string        // host:port; empty: off
	Key                  string        // key that all of its clients act as
	Auth                 string        // none, hmac-md5 or hmac-sha256
	SecretFile           string        // what the clients' MACs are made with
	Output               string        // classic or both
	Split                string        // none or newline
	Pause                time.Duration // a silence that ends a command
	IdleTimeout          time.Duration // how long a connection may be without a command
	UDPTimeout           time.Duration // how long a command that came over UDP may run
	Insecure             bool          // other addresses than loopback are allowed
	MaxConnections       int           // and UDP commands that run at once
	MaxAnswer            int           // bytes
}

// On reports whether any of the listeners is wanted.
func (c Classic) On() bool { return c.ListenTCP != "" || c.ListenUDP != "" }

// Metrics holds the [metrics] section.
type Metrics struct {
	// Listen is host:port on a loopback address, or the path of a Unix socket behind [UnixPrefix]; empty: off.
	Listen string
}

// UnixPrefix is what the path of a Unix socket stands behind in [Metrics].
const UnixPrefix = "unix:"

// Banner holds the [banner] section: words for people who begin a prompt.
type Banner struct {
	Text string // the words themselves, or
	File string // the path of a file that has them; both empty: there are none
}

// MaxBanner is the most bytes that a banner has.
const MaxBanner = 4 << 10

// Log holds the [log] section.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, console or json
}

// Default returns what an empty file means. The maps and slices are the
// caller's own.
func Default() Config {
	return Config{
		Listen: ":8000",
		Server: Server{
			UDP:                true,
			HandshakeTimeout:   10 * time.Second,
			MaxUnauthenticated: 512,
			MaxConnections:     16384,
			Grace:              time.Minute,
			Drain:              30 * time.Second,
		},
		Exec: Exec{
			Path:         "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			Lang:         "C.UTF-8",
			Charset:      "auto",
			Umask:        0o022,
			AcceptEnv:    []string{"LANG", "LC_*", "TERM", "COLORTERM", "GIT_PROTOCOL"},
			Env:          map[string]string{},
			StopGrace:    5 * time.Second,
			MaxProcesses: 4096,
			Cgroup:       "auto",
			Limits:       map[string]Limit{},
		},
		Jobs: Jobs{KeepNamed: 7 * 24 * time.Hour},
		Classic: Classic{
			Auth:           "none",
			Output:         "classic",
			Split:          "none",
			Pause:          50 * time.Millisecond,
			IdleTimeout:    10 * time.Minute,
			UDPTimeout:     time.Minute,
			MaxConnections: 64,
			MaxAnswer:      16 << 20,
		},
		Log: Log{Level: "info", Format: "auto"},
	}
}

// Load reads and checks the file at path. Mistakes in the content come back as
// one or more [*Error]; a file that cannot be read, as an error from os.
func Load(path string) (Config, error) {
	data, err := readFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, data)
}

// readFile reads at most one byte more than [Parse] accepts, so that a wrong
// path such as a device or an image costs no memory.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// Parse checks data, the content of a file called name, and returns the
// defaults overlaid with it. The error joins one [*Error] per mistake, in the
// order of their lines, up to twenty; the Config is then not usable.
func Parse(name string, data []byte) (Config, error) {
	doc, err := parseDocument(data)
	if err != nil {
		err.File = name
		return Config{}, err
	}
	c := Default()
	s := schema(&c)
	var found problems
	for _, e := range doc.entries(s) {
		err := e.apply(s)
		if err == nil {
			continue
		}
		err.File = name
		found = append(found, err)
		if len(found) == maxProblems {
			break
		}
	}
	if len(found) == 0 {
		found = append(checkClassic(doc, &c.Classic), checkOneBanner(doc, c.Banner)...)
		for _, err := range found {
			err.File = name
		}
	}
	if len(found) > 0 {
		return Config{}, found.join()
	}
	return c, nil
}
