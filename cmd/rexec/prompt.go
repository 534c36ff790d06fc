package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// prompt reads lines and runs each as a command, over one connection. It ends with 0 at the end of
// input, quit or exit.
func (p *program) prompt(ctx context.Context, request *proto.Run, signals <-chan string) (int, error) {
	if err := p.client.Connect(ctx); err != nil {
		return 0, err
	}
	lines := make(chan string)
	failed := make(chan error, 1)
	next := make(chan struct{}, 1)
	go readLines(p.in, next, lines, failed) // a Read from a terminal ends with the process
	for {
		fmt.Fprint(p.out, p.promptText())
		next <- struct{}{}
		line, err := p.awaitLine(lines, failed, signals)
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(p.out)
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		switch strings.TrimSpace(line) {
		case "":
			continue
		case "exit", "quit":
			return 0, nil
		}
		if err := p.runLine(ctx, *request, line, signals); err != nil {
			return 0, err
		}
	}
}

func (p *program) promptText() string { return p.target.host + ">>: " }

// readLines reads one line each time that it is asked to, so that no input is taken from under a
// program that is started later.
func readLines(in io.Reader, next <-chan struct{}, lines chan<- string, failed chan<- error) {
	r := bufio.NewReader(in)
	for range next {
		line, err := r.ReadString('\n')
		if line == "" && err != nil {
			failed <- err
			return
		}
		lines <- strings.TrimSuffix(line, "\n")
	}
}

// awaitLine waits for a line. An interrupt only begins a new one, as in a shell; other signals end the
// prompt.
func (p *program) awaitLine(lines <-chan string, failed <-chan error, signals <-chan string) (string, error) {
	for {
		select {
		case line := <-lines:
			return line, nil
		case err := <-failed:
			return "", err
		case name := <-signals:
			if name != "INT" {
				return "", io.EOF
			}
			fmt.Fprint(p.out, "\n", p.promptText())
		}
	}
}

// runLine runs one line. What goes wrong with it is told, and the prompt goes on if it can.
func (p *program) runLine(ctx context.Context, request proto.Run, line string, signals <-chan string) error {
	text, err := p.charsets.shell("command", line)
	if err != nil {
		p.fail(err)
		return nil
	}
	request.Shell = text
	cmd := &client.Command{Run: request, Stdout: p.out, Stderr: p.err, Signals: signals}
	cmd.Run.ID = client.NewID()
	result, err := p.client.Run(ctx, cmd)
	if recordErr := p.writeRecord(cmd.Run.ID, result, err); recordErr != nil {
		return recordErr
	}
	if result == nil || err != nil {
		p.fail(err) // the next line finds a new connection, or says why there is none
		return nil
	}
	p.tell(result)
	if result.State == proto.StateExited && result.Code != 0 && !p.options.quiet {
		notef(p.words, "exit code %d", result.Code)
	}
	return nil
}
