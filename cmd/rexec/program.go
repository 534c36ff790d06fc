package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/hosts"
	"rexec/internal/persist"
	"rexec/internal/proto"
)

// exitOurs is the exit code of everything that is not the command's doing.
const exitOurs = 255

// program is one invocation.
type program struct {
	in       *os.File
	out, err *os.File
	words    io.Writer // err, for words of our own
	options  *options
	charsets charsets
	settings hosts.Settings
	target   *target
	status   *os.File // where records of outcomes go; nil: nowhere
	store    *auth.ClientStore
	client   *client.Client
	keep     *keeping // nil: no background process is wanted
	signals  chan (<-chan string)
	raw      rawTerminal // this side's, for a command on a terminal

	prompting bool // it runs the lines of a prompt
}

// run is the whole program; it returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	local, _ := localCharset()
	p.speak(local)
	if len(args) > 0 {
		switch args[0] {
		case "enroll":
			return p.fail(p.enroll(args[1:]))
		case "charset":
			return p.fail(p.convert(args[1:]))
		case "ping":
			return p.ping(ctx, args[1:])
		case persist.Verb:
			return p.background(ctx)
		}
	}
	var err error
	if p.options, err = parseOptions(args); err != nil {
		return p.fail(err)
	}
	switch {
	case p.options.help:
		fmt.Fprint(p.out, usage)
		return 0
	case p.options.version:
		fmt.Fprintln(p.out, "rexec", version)
		return 0
	}
	if p.options.listHosts {
		return p.fail(p.listHosts())
	}
	if p.options.ssh.show {
		return p.fail(p.showConfig())
	}
	if p.options.ssh.control != "" {
		return p.control(ctx)
	}
	if err := p.openStatus(); err != nil {
		return p.fail(err)
	}
	request, err := p.prepare(ctx)
	if err != nil {
		return p.fail(errors.Join(err, p.writeRecord(proto.ExecID{}, nil, err)))
	}
	code, err := p.connectAndRun(ctx, request)
	if err != nil {
		return p.fail(err)
	}
	return code
}

// locate finds the host, its key and its settings.
func (p *program) locate() error {
	dir, err := configDir()
	if err != nil {
		return err
	}
	if p.settings, err = p.readSettings(dir); err != nil {
		return err
	}
	p.store = auth.OpenClientStore(dir)
	p.target, err = resolve(p.options, p.settings, p.store)
	p.tellPassedOver()
	return err
}

// tellPassedOver tells what the command line has that does nothing here.
func (p *program) tellPassedOver() {
	for _, note := range p.options.ssh.notes {
		p.logf("%s", note)
	}
	for _, warning := range p.options.ssh.warnings {
		if !p.options.quiet {
			notef(p.words, "warning: %s", printable(warning))
		}
	}
}

// prepare finds everything that is needed before a connection.
func (p *program) prepare(ctx context.Context) (*proto.Run, error) {
	err := p.locate()
	if err != nil {
		return nil, err
	}
	if err := p.options.addRemoteCommand(p.target); err != nil {
		return nil, err
	}
	if err := p.chooseFamily(ctx); err != nil {
		return nil, err
	}
	p.keep = p.keeping(ctx)
	p.signals = make(chan (<-chan string), 1)
	go func() { p.signals <- catchSignals() }() // it takes 0.3 ms of waiting for threads
	if p.charsets, err = p.chooseCharsets(p.settings); err != nil {
		return nil, err
	}
	p.speak(p.charsets.local)
	if err := p.checkStdin(); err != nil {
		return nil, err
	}
	request, err := p.options.request(os.LookupEnv, &p.charsets)
	if err != nil {
		return nil, err
	}
	request.User = p.target.user
	if request.Timeout == 0 {
		request.Timeout = uint64(time.Duration(p.settings.Timeout).Milliseconds())
	}
	return request, nil
}

// checkStdin finds out what would else be known only if the command lived long enough. Stdin that is open for
// writing only, as nohup(1) makes it, is empty.
func (p *program) checkStdin() error {
	if p.options.noStdin || p.options.hold {
		return nil
	}
	if info, err := p.in.Stat(); err == nil && info.IsDir() {
		return misuse("stdin is a directory; </dev/null or -n make it empty")
	}
	if isWriteOnly(p.in) {
		p.logf("stdin is not open for reading, so it is empty")
		p.options.noStdin = true
	}
	return nil
}

func (p *program) connectAndRun(ctx context.Context, request *proto.Run) (int, error) {
	p.client = p.newClient(p.keep.use())
	defer func() { _ = p.client.Close() }() // the outcome is known by then
	defer p.keep.end()
	signals := <-p.signals
	if p.options.ssh.wantsTTY(term.IsTerminal(int(p.in.Fd()))) && request.Subsystem == "" {
		p.askTerminal(request)
	}
	p.connectPatiently(ctx)
	switch {
	case p.options.hold:
		return p.hold(ctx, signals)
	case len(request.Shell) > 0 || len(request.Argv) > 0 || request.Subsystem != "":
		return p.runOnce(ctx, request, signals)
	case len(request.Pty) == 0 && term.IsTerminal(int(p.in.Fd())):
		return p.prompt(ctx, request, signals)
	}
	request.Script = true
	return p.runOnce(ctx, request, signals)
}

// newClient returns a client that asks shared first, unless it is nil, for another process's connection.
func (p *program) newClient(shared func(context.Context) (*client.Proven, error)) *client.Client {
	return client.New(client.Options{
		Shared:  shared,
		Address: p.target.address, Key: p.target.key.Token.Key, Target: p.options.destination,
		Pins: p.store, Log: p.logf, Transport: p.options.transport(p.settings),
		Timeout: p.connectTimeout(),
	})
}

// connectTimeout is how long connecting and proving may take; 0: the default.
func (p *program) connectTimeout() time.Duration {
	return cmp.Or(p.options.ssh.connectTimeout, time.Duration(p.settings.ConnectTimeout))
}

// configDir is the directory of the user's keys and settings (XDG Base Directory Specification).
func configDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", &keyError{text: "no place to look for keys: " + err.Error(), hint: "set HOME or XDG_CONFIG_HOME"}
	}
	return filepath.Join(dir, "rexec"), nil
}

// settingsFile is the file with settings for hosts; empty for none.
func (o *options) settingsFile(dir string) (string, error) {
	given := o.ssh.config
	switch {
	case given.value == "none":
		return "", nil
	case !given.set:
		return filepath.Join(dir, "config.toml"), nil
	}
	if _, err := os.Stat(given.value); err != nil {
		return "", fmt.Errorf("reading the settings of -F: %w", err)
	}
	return given.value, nil
}

// readSettings returns what config.toml says of the host on the command line.
func (p *program) readSettings(dir string) (hosts.Settings, error) {
	name, err := p.options.settingsFile(dir)
	if name == "" || err != nil {
		return hosts.Settings{}, err
	}
	file, err := hosts.Load(name)
	if err != nil {
		return hosts.Settings{}, err
	}
	_, host := splitDestination(p.options.destination)
	names := []string{host}
	if name, _, err := net.SplitHostPort(host); err == nil {
		names = append(names, name)
	} else if p.options.port.set {
		names = append(names, net.JoinHostPort(host, p.options.port.value))
	}
	return file.For(names...), nil
}

// runOnce runs one command and returns its exit code.
func (p *program) runOnce(ctx context.Context, request *proto.Run, signals <-chan string) (int, error) {
	cmd := &client.Command{Run: *request, Stdout: output(p.out), Stderr: output(p.err), Signals: signals}
	if cmd.Run.ID == (proto.ExecID{}) {
		cmd.Run.ID = client.NewID()
	}
	if !p.options.noStdin {
		cmd.Stdin = p.typed()
	}
	run := p.client.Run
	if len(request.Pty) > 0 {
		run = p.runOnTerminal
	}
	result, err := run(ctx, cmd)
	if recordErr := p.writeRecord(cmd.Run.ID, result, err); recordErr != nil {
		err = errors.Join(err, recordErr)
	}
	return p.outcome(result, err)
}

// output is where a stream of the command goes. Output for a closed file is an error, not a nothing.
func output(f *os.File) io.Writer {
	if wasClosed(f) {
		return closedFile{}
	}
	return f
}

type closedFile struct{}

func (closedFile) Write([]byte) (int, error) { return 0, os.ErrClosed }

// outcome tells the end of a run and returns its exit code.
func (p *program) outcome(r *client.Result, err error) (int, error) {
	if r != nil {
		p.tell(r)
	}
	return exitCode(r, err)
}

// exitCode is what the program exits with. Only a result gives a code of the command's; an error is
// ours, and makes 255.
func exitCode(r *client.Result, err error) (int, error) {
	var output *client.OutputError
	if errors.As(err, &output) && errors.Is(err, syscall.EPIPE) {
		err = nil // whoever read our output has what it wanted; the command saw that as a closed pipe
	}
	if r == nil || err != nil {
		return exitOurs, err
	}
	// An outcome that is told again is that of an execution whose output somebody has had; but not to who comes
	// back for it.
	again := r.Replayed && r.Resumed == 0
	if r.Code == 0 && !again && (r.Truncated || r.Missing != [2]uint64{}) {
		return exitOurs, nil // never a success while output is missing
	}
	return int(r.Code), nil
}

func (p *program) hold(ctx context.Context, signals <-chan string) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-signals:
			cancel(errStopped)
		case <-ctx.Done():
		}
	}()
	err := p.client.Hold(ctx)
	if errors.Is(context.Cause(ctx), errStopped) {
		return 0, nil
	}
	return 0, fmt.Errorf("the connection ended: %w", err)
}

var errStopped = errors.New("stopped by a signal")

// catchSignals returns the signals that are the command's, by their names. One that was ignored when
// this program started stays ignored: sftp(1) and nohup(1) rely on it.
func catchSignals() <-chan string {
	byNumber := map[os.Signal]string{
		syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGQUIT: "QUIT",
	}
	caught := make(chan os.Signal, 8)
	for sig := range byNumber {
		if !signal.Ignored(sig) {
			signal.Notify(caught, sig)
		}
	}
	// A closed stdout is an error to handle, not a reason to die without telling the command.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	names := make(chan string)
	go func() {
		for sig := range caught {
			names <- byNumber[sig]
		}
	}()
	return names
}
