package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"rexec/internal/charset"
	"rexec/internal/hosts"
	"rexec/internal/proto"
)

// charsets are what is converted on the way, and from what into what.
type charsets struct {
	local  charset.Mode // of this terminal: what it shows, what is typed at it and in the command line
	cmd    charset.Mode // of command text, arguments and typed input on the host
	output [2]bool      // stdout, stderr: shall come in local
	source string       // what the output is in, as proto.Run says it
	unsafe bool         // let a shell see half of a character
}

// chooseCharsets brings together what the command line, the settings for the host and this side's locale
// say, in this order.
func (p *program) chooseCharsets(s hosts.Settings) (charsets, error) {
	o := p.options
	local, chinese := localCharset()
	c := charsets{local: local, cmd: charset.UTF8, unsafe: o.cmdCharsetUnsafe}
	for _, choice := range []struct {
		m        *charset.Mode
		option   modeOption
		settings string
	}{
		{&c.local, o.localCharset, string(s.LocalCharset)}, {&c.cmd, o.cmdCharset, string(s.CmdCharset)},
	} {
		var err error
		if choice.option.set {
			*choice.m = choice.option.mode
		} else if choice.settings != "" {
			*choice.m, err = charset.ParseMode(choice.settings)
		}
		if err != nil {
			return c, err
		}
	}
	named := o.charset.set || o.localCharset.set
	switch {
	case o.charset.set:
		c.source = o.charset.mode.String()
	default:
		// Only where Chinese is read may text be taken for it; a server that knows is believed anywhere.
		c.source = string(s.Charset)
		if c.source == "" && !chinese && !o.localCharset.set && s.LocalCharset == "" {
			c.source = proto.SourceDeclared
		}
	}
	// A pipe gets the bytes themselves: the program behind it may want just them. So does a terminal whose
	// charset is none of ours.
	for i, f := range []*os.File{p.out, p.err} {
		terminal := c.local != charset.Raw && term.IsTerminal(int(f.Fd()))
		c.output[i] = (named || terminal) && c.source != charset.Raw.String()
	}
	return c, nil
}

// localCharset is what this side's terminal takes, and whether its user is likely to read Chinese.
func localCharset() (m charset.Mode, chinese bool) {
	m, chinese = charset.OfLocale(charset.Locale(os.Getenv))
	if console, reads, ok := consoleCharset(); ok {
		return console, chinese || reads
	}
	return m, chinese
}

// ask puts into a request in which charset its output is wanted.
func (c *charsets) ask(r *proto.Run) {
	if c.output == [2]bool{} {
		return
	}
	r.Charset, r.Source = c.local.String(), c.source
	if c.local == charset.Raw {
		r.Charset = charset.UTF8.String()
	}
	r.RawStdout, r.RawStderr = !c.output[0], !c.output[1]
}

// textError says which text of the command line cannot be sent.
type textError struct {
	what string
	err  error
}

func (e *textError) Error() string { return e.what + ": " + e.err.Error() }
func (e *textError) Unwrap() error { return e.err }

// hazardError says that a shell could see a part of a character.
type hazardError struct {
	char     rune
	position int
	charset  charset.Mode
}

func (e *hazardError) Error() string {
	return fmt.Sprintf("character %d, %q, holds in %s a byte on which a shell can act, such as a backquote or a bar",
		e.position, e.char, e.charset)
}

// remote converts text of this side into the bytes that the host gets. Between equal charsets nothing is
// looked at: arguments are bytes, and not always text.
func (c *charsets) remote(what, text string) ([]byte, error) {
	if c.local == c.cmd || c.local == charset.Raw {
		return []byte(text), nil
	}
	decoded, err := charset.DecodeText(c.local, []byte(text))
	var out []byte
	if err == nil {
		out, err = charset.EncodeCommand(c.cmd, decoded)
	}
	if err != nil {
		return nil, &textError{what, err}
	}
	return out, nil
}

// shell is remote for text that a shell reads.
func (c *charsets) shell(what, text string) ([]byte, error) {
	out, err := c.remote(what, text)
	if err != nil || c.cmd == charset.UTF8 || c.unsafe {
		return out, err
	}
	if char, position := charset.ShellHazard(out); char != 0 {
		return nil, &textError{what, &hazardError{char, position, c.cmd}}
	}
	return out, nil
}

// utf8 is text of this side in UTF-8, for messages and for what is text on the wire.
func (c *charsets) utf8(text string) string {
	return converted(c.local, charset.UTF8, text)
}

func converted(from, to charset.Mode, text string) string {
	if from == to || !charset.Converts(from, to) {
		return text
	}
	conv := charset.NewConverter(from, to)
	return string(conv.Close(conv.Append(nil, []byte(text))))
}

// typed is stdin as the command gets it: what is typed is text, anything else bytes.
func (p *program) typed() io.Reader {
	c := &p.charsets
	nothing := c.local == charset.Raw || c.local == charset.UTF8 && c.cmd == charset.UTF8
	if nothing || !term.IsTerminal(int(p.in.Fd())) {
		return terminalInput(p.in, &p.raw)
	}
	return &typedReader{r: terminalInput(p.in, &p.raw), p: p}
}

// typedReader converts what is typed, a line at a time. A line that cannot be converted, or that a shell
// could take for another one, is not sent: with something else in the place of a character it would be
// another line.
type typedReader struct {
	r    io.Reader
	p    *program
	in   [4 << 10]byte // a terminal gives no longer lines (termios(3), canonical mode)
	rest []byte
}

// Read implements [io.Reader].
func (r *typedReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		n, err := r.r.Read(r.in[:])
		if n > 0 {
			var refused error
			if r.rest, refused = r.p.charsets.shell("this line", string(r.in[:n])); refused != nil {
				r.p.fail(refused)
			}
		}
		if err != nil && len(r.rest) == 0 {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// localWriter writes the program's own words, which are UTF-8, for a terminal in another charset.
type localWriter struct {
	w  io.Writer
	to charset.Mode
}

// Write implements [io.Writer]. Words come whole.
func (l *localWriter) Write(b []byte) (int, error) {
	c := charset.NewConverter(charset.UTF8, l.to)
	if _, err := l.w.Write(c.Close(c.Append(nil, b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// speak makes messages come in a charset.
func (p *program) speak(m charset.Mode) {
	p.words = p.err
	if m != charset.UTF8 && m != charset.Raw {
		p.words = &localWriter{p.err, m}
	}
}

// modeOption is an option that names a charset; the first one given counts, as in ssh.
type modeOption struct {
	mode charset.Mode
	set  bool
	text bool // only what text can be written in
}

func (m *modeOption) String() string { return m.mode.String() }

// Type implements [pflag.Value].
func (*modeOption) Type() string { return "charset" }

// Set implements [pflag.Value].
func (m *modeOption) Set(name string) error {
	mode, err := charset.ParseMode(name)
	if m.text && (err != nil || mode == charset.Auto || mode == charset.Raw) {
		return errors.New("want utf-8, gbk or gb18030")
	}
	if err != nil {
		return errors.New("want auto, raw, utf-8, gbk or gb18030")
	}
	if !m.set {
		m.mode, m.set = mode, true
	}
	return nil
}
