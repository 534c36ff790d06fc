package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"

	"rexec/internal/client"
)

// plainLines reads lines as a terminal gives them: for one that knows no escape sequences, and where output goes
// elsewhere. Commands run without a terminal of the server's, and have no input.
type plainLines struct {
	p       *program
	out     io.Writer // prompts
	signals <-chan string
	lines   chan string
	failed  chan error
	next    chan struct{}
}

func (p *program) readPlainly(signals <-chan string) *plainLines {
	l := &plainLines{
		p: p, out: p.words, signals: signals,
		lines: make(chan string), failed: make(chan error, 1), next: make(chan struct{}, 1),
	}
	if term.IsTerminal(int(p.out.Fd())) {
		l.out = p.localOut()
	}
	go l.readAhead() // a Read from a terminal ends with the process
	return l
}

func (*plainLines) escapes() bool { return false }
func (*plainLines) add(string)    {}
func (*plainLines) close()        {}

// readAhead reads one line each time that it is asked to, so that no input is taken from under a program that is
// started later.
func (l *plainLines) readAhead() {
	r := bufio.NewReader(l.p.in)
	for range l.next {
		line, err := r.ReadString('\n')
		if err != nil { // what nobody pressed Enter behind does not run
			l.failed <- err
			return
		}
		l.lines <- strings.TrimSuffix(line, "\n")
	}
}

// read waits for a line. An interrupt only begins a new one, as in a shell; other signals end the prompt.
func (l *plainLines) read(_ context.Context, text string) (string, error) {
	fmt.Fprint(l.out, text)
	l.next <- struct{}{}
	for {
		select {
		case line := <-l.lines:
			return line, nil
		case err := <-l.failed:
			if errors.Is(err, io.EOF) {
				fmt.Fprintln(l.out)
			}
			return "", err
		case name := <-l.signals:
			if name != "INT" {
				fmt.Fprintln(l.out)
				return "", errSignaled
			}
			fmt.Fprint(l.out, "\n", text)
		}
	}
}

func (l *plainLines) run(ctx context.Context, cmd *client.Command) (*client.Result, error) {
	cmd.Signals = l.signals
	return l.p.client.Run(ctx, cmd)
}
