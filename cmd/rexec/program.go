package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/term"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// exitOurs is the exit code of everything that is not the command's doing.
const exitOurs = 255

// program is one invocation.
type program struct {
	in       *os.File
	out, err *os.File
	options  *options
	target   *target
	status   *os.File // where records of outcomes go; nil: nowhere
	store    *auth.ClientStore
	client   *client.Client
}

// run is the whole program; it returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "enroll" {
		return p.fail(p.enroll(args[1:]))
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
	if err := p.openStatus(); err != nil {
		return p.fail(err)
	}
	request, err := p.prepare()
	if err != nil {
		return p.fail(errors.Join(err, p.writeRecord(proto.ExecID{}, nil, err)))
	}
	code, err := p.connectAndRun(ctx, request)
	if err != nil {
		return p.fail(err)
	}
	return code
}

// prepare finds everything that is needed before a connection.
func (p *program) prepare() (*proto.Run, error) {
	request, err := p.options.request(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if p.store, err = openStore(); err != nil {
		return nil, err
	}
	if p.target, err = resolve(p.options, p.store); err != nil {
		return nil, err
	}
	request.User = p.target.user
	return request, nil
}

func (p *program) connectAndRun(ctx context.Context, request *proto.Run) (int, error) {
	p.client = client.New(client.Options{
		Address: p.target.address, Key: p.target.key.Token.Key, Target: p.options.destination,
		Pins: p.store, Log: p.logf,
	})
	defer func() { _ = p.client.Close() }() // the outcome is known by then
	signals := catchSignals()
	switch {
	case p.options.hold:
		return p.hold(ctx, signals)
	case len(request.Shell) > 0 || len(request.Argv) > 0:
		return p.runOnce(ctx, request, signals)
	case term.IsTerminal(int(p.in.Fd())):
		return p.prompt(ctx, request, signals)
	}
	request.Script = true
	return p.runOnce(ctx, request, signals)
}

// openStore opens the directory of keys (XDG Base Directory Specification).
func openStore() (*auth.ClientStore, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, &keyError{text: "no place to look for keys: " + err.Error(), hint: "set HOME or XDG_CONFIG_HOME"}
	}
	return auth.OpenClientStore(filepath.Join(dir, "rexec")), nil
}

// runOnce runs one command and returns its exit code.
func (p *program) runOnce(ctx context.Context, request *proto.Run, signals <-chan string) (int, error) {
	cmd := &client.Command{Run: *request, Stdout: output(p.out), Stderr: output(p.err), Signals: signals}
	if cmd.Run.ID == (proto.ExecID{}) {
		cmd.Run.ID = client.NewID()
	}
	if !p.options.noStdin {
		cmd.Stdin = p.in
	}
	result, err := p.client.Run(ctx, cmd)
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
	if r.Code == 0 && !r.Replayed && (r.Truncated || r.Missing != [2]uint64{}) {
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
