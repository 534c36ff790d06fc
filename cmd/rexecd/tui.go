package main

// Words for the person at the terminal. Rules: to stderr, "rexecd: error: ..." and then
// "rexecd: hint: ..." with what to do; lower case, no full stop. Stdout belongs to what was asked for:
// a token, an ID, a list.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

func errorf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: error: "+format+"\n", args...)
}

func hintf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: hint: "+format+"\n", args...)
}

func notef(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexecd: "+format+"\n", args...)
}

// report prints an error and returns the exit code: 0 done, 1 failed, 2 called wrongly.
func report(w io.Writer, err error) int {
	var misused *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misused):
		errorf(w, "%v", err)
		hintf(w, "rexecd --help shows the verbs and options")
		return 2
	}
	errorf(w, "%v", err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hintf(w, "another program has the port; choose one with --listen, or see who it is with: ss -ltnp")
	case errors.Is(err, fs.ErrPermission):
		hintf(w, "run it as the account that owns the file, or name another place with --state-dir or --config")
	}
	return 1
}
