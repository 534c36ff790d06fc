package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

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
		if slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "rexec:") }) {
			return misuse("%v; a token with spaces or line breaks needs quotes around it", err)
		}
		return misuse("%v", err)
	}
	if *help {
		_, err := fmt.Fprint(p.out, usage)
		return err
	}
	text := pasted(strings.Join(set.Args(), ""))
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

// pasted takes the token out of what was copied with it: the line that rexecd key add prints, and the spaces and line
// breaks that a terminal or a mail has put in, which no token has.
func pasted(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff' { // and spaces without a width
			return -1
		}
		return r
	}, text)
	return strings.Trim(strings.TrimPrefix(text, enrollWords), `'"`)
}

// enrollWords are what stands before the token in that line, without the spaces.
const enrollWords = "rexecenroll"

// readToken reads a token, or the line with it, from stdin, without an echo at a terminal. One that was broken into
// lines is read to its end, so that no part of it is left for a shell.
func (p *program) readToken() (string, error) {
	next := p.tokenLines()
	for text := ""; ; {
		line, err := next(text == "")
		text += line
		token := pasted(text)
		blank := strings.TrimSpace(line) == ""
		switch {
		case errors.Is(err, io.EOF):
			return token, nil
		case err != nil || blank || !auth.TokenCut(token) && !strings.HasPrefix(enrollWords, token):
			return token, err
		}
	}
}

// tokenLines returns what reads stdin line by line.
func (p *program) tokenLines() func(first bool) (string, error) {
	if fd := int(p.in.Fd()); term.IsTerminal(fd) {
		return func(first bool) (string, error) {
			if first {
				fmt.Fprint(p.err, "token: ")
			} else {
				fmt.Fprint(p.err, "the rest of it: ")
			}
			b, err := term.ReadPassword(fd)
			fmt.Fprintln(p.err)
			return string(b), err
		}
	}
	in := bufio.NewReader(io.LimitReader(p.in, 4<<10))
	return func(bool) (string, error) { return in.ReadString('\n') }
}
