package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rexec/internal/client"
	"rexec/internal/hosts"
	"rexec/internal/proto"
)

const usage = `Usage:
  rexec [options] [user@]host[:port] [options] [command...]
  rexec enroll [--name NAME] [--replace] [TOKEN]
                            store the key of a token, which rexecd key add made;
                            without TOKEN it is read from stdin, where no process
                            list can show it; --replace gives up the key that has
                            its name, as when the server has a new identity
  rexec ping [-c N] [-i T] [-p PORT] [--tcp|--udp] [-qv] [--identity NAME] host
                    measure round trips over an authenticated connection, N times
                    or until interrupted, one every T (default 1s)
  rexec charset [--from C] [--to C] <IN >OUT
                            convert text here, as --charset would; default from
                            auto to utf-8

With a command: runs it with the account's shell, and ends as it ends.
Without one: a login shell with -t, a prompt at a terminal, else stdin is a script
for the shell.

Options:
  -c COMMAND        the command, instead of words after the host
  -p PORT           port; default 8000; must not contradict one behind the host
  -l USER           the account you expect; the key decides which it is
  -i NAME           use the enrolled key NAME, or the one in a file: ./NAME
  -F FILE           settings from FILE instead of config.toml; none: without
  -s                the word after the host is a subsystem: sftp
  -G                print the settings for the host, and connect to nothing
  -o NAME=VALUE     a setting in ssh's words, see rexec(1)
  -O check|stop|exit
                    ask whether --persist has a background process for the host,
                    let it end with its last command, or end it
  -t, -T            run on a terminal there, if stdin is one here; -tt always,
                    -T never. Without a command that is a login shell
  -e C              the character that behind Enter, and with a dot after it,
                    ends such a session; default ~, or none
  -4, -6            connect over IPv4, or IPv6, only
  -n                stdin is empty
  -N                hold the connection and run nothing
  -q                no messages of rexec's own but errors
  -v                tell what happens on the way
      --tcp, --udp  connect over TCP, or over UDP (QUIC), only; by default over TCP
                    if it answers within milliseconds, else over what is first
      --argv        run the words as they are, without a shell
      --timeout T   end the command after T (10, 90s, 1h30m): exit code 124
      --id NAME     name the execution: it runs at most once, however often asked
      --env N[=V]   set a variable there, by default to its value here
      --dir DIR     working directory there, an absolute path
      --charset C   what the command prints: auto, raw, utf-8, gbk or gb18030.
                    At a terminal the default is what the server says, and auto,
                    which tells GB 18030 from UTF-8 line by line, only in a
                    Chinese locale: it takes other old charsets for Chinese.
                    Into a pipe or file bytes go as they are unless this is given
      --local-charset C
                    what this terminal takes; by default the locale's
      --cmd-charset C
                    what the host wants command text, arguments and typed input
                    in; default utf-8
      --cmd-charset-unsafe
                    send a shell characters that hold a byte in that charset that
                    it could act on, as that of a backquote or a bar
      --on-disconnect grace|kill|keep
                    what happens when this side vanishes; default grace: it may
                    come back for a minute
      --persist T   keep the connection in a background process, for later
                    invocations, until nobody has used it for T; no: do not
      --json        write the outcome as one line of JSON to stderr
      --status-fd N write it to file descriptor N instead
      --list-hosts  print the hosts that have a key or a name in config.toml
  -V, --version     print the version
  -h, --help        print this

Other options of ssh are taken where they change nothing here; what would forward
a port, take another way or go to the background is refused.

Exit code: the command's own; 128+n if signal n ended it; 124 timeout; 126 and
127 if it cannot be executed or is not found; 255 if rexec could not tell, with
the reason on stderr.

Examples:
  rexec db1 uptime
  seq 2000000 | rexec db1:8000 'sort -R | head'
  rexec -t db1 vim /etc/hosts
  rexec --argv db1 touch 'a file; with $pecial name'
`

// defaultPort is where rexecd listens.
const defaultPort = 8000

// options are what the command line says.
type options struct {
	command      first
	port         first
	user         first
	keys         many // names and files, in this order
	noStdin      bool
	hold         bool
	quiet        bool
	verbose      int
	tcp, udp     bool
	argv         bool
	timeout      time.Duration
	id           first
	env          []string
	dir          first
	onDisconnect proto.Disconnect
	persist      persistOption
	json         bool
	statusFD     int
	listHosts    bool
	version      bool
	help         bool

	ssh sshOptions

	charset          modeOption
	localCharset     modeOption
	cmdCharset       modeOption
	cmdCharsetUnsafe bool

	destination string
	words       []string
}

// first is a string option of which the first value given counts, as in ssh.
type first struct {
	value string
	set   bool
}

func (f *first) String() string { return f.value }
func (*first) Type() string     { return "string" }
func (f *first) Set(s string) error {
	if !f.set {
		f.value, f.set = s, true
	}
	return nil
}

// many is a string option that may be given again, also behind the host.
type many []string

func (m *many) String() string     { return strings.Join(*m, " ") }
func (*many) Type() string         { return "string" }
func (m *many) Set(s string) error { *m = append(*m, s); return nil }

// span is a time limit: seconds, or a number with units.
type span struct{ d *time.Duration }

func (s span) String() string { return s.d.String() }
func (span) Type() string     { return "duration" }
func (s span) Set(text string) error {
	d, err := time.ParseDuration(text)
	if n, numErr := strconv.ParseFloat(text, 64); numErr == nil {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || d < time.Millisecond {
		return errors.New("want a time such as 10, 90s or 1h30m")
	}
	*s.d = d
	return nil
}

// disconnect is the choice of --on-disconnect.
type disconnect struct{ d *proto.Disconnect }

func (disconnect) String() string { return "" }
func (disconnect) Type() string   { return "string" }
func (v disconnect) Set(text string) error {
	choices := map[string]proto.Disconnect{
		"grace": proto.DisconnectGrace, "kill": proto.DisconnectKill, "keep": proto.DisconnectKeep,
	}
	d, ok := choices[text]
	if !ok {
		return errors.New("want grace, kill or keep")
	}
	*v.d = d
	return nil
}

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func misuse(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// parseOptions reads the command line the way ssh does: options, the destination, options again, and
// from the first word that is none on the command. A "--" ends options; before the destination it
// also prevents the second scan.
func parseOptions(args []string) (*options, error) {
	o := &options{statusFD: -1, localCharset: modeOption{text: true}, cmdCharset: modeOption{text: true}}
	rest, dashed, err := o.scan(args)
	if err != nil || o.help || o.version || o.listHosts {
		return o, err
	}
	if len(rest) == 0 {
		return o, misuse("no host given")
	}
	o.destination, rest = rest[0], rest[1:]
	if user, _ := splitDestination(o.destination); user != "" {
		_ = o.user.Set(user) // the first one given counts, and this one comes before what follows the host
	}
	if !dashed {
		if rest, _, err = o.scan(rest); err != nil || o.help || o.version || o.listHosts {
			return o, err
		}
	}
	o.words = rest
	return o, o.check()
}

// scan parses options up to the first word, and says whether "--" ended them.
func (o *options) scan(args []string) (rest []string, dashed bool, err error) {
	verbose, env := o.verbose, o.env
	set := pflag.NewFlagSet("rexec", pflag.ContinueOnError)
	set.SetInterspersed(false)
	set.SetOutput(io.Discard)
	set.VarP(&o.command, "command", "c", "")
	set.VarP(&o.port, "port", "p", "")
	set.VarP(&o.user, "login", "l", "")
	set.VarP(&o.keys, "identity", "i", "")
	set.BoolVarP(&o.noStdin, "no-stdin", "n", o.noStdin, "")
	set.BoolVarP(&o.hold, "hold", "N", o.hold, "")
	set.BoolVarP(&o.quiet, "quiet", "q", o.quiet, "")
	set.CountVarP(&o.verbose, "verbose", "v", "")
	set.BoolVar(&o.tcp, "tcp", o.tcp, "")
	set.BoolVar(&o.udp, "udp", o.udp, "")
	set.BoolVar(&o.argv, "argv", o.argv, "")
	set.Var(span{&o.timeout}, "timeout", "")
	set.Var(&o.id, "id", "")
	set.StringArrayVar(&o.env, "env", o.env, "")
	set.Var(&o.dir, "dir", "")
	set.Var(disconnect{&o.onDisconnect}, "on-disconnect", "")
	set.Var(&o.persist, "persist", "")
	set.Var(&o.charset, "charset", "")
	set.Var(&o.localCharset, "local-charset", "")
	set.Var(&o.cmdCharset, "cmd-charset", "")
	set.BoolVar(&o.cmdCharsetUnsafe, "cmd-charset-unsafe", o.cmdCharsetUnsafe, "")
	set.BoolVar(&o.json, "json", o.json, "")
	set.IntVar(&o.statusFD, "status-fd", o.statusFD, "")
	o.ssh.define(set, o)
	set.BoolVar(&o.listHosts, "list-hosts", o.listHosts, "")
	set.BoolVarP(&o.version, "version", "V", o.version, "")
	set.BoolVarP(&o.help, "help", "h", o.help, "")
	if err := set.Parse(args); err != nil {
		return nil, false, misuse("%v", err)
	}
	// Counts and lists go on over both scans; pflag begins each anew.
	o.verbose += verbose
	o.ssh.ttys += o.ssh.counted
	if set.Changed("env") {
		o.env = append(env[:len(env):len(env)], o.env...)
	}
	return set.Args(), set.ArgsLenAtDash() == 0, nil
}

// check refuses what does not fit together.
func (o *options) check() error {
	if o.command.set && (o.ssh.subsystem || len(o.words) > 0 && isCipherList(o.command.value)) {
		o.ssh.notes = append(o.ssh.notes, "-c "+o.command.value+": there is no choice of ciphers")
		o.command = first{}
	}
	switch {
	case o.ssh.show:
		return nil
	case len(o.ssh.refused) > 0:
		return &unsupportedError{o.ssh.refused[0]}
	case o.ssh.subsystem && (o.argv || o.hold || len(o.words) == 0 || strings.Join(o.words, " ") == ""):
		return misuse("-s needs the name of a subsystem after the host, and neither --argv nor -N")
	case o.ssh.remoteCommand.set && o.ssh.remoteCommand.value != "none" && (o.command.set || len(o.words) > 0):
		return misuse("-o RemoteCommand and the command line both give a command")
	case o.command.set && len(o.words) > 0:
		return misuse("-c and words after the host both give a command")
	case o.command.set && o.command.value == "":
		return misuse("-c needs a command that is not empty")
	case o.argv && o.command.set:
		return misuse("--argv takes the words after the host, not -c")
	case o.argv && len(o.words) == 0:
		return misuse("--argv needs a program and its arguments after the host")
	case o.hold && (o.command.set || len(o.words) > 0):
		return misuse("-N runs nothing, so it takes no command")
	case o.tcp && o.udp:
		return misuse("--tcp and --udp exclude each other")
	case o.dir.set && !strings.HasPrefix(o.dir.value, "/"):
		return misuse("--dir %q: want an absolute path there, as in --dir /srv/app", o.dir.value)
	case o.id.set && !proto.ValidName(o.id.value):
		return misuse("--id: want 1 to %d bytes without control characters", proto.MaxName)
	case strings.HasPrefix(o.destination, "-"):
		return misuse("host %q begins with a dash", o.destination)
	}
	return nil
}

// request is what the command line asks to run; nil without a command. Its texts are converted as c says,
// and nothing is sent if one cannot be.
func (o *options) request(getenv func(string) (string, bool), c *charsets) (*proto.Run, error) {
	r := &proto.Run{
		User: o.user.value, OnDisconnect: o.onDisconnect, Timeout: uint64(o.timeout.Milliseconds()),
	}
	var err error
	if r.Dir, err = c.remote("--dir", o.dir.value); err != nil {
		return nil, err
	}
	if o.id.set {
		r.Name = c.utf8(o.id.value)
		r.ID = proto.NamedID(r.Name)
	}
	if r.Env, err = o.environment(getenv, c); err != nil {
		return nil, err
	}
	if err = o.wish(getenv, c, r); err != nil {
		return nil, err
	}
	switch {
	case o.ssh.subsystem:
		r.Subsystem = c.utf8(strings.Join(o.words, " "))
	case o.argv:
		for i, w := range o.words {
			arg, err := c.remote(fmt.Sprintf("argument %d", i), w)
			if err != nil {
				return nil, err
			}
			r.Argv = append(r.Argv, arg)
		}
	case o.command.set:
		r.Shell, err = c.shell("command", o.command.value)
	case len(o.words) > 0:
		r.Shell, err = c.shell("command", strings.Join(o.words, " "))
	}
	c.ask(r)
	return r, err
}

// transport is what may carry the connection: the command line's choice, else that of the settings.
func (o *options) transport(s hosts.Settings) client.Transport {
	switch {
	case o.tcp, !o.udp && s.Transport == "tcp":
		return client.TCP
	case o.udp, s.Transport == "udp":
		return client.UDP
	}
	return client.Auto
}

// environment is what --env sets.
func (o *options) environment(getenv func(string) (string, bool), c *charsets) ([]proto.EnvVar, error) {
	var env []proto.EnvVar
	for _, e := range o.env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			if value, ok = getenv(name); !ok {
				return nil, misuse("--env %s: the variable is not set here", name)
			}
		}
		converted, err := c.remote("--env "+name, value)
		if err != nil {
			return nil, err
		}
		env = append(env, proto.EnvVar{Name: []byte(name), Value: converted})
	}
	return env, nil
}
