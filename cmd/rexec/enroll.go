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
	replace := set.Bool("replace", false, "")
	help := set.BoolP("help", "h", false, "")
	if err := set.Parse(args); err != nil {
		return misuse("%v", err)
	}
	if *help {
		_, err := fmt.Fprint(p.out, usage)
		return err
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
	token, err := auth.ParseToken(pasted(text))
	if err != nil {
		return err
	}
	dir, err := configDir()
	if err != nil {
		return err
	}
	store := auth.OpenClientStore(dir)
	put := store.Enroll
	if *replace {
		put = store.Replace
	}
	path, err := put(token, *name)
	if err != nil {
		return err
	}
	notef(p.words, "key %s for %s is stored in %s; try: rexec %s", token.Key.KeyID, token.Address, path, token.Address)
	return nil
}

// pasted takes the token out of the line that rexecd key add prints, and leaves any other text as it is.
func pasted(text string) string {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, "rexec enroll ")
	if !ok {
		return text
	}
	rest = strings.TrimSpace(rest)
	if n := len(rest); n >= 2 && rest[0] == '\'' && rest[n-1] == '\'' {
		rest = rest[1 : n-1]
	}
	return rest
}

// readToken reads a token, or the line with it, from stdin, without an echo at a terminal.
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
