package main

// Words for the person at the terminal. Rules: to stderr, "rexec: error: ..." and then
// "rexec: hint: ..." with the option or file to change; lower case, no full stop. Stdout belongs to the
// remote command alone. What a server says is shown with its control characters made visible.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"unicode"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/transport"
)

func errorf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexec: error: "+format+"\n", args...)
}

func hintf(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "rexec: hint: "+format+"\n", args...)
}

func notef(w io.Writer, format string, args ...any) { fmt.Fprintf(w, "rexec: "+format+"\n", args...) }

// logf tells what happens on the way, in the shape that callers of ssh -v skip.
func (p *program) logf(format string, args ...any) {
	if p.options.verbose > 0 && !p.options.quiet {
		fmt.Fprintf(p.words, "debug1: "+format+"\n", args...)
	}
}

// fail tells an error and what to do about it, and returns the exit code.
func (p *program) fail(err error) int {
	if err == nil {
		return 0
	}
	errorf(p.words, "%s", printable(err.Error()))
	if hint := p.hint(err); hint != "" {
		hintf(p.words, "%s", hint)
	}
	return exitOurs
}

// hint is what to do about an error; empty if nobody could tell.
func (p *program) hint(err error) string {
	var misused *usageError
	var key *keyError
	var denied *auth.DeniedError
	var lost *client.LostError
	var said *proto.Error
	var dns *net.DNSError
	var hazard *hazardError
	var text *textError
	var unsupported *unsupportedError
	switch {
	case errors.As(err, &hazard):
		return "write it another way, use --argv, or insist with --cmd-charset-unsafe"
	case errors.As(err, &text):
		return "nothing was sent; --cmd-charset says what the host wants, --local-charset what this terminal sends"
	case errors.As(err, &unsupported):
		return "nothing was done; leave it out, or use ssh for this"
	case errors.As(err, &misused):
		return "rexec --help shows the options"
	case errors.As(err, &key):
		return key.hint
	case errors.As(err, &said) && said.Code == proto.ErrorTakenOver:
		return "another rexec asked for the same --id and gets its output and its outcome"
	case errors.As(err, &lost) && p.prompting:
		return "it may have run, or run still; nothing was started twice"
	case errors.As(err, &lost):
		return "it may have run, or run still; nothing was started twice. With --id NAME it is safe to ask again"
	case errors.As(err, &denied):
		return "the server knows the key and gives the reason itself; ask its administrator"
	case errors.Is(err, auth.ErrRefused):
		return "the key may have been revoked: ask for a new token, made there with rexecd key add NAME"
	case errors.Is(err, auth.ErrServerProof):
		return "another machine may answer at this address; the command was not sent. On the right one, rexecd id shows the server's ID"
	case errors.Is(err, transport.ErrVersion), errors.Is(err, transport.ErrALPN):
		return "the server needs TLS 1.3 and must be rexecd: another program may listen on that port"
	case errors.As(err, &dns):
		return "check the host's name"
	case errors.Is(err, syscall.ENOTDIR):
		return "keys and settings are in a directory below HOME or XDG_CONFIG_HOME"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check the port (-p), and that rexecd runs on the host"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server, or something on the way, hung up: the server's log may say why, as too many connections or open files"
	case isTimeout(err):
		return "the host does not answer: check its address, and that no firewall drops the port"
	}
	return ""
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// tell says what an exit code alone does not.
func (p *program) tell(r *client.Result) {
	switch r.State {
	case proto.StateRefused, proto.StateLost:
		errorf(p.words, "%s%s", printable(p.program(r.Cause)), printable(r.Reason))
		if hint := refusalHint(r.Cause); hint != "" {
			hintf(p.words, "%s", hint)
		}
	case proto.StateTimeout, proto.StateKilled:
		errorf(p.words, "the command was ended: %s", printable(r.Reason))
	}
	p.tellMemory(r)
	for i, n := range r.Missing {
		if n > 0 && !r.Replayed {
			errorf(p.words, "%d bytes of %s are missing: an earlier client got them, or they were kept for too long", n, proto.Stream(i+1))
		}
	}
	if r.Replayed && !p.options.quiet {
		notef(p.words, "this is the outcome of an earlier run; its output is not kept")
	}
	if r.Background {
		p.logf("processes in the background still hold the command's output")
	}
	if r.Charset != "" {
		p.logf("output taken for %s, lines converted: %d", r.Charset, r.ConvertedLines)
	} else if p.options.charset.set && p.charsets.output != [2]bool{} && r.StdoutBytes+r.StderrBytes > 0 && !r.Replayed && !p.options.quiet {
		notef(p.words, "the output was not converted: the server does not know how, or was told that it is raw")
	}
	if r.Resumed > 0 {
		p.logf("lost connections made good: %d", r.Resumed)
	}
}

// tellMemory says that memory was the reason, where the code says KILL or only that something went wrong.
func (p *program) tellMemory(r *client.Result) {
	switch {
	case r.Cause != proto.CauseMemory:
	case r.State == proto.StateSignaled:
		errorf(p.words, "the command was ended: %s", printable(r.Reason))
		hintf(p.words, "exec.max_memory in rexecd.toml is what one command may have on that server, if it is set")
	case !p.options.quiet:
		notef(p.words, "warning: %s", printable(r.Reason))
	}
}

// program is what a message about a program that cannot be executed begins with.
func (p *program) program(c proto.Cause) string {
	if p.options.argv && (c == proto.CauseNotFound || c == proto.CauseCannotExec) {
		return p.charsets.utf8(p.options.words[0]) + ": "
	}
	return ""
}

func refusalHint(c proto.Cause) string {
	switch c {
	case proto.CausePolicy:
		return "the key's options on the server decide what it may do: rexecd key list"
	case proto.CauseConflict:
		return "choose another --id"
	case proto.CauseShutdown:
		return "try again once the daemon is back"
	case proto.CauseAccount:
		return "the account that the key names must exist on the server and have a login shell"
	case proto.CauseNotFound:
		return "check the program's name; the server's PATH is set by exec.path in rexecd.toml"
	}
	return ""
}

// printable makes the control characters of a text visible, C1 and bidirectional ones included, so
// that a server cannot drive the terminal of who reads its messages.
func printable(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case r < 0x20 || r == 0x7f:
			b.WriteByte('^')
			b.WriteRune(r ^ 0x40)
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, "<%U>", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
