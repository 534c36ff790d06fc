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

	"rexec/internal/auth"
	"rexec/internal/config"
)

const usage = `Usage:
  rexecd [serve] [--config FILE] [--state-dir DIR] [--listen ADDRESS]
        run the daemon in the foreground
  rexecd check [--quiet]          check the configuration and the keys, and print what is in force
  rexecd status [--json]          tell how the running daemon is: who is connected, what
                                  runs; exit code 3 if there is none
  rexecd id                       print this server's ID
  rexecd reset-identity [--yes]   make this server another one, as a clone must be;
                                  every client must enroll again, and the outcomes
                                  of named executions are forgotten
  rexecd key add NAME [options]   make a key and print the line that enrolls it
  rexecd key list                 list the keys
  rexecd key show NAME            everything about one key but its secret
  rexecd key rotate NAME [--keep TIME] [--address HOST:PORT]
        give a key a new secret and print the line that enrolls it; the old one
        stays valid for TIME (default 7d), with --keep 0 not at all
  rexecd key expire NAME WHEN     end a key's validity at a time as of --not-after,
                                  now, or never
  rexecd key revoke NAME          remove a key

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
  --charset NAME         what its commands print: auto, raw, utf-8, gbk or
                         gb18030; default: what the configuration says
  --no-pty               give its commands no terminal
  --from CIDR            allow this source; may be given again
  --limit NAME=VALUE     a resource limit of its commands, as in [exec.limits]
                         of rexecd.toml, where that is not tighter:
                         nofile=1024, core=0, nproc=100:200; may be given again
  --not-before TIME      when the key begins
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
	err := c.dispatch(ctx, verb, rest, io)
	if errors.Is(err, errHelp) { // after a verb
		_, err = fmt.Fprint(io.out, usage)
	}
	return err
}

func (c *common) dispatch(ctx context.Context, verb string, args []string, io streams) error {
	if verb == "key" {
		switch {
		case len(args) == 0:
			return misuse("key needs a verb: add, list, show, rotate, expire or revoke")
		case args[0] == "-h" || args[0] == "--help":
			return errHelp
		}
		verb, args = "key "+args[0], args[1:]
	}
	switch verb {
	case "", "serve":
		return c.plain(args, func() error { return serve(ctx, c, io) })
	case "check":
		return check(c, args, io)
	case "status":
		return showStatus(ctx, c, args, io)
	case "id":
		return c.plain(args, func() error { return printID(c, io) })
	case "sftp-server":
		return sftpServer(ctx, args, io)
	case "complete":
		return completeLine(ctx, args, io)
	case "reset-identity":
		return resetIdentity(c, args, io)
	case "key add":
		return keyAdd(c, args, io)
	case "key list":
		return c.plain(args, func() error { return keyList(c, io) })
	case "key show":
		return keyShow(c, args, io)
	}
	return c.changeKey(verb, args, io)
}

// plain runs a verb that takes the common options only.
func (c *common) plain(args []string, f func() error) error {
	set := c.flags("")
	if err := c.parseAll(set, args); err != nil {
		return err
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
	help := set.BoolP("help", "h", false, "")
	if err := set.Parse(args); err != nil {
		return nil, misuse("%v", err)
	}
	if *help {
		return nil, errHelp
	}
	return set.Args(), nil
}

// errHelp is returned by parse to who is asked for help, and by nobody else.
var errHelp = errors.New("help was asked for")

// parseAll is parse for verbs that take options only.
func (c *common) parseAll(set *pflag.FlagSet, args []string) error {
	rest, err := c.parse(set, args)
	if err == nil && len(rest) > 0 {
		err = misuse("unexpected argument %q", rest[0])
	}
	return err
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// load reads the configuration. The default file may be missing; a named one may not.
func (c *common) load() (config.Config, string, error) {
	path := c.configPath
	if path == "" {
		var err error
		if path, err = defaultConfig(); err != nil {
			return config.Config{}, "", unusable(err)
		}
	}
	cfg, err := config.Load(path)
	if errors.Is(err, os.ErrNotExist) && c.configPath == "" {
		cfg, err = config.Default(), nil
	}
	if err != nil {
		return cfg, path, unusable(err)
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
		return "", unusable(fmt.Errorf("finding the state directory (give --state-dir): %w", err))
	}
	return filepath.Join(home, ".local", "state", "rexecd"), nil
}

// keysPath is the key file in a state directory.
func keysPath(dir string) string { return filepath.Join(dir, "keys") }

// usesPath is the file that says when keys were last used.
func usesPath(dir string) string { return filepath.Join(dir, "lastused") }

// clockPath is the file of the latest time that the daemon has seen.
func clockPath(dir string) string { return filepath.Join(dir, "clock") }

// namedPath is the directory of the outcomes of named executions.
func namedPath(dir string) string { return filepath.Join(dir, "named") }

// check reads the configuration, and the keys as far as this account may, and prints what is in force.
func check(c *common, args []string, io streams) error {
	set := c.flags("check")
	quiet := set.BoolP("quiet", "q", false, "")
	if err := c.parseAll(set, args); err != nil {
		return err
	}
	cfg, path, err := c.load()
	if err != nil {
		return err
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	if _, err := auth.OpenStore(keysPath(dir)); err != nil && !errors.Is(err, os.ErrPermission) {
		return unusable(err)
	}
	if _, err := bannerText(cfg.Banner); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	if *quiet {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		path = "built-in defaults; there is no " + path
	}
	_, err = fmt.Fprintf(io.out, "# effective configuration (%s)\n%s", path, cfg.TOML())
	return err
}
