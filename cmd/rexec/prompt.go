package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/term"

	"rexec/internal/client"
	"rexec/internal/lineedit"
	"rexec/internal/proto"
)

// prompt reads lines and runs each as a command of its own, over one connection.
type prompt struct {
	p       *program
	request proto.Run // of each line but for what changes
	signals <-chan string
	lines   lines

	lasting bool   // cd and export shall last
	known   bool   // the server has told a state, so its shell can
	state   []byte // with which the next line begins
	place   place
	last    ending
	told    map[string]bool // notes that are made once
	ended   bool            // a signal has ended it
}

// lines is where lines come from. Their errors are [io.EOF] at the end of input, [lineedit.ErrInterrupted], and those
// of reading.
type lines interface {
	read(ctx context.Context, text string) (string, error)
	add(line string) // to the history
	escapes() bool   // the prompt's text may have escape sequences
	run(ctx context.Context, cmd *client.Command) (*client.Result, error)
	close()
}

// prompt ends with 0 at the end of input, quit or exit, and with the number behind these if there is one. A signal that
// ends it is an error.
func (p *program) prompt(ctx context.Context, request *proto.Run, signals <-chan string) (int, error) {
	if request.Name != "" {
		return 0, misuse("--id names one command, and a prompt runs many")
	}
	p.prompting = true
	s := &prompt{
		p: p, request: *request, signals: signals, lasting: true, told: map[string]bool{},
		place: place{host: p.target.host, user: p.target.user},
	}
	if p.canEdit() {
		defer p.raw.restore() // also if something here panics
		edited, err := s.edit(ctx)
		if err != nil {
			return 0, err
		}
		s.lines = edited
	} else {
		s.lines = p.readPlainly(signals)
	}
	defer s.lines.close()
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	return s.loop(ctx)
}

// canEdit reports whether there is a terminal that lines can be edited on.
func (p *program) canEdit() bool {
	return term.IsTerminal(int(p.in.Fd())) && term.IsTerminal(int(p.out.Fd())) && hasEscapes() && windowOf(p.out).Columns > 0 &&
		windowOf(p.out).Rows > 0
}

func (s *prompt) loop(ctx context.Context) (int, error) {
	for !s.ended {
		line, err := s.lines.read(ctx, s.text())
		switch {
		case errors.Is(err, lineedit.ErrInterrupted):
			continue
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return 0, err
		case strings.TrimSpace(line) == "":
			continue
		}
		s.lines.add(line)
		if code, ok := exitLine(line); ok {
			return code, nil
		}
		if s.own(line) {
			continue
		}
		if err := s.run(ctx, line); err != nil {
			return 0, err
		}
	}
	return 0, errSignaled
}

// begin runs an empty line, which brings the banner and the state that all begins with, and tells whether the key may
// have one.
func (s *prompt) begin(ctx context.Context) error {
	cmd := &client.Command{Run: s.request, Banner: s.banner}
	cmd.Run.ID, cmd.Run.Shell, cmd.Run.Lasting = client.NewID(), []byte(":"), true
	result, err := s.lines.run(ctx, cmd)
	switch {
	case err != nil:
		return err
	case result.State == proto.StateRefused && (result.Cause == proto.CausePolicy || result.Cause == proto.CauseUnsupported):
		s.lasting = false
		s.p.logf("no state: %s", printable(result.Reason))
		s.once("each line is run as it is, and cd and export do not last: the key is bound to what it may run")
	case result.State != proto.StateExited:
		s.p.tell(result)
	default:
		s.take(result)
	}
	return nil
}

// run runs one line. What goes wrong with it is told, and the prompt goes on if it can.
func (s *prompt) run(ctx context.Context, line string) error {
	text, err := s.p.charsets.shell("command", s.p.charsets.localBytes(line))
	if err != nil {
		s.p.fail(err)
		return nil
	}
	cmd := &client.Command{Run: s.request, Stdout: s.p.out, Stderr: s.p.err}
	cmd.Run.ID, cmd.Run.Shell, cmd.Run.Lasting = client.NewID(), text, s.lasting
	if len(s.state) > 0 && s.lasting {
		cmd.Run.State, cmd.Run.Dir, cmd.Run.Env = s.state, nil, nil // these are in it, as they are by now
	}
	begun := time.Now()
	result, err := s.lines.run(ctx, cmd)
	if recordErr := s.p.writeRecord(cmd.Run.ID, result, err); recordErr != nil {
		return recordErr
	}
	s.last = endingOf(result, err, time.Since(begun))
	if result == nil || err != nil {
		s.p.fail(err) // the next line finds a new connection, or says why there is none
		return nil
	}
	s.p.tell(result)
	s.take(result)
	return nil
}

// take takes over the state that a line has left.
func (s *prompt) take(result *client.Result) {
	switch {
	case !s.lasting:
	case len(result.ShellState) > 0:
		dir, env, err := proto.ParseState(result.ShellState)
		if err != nil {
			s.p.logf("the state is not understood: %v", err)
			return
		}
		s.state, s.known = result.ShellState, true
		s.place.take(string(dir), env, s.p.charsets.hostText)
	case result.ShellStateTooLarge:
		s.once("cd and export of the last line do not last: there is more in its variables than the server takes")
	case !s.known && result.State == proto.StateExited:
		s.once("cd and export do not last: the account's shell is none of which the server knows how to ask for them")
	}
}

// once makes a note, unless it was made before.
func (s *prompt) once(text string) {
	if !s.told[text] && !s.p.options.quiet {
		notef(s.p.words, "%s", text)
	}
	s.told[text] = true
}

// banner shows the operator's text.
func (s *prompt) banner(text string) {
	if s.p.options.quiet {
		return
	}
	for line := range strings.Lines(text) {
		fmt.Fprintln(s.p.words, printable(strings.TrimRight(line, "\r\n")))
	}
}
