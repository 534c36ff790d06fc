package main

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"rexec/internal/charset"
	"rexec/internal/lineedit"
	"rexec/internal/proto"
	"rexec/internal/ttymode"
)

// editedLines reads lines with an editor. From its begin to its end the terminal is raw.
type editedLines struct {
	s       *prompt
	keys    *lineedit.Keyboard
	editor  *lineedit.Editor
	history *lineedit.History // nil: none is kept
	pty     bool              // lines run on a terminal
	modes   []proto.Mode      // that this terminal had
	asking  chan struct{}     // holds one while a completion is under way
}

// edit makes the terminal raw and an editor for it, and lines run on terminals of the server from here on.
func (s *prompt) edit(ctx context.Context) (*editedLines, error) {
	p := s.p
	awaitForeground(p.in)
	l := &editedLines{
		s: s, asking: make(chan struct{}, 1), pty: p.options.ssh.tty() != "no" && !p.options.noStdin, modes: ttymode.Read(int(p.in.Fd())),
	}
	if err := p.raw.begin(p.in, p.out); err != nil {
		return nil, err
	}
	l.keys = lineedit.NewKeyboard(terminalInput(p.in, &p.raw))
	entries, notKept := l.openHistory()
	editor, err := lineedit.New(lineedit.Options{
		Keys: l.keys, Out: p.localOut(), Size: p.size, Decode: p.charsets.decoder(),
		Suspend:    func(ctx context.Context) { stopAndGoOn(ctx, p.in) },
		Unfinished: lineedit.Unfinished, Complete: l.complete, History: entries,
	})
	if err != nil {
		return nil, err
	}
	if l.editor = editor; term.IsTerminal(int(p.err.Fd())) {
		p.words = editor // which shows words above the line that is edited
	}
	if notKept != nil {
		s.once("the history is not kept: " + printable(notKept.Error()))
	}
	go p.raw.watchStops(ctx, p.in, l.editor.Redraw)
	windows := make(chan proto.Window)
	go watchWindow(ctx, p.out, windowOf(p.out), windows)
	go func() {
		for range windows {
			l.editor.Resized()
		}
	}()
	return l, nil
}

func (*editedLines) escapes() bool { return true }

func (l *editedLines) close() { l.editor.Close() }

// read lets the user edit a line. A signal that ends the prompt ends that, too.
func (l *editedLines) read(_ context.Context, text string) (string, error) {
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := l.editor.ReadLine(text)
		done <- result{line, err}
	}()
	for {
		select {
		case r := <-done:
			return r.line, r.err
		case name := <-l.s.signals:
			if name != "INT" { // ^C is a key here, so this one came from elsewhere, and means nothing to an editor
				l.editor.Close()
				<-done
				return "", errSignaled
			}
		}
	}
}

// add adds a line to the history.
func (l *editedLines) add(line string) {
	if l.history == nil {
		if line[0] != ' ' {
			l.editor.Add(line)
		}
		return
	}
	kept, err := l.history.Add(line)
	if err != nil {
		l.s.once("the history is not kept: " + printable(err.Error()))
	}
	if kept || err != nil {
		l.editor.Add(line)
	}
}

// completeTime is how long an answer is of use to who types.
const completeTime = 700 * time.Millisecond

// complete asks the server. The client does one thing at a time, so a question that is given up has to be over before
// the next one, or the next line.
func (l *editedLines) complete(ctx context.Context, text string) (lineedit.Completion, error) {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return lineedit.Completion{}, ctx.Err()
	}
	c := &l.s.p.charsets
	line, err := c.remote("line", c.localBytes(text))
	if err != nil {
		return lineedit.Completion{}, err
	}
	answer, err := l.s.p.client.Complete(ctx, l.s.state, line, &l.s.request)
	if err != nil {
		l.s.p.logf("no completion: %v", err)
		return lineedit.Completion{}, err
	}
	out := lineedit.Completion{Start: len(c.hostText(string(line[:answer.Start]))), More: answer.More}
	for _, one := range answer.Candidates {
		out.Candidates = append(out.Candidates, lineedit.Candidate{
			Text: c.utf8(one.Text), Shown: printable(c.utf8(one.Shown)), Open: one.Kind == proto.KindDir,
		})
	}
	return out, nil
}

// idle waits until no completion is under way.
func (l *editedLines) idle() {
	l.asking <- struct{}{}
	<-l.asking
}

// localOut is stdout for text in UTF-8.
func (p *program) localOut() io.Writer {
	if m := p.charsets.local; m != charset.UTF8 && m != charset.Raw {
		return &localWriter{p.out, m}
	}
	return p.out
}

// localBytes is a line of the editor, which is UTF-8, as this side's terminal would have sent it.
func (c *charsets) localBytes(text string) string {
	if c.local == charset.UTF8 || c.local == charset.Raw {
		return text
	}
	b, err := charset.EncodeCommand(c.local, text)
	if err != nil {
		return text // which cannot be, of what came from there, and is then refused
	}
	return string(b)
}

// hostText is text of the host in UTF-8.
func (c *charsets) hostText(text string) string { return converted(c.cmd, charset.UTF8, text) }

// typedHere is what was typed for the host as this side's terminal has sent it.
func (c *charsets) typedHere(typed []byte) []byte {
	return []byte(converted(c.cmd, c.local, string(typed)))
}

// decoder takes what is typed apart into characters; nil for UTF-8.
func (c *charsets) decoder() lineedit.Decode {
	if c.local == charset.UTF8 || c.local == charset.Raw {
		return nil
	}
	return func(b []byte) (rune, int) {
		// One byte, two, or four of which the second is a digit (GB 18030).
		size := 1
		if b[0] >= 0x80 {
			size = 2
		}
		if size == 2 && len(b) > 1 && b[1] >= '0' && b[1] <= '9' {
			size = 4
		}
		if len(b) < size {
			return 0, 0
		}
		text, err := charset.DecodeText(c.local, b[:size])
		if r := []rune(text); err == nil && len(r) == 1 {
			return r[0], size
		}
		return '\uFFFD', 1
	}
}

// openHistory returns what the history of the server has. An error is why none is kept.
func (l *editedLines) openHistory() ([]string, error) {
	path, err := historyPath(os.Getenv, l.s.p.target.key.Token.Key.Server.String())
	if err != nil {
		return nil, err
	}
	var entries []string
	l.history, entries, err = lineedit.OpenHistory(path)
	return entries, err
}
