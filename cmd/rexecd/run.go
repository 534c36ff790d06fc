package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"rexec/internal/config"
)

const usage = `Usage:
  rexecd [--config FILE] [--state-dir DIR] [--listen ADDRESS]
        run the daemon in the foreground
  rexecd check                    check the configuration and print what is in force
  rexecd id                       print this server's ID
  rexecd key add NAME [options]   make a key and print its token
  rexecd key list                 list the keys
  rexecd key revoke NAME          end a key's validity now

Options, for the daemon and every verb:
  --config FILE       default /etc/rexecd/rexecd.toml as root, else
                      $XDG_CONFIG_HOME/rexecd/rexecd.toml
  --state-dir DIR     identity and keys; default /var/lib/rexecd as root, else
                      $XDG_STATE_HOME/rexecd
  --listen ADDRESS    host:port to listen on, instead of the configuration's
  --version           print the version
  -h, --help          print this

Options of key add:
  --address HOST:PORT    where clients reach this server; default: this host's
                         name and the port that the daemon listens on
  --run-as USER          account that commands run as; default: your own
  --command COMMAND      run this, whatever the client asks for
  --argv 'WORD WORD...'  allow this exact command; may be given again; a last
                         word * allows any further arguments; a JSON array of
                         strings allows words with spaces
  --from CIDR            allow this source; may be given again
  --not-after TIME       when the key ends: 2027-01-31, 2027-01-31T12:00:00Z
                         or from now on: 90d, 12h

Examples:
  rexecd key add laptop --run-as alice
  rexecd key add backup --run-as backup --command 'pg_dump shop' --from 10.0.0.0/8
  rexecd --listen 127.0.0.1:8000 --state-dir ./state
`

// streams are the process's standard files, as values so that tests can put their own.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// common are the options that the daemon and every verb take.
type common struct {
	configPath string
	stateDir   string
	endSignals []os.Signal // end the daemon, a second one at once
	listen     string
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// run is the whole program but for the mapping of its error to an exit code.
func run(ctx context.Context, args []string, io streams) error {
	c := common{endSignals: endSignals()} // asked first: a launcher changes what is ignored
	set := pflag.NewFlagSet("rexecd", pflag.ContinueOnError)
	set.SetInterspersed(false)
	set.SetOutput(discard{})
	showVersion := set.Bool("version", false, "")
	help := set.BoolP("help", "h", false, "")
	c.addTo(set)
	if err := set.Parse(args); err != nil {
		return misuse("%v", err)
	}
	switch {
	case *help:
		_, err := fmt.Fprint(io.out, usage)
		return err
	case *showVersion:
		_, err := fmt.Fprintln(io.out, "rexecd", version)
		return err
	}
	verb, rest := "", set.Args()
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	return c.dispatch(ctx, verb, rest, io)
}

func (c *common) dispatch(ctx context.Context, verb string, args []string, io streams) error {
	if verb == "key" {
		if len(args) == 0 {
			return misuse("key needs a verb: add, list or revoke")
		}
		verb, args = "key "+args[0], args[1:]
	}
	switch verb {
	case "", "serve":
		return c.plain(args, func() error { return serve(ctx, c, io) })
	case "check":
		return c.plain(args, func() error { return check(c, io) })
	case "id":
		return c.plain(args, func() error { return printID(c, io) })
	case "key add":
		return keyAdd(c, args, io)
	case "key list":
		return c.plain(args, func() error { return keyList(c, io) })
	case "key revoke":
		return keyRevoke(c, args, io)
	}
	return misuse("unknown verb %q", verb)
}

// plain runs a verb that takes the common options only.
func (c *common) plain(args []string, f func() error) error {
	set := c.flags("")
	rest, err := c.parse(set, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return misuse("unexpected argument %q", rest[0])
	}
	return f()
}

// flags returns a set with the common options, for a verb to add its own.
func (c *common) flags(name string) *pflag.FlagSet {
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.SetOutput(discard{})
	c.addTo(set)
	return set
}

func (c *common) addTo(set *pflag.FlagSet) {
	set.StringVar(&c.configPath, "config", c.configPath, "")
	set.StringVar(&c.stateDir, "state-dir", c.stateDir, "")
	set.StringVar(&c.listen, "listen", c.listen, "")
}

func (c *common) parse(set *pflag.FlagSet, args []string) ([]string, error) {
	if err := set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, misuse("see rexecd --help")
		}
		return nil, misuse("%v", err)
	}
	return set.Args(), nil
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// load reads the configuration. The default file may be missing; a named one may not.
func (c *common) load() (config.Config, string, error) {
	path := c.configPath
	if path == "" {
		var err error
		if path, err = defaultConfig(); err != nil {
			return config.Config{}, "", err
		}
	}
	cfg, err := config.Load(path)
	if errors.Is(err, os.ErrNotExist) && c.configPath == "" {
		cfg, err = config.Default(), nil
	}
	if err != nil {
		return cfg, path, err
	}
	if c.listen != "" {
		// Checked as the file's own value would be.
		over, err := config.Parse("--listen", []byte("listen = "+tomlString(c.listen)))
		if err != nil {
			return cfg, path, misuse("--listen %q: want host:port, as in 127.0.0.1:8000", c.listen)
		}
		cfg.Listen = over.Listen
	}
	return cfg, path, nil
}

func tomlString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\x00", `\u0000`).Replace(s) + `"`
}

func defaultConfig() (string, error) {
	if os.Geteuid() == 0 {
		return "/etc/rexecd/rexecd.toml", nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("finding the configuration (give --config): %w", err)
	}
	return filepath.Join(dir, "rexecd", "rexecd.toml"), nil
}

// state returns the state directory (XDG Base Directory Specification for users).
func (c *common) state() (string, error) {
	if c.stateDir != "" {
		return c.stateDir, nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/rexecd", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rexecd"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("finding the state directory (give --state-dir): %w", err)
	}
	return filepath.Join(home, ".local", "state", "rexecd"), nil
}

// keysPath is the key file in a state directory.
func keysPath(dir string) string { return filepath.Join(dir, "keys") }

func check(c *common, io streams) error {
	cfg, path, err := c.load()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		path = "built-in defaults; there is no " + path
	}
	_, err = fmt.Fprintf(io.out, "# effective configuration (%s)\n%s", path, cfg.TOML())
	return err
}
