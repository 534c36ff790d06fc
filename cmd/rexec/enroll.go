package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"rexec/internal/auth"
)

// enroll stores the key of a token.
func (p *program) enroll(args []string) error {
	set := pflag.NewFlagSet("enroll", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	name := set.String("name", "", "")
	if err := set.Parse(args); err != nil {
		return misuse("%v", err)
	}
	if set.NArg() > 1 {
		return misuse("enroll takes one token; if it was pasted with spaces or line breaks, remove them")
	}
	text := set.Arg(0)
	if text == "" || text == "-" {
		var err error
		if text, err = p.readToken(); err != nil {
			return err
		}
	}
	token, err := auth.ParseToken(text)
	if err != nil {
		return err
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	path, err := store.Enroll(token, *name)
	if err != nil {
		return err
	}
	notef(p.err, "key %s for %s is stored in %s; try: rexec %s", token.Key.KeyID, token.Address, path, token.Address)
	return nil
}

// readToken reads a token from stdin, without an echo at a terminal.
func (p *program) readToken() (string, error) {
	if fd := int(p.in.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(p.err, "token: ")
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(p.err)
		return string(b), err
	}
	line, err := bufio.NewReader(io.LimitReader(p.in, 4<<10)).ReadString('\n')
	if err == io.EOF {
		err = nil
	}
	return strings.TrimSpace(line), err
}
