package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// run runs a command: on a terminal of the server if the key may have one. One without output is rexec's own.
func (l *editedLines) run(ctx context.Context, cmd *client.Command) (*client.Result, error) {
	l.idle()
	if cmd.Stdout == nil || !l.pty {
		return l.runWithoutTerminal(ctx, cmd)
	}
	result, err := l.runOnTerminal(ctx, *cmd)
	if err != nil || result.State != proto.StateRefused || result.Cause != proto.CausePolicy {
		return result, err
	}
	// Refused, so nothing was run. It may be the terminal that the key must not have.
	cmd.Run.ID = client.NewID()
	again, err := l.runWithoutTerminal(ctx, cmd)
	if err == nil && again.State != proto.StateRefused {
		l.pty = false
		l.s.once("each line runs without a terminal, and has no input: " + printable(result.Reason))
	}
	return again, err
}

// runOnTerminal gives the command the keyboard, and takes it back with what the command did not take.
func (l *editedLines) runOnTerminal(ctx context.Context, cmd client.Command) (*client.Result, error) {
	p := l.s.p
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	session := &session{hang: make(chan error, 1), signals: make(chan string), cancel: cancel}
	caught := make(chan string)
	wg.Go(func() { session.forward(ctx, caught) })
	wg.Go(func() { l.watchSignals(ctx, caught) })
	cmd.Signals = session.signals
	windows := make(chan proto.Window)
	cmd.Run.Pty, cmd.Run.Modes, cmd.Run.Window = []byte(terminalType(os.Getenv("TERM"))), l.modes, windowOf(p.out)
	wg.Go(func() { watchWindow(ctx, p.out, cmd.Run.Window, windows) })
	cmd.Windows = windows

	loan := l.keys.Lend()
	typed := &typedAhead{r: p.keysOf(loan, session)}
	cmd.Stdin = typed
	begun, started := context.WithCancel(ctx)
	defer started()
	cmd.Started = started
	// Before the command runs nobody reads what is typed, and it may never run.
	wg.Go(func() { l.watchInterrupts(begun, caught) })
	defer l.freshLine()
	result, err := p.client.Run(ctx, &cmd)
	loan.End()
	// What was typed for a line that was hung up, or of which nobody knows what it took, is for no other one.
	if result != nil && result.Signal != "HUP" && result.State != proto.StateLost {
		rest := typed.after(&result.Exit)
		if isCut(rest) {
			rest = nil
			l.freshLine()
			notef(p.words, "what was typed ahead is dropped: a line of it was longer than the host's terminal takes")
		}
		l.keys.Unread(p.charsets.typedHere(rest))
	}
	return result, err
}

// runWithoutTerminal runs a command that has no input. The terminal here stays raw, so what is typed is for the next line,
// but for what the terminal would have made signals of.
func (l *editedLines) runWithoutTerminal(ctx context.Context, cmd *client.Command) (*client.Result, error) {
	p := l.s.p
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	caught := make(chan string)
	wg.Go(func() { l.watchSignals(ctx, caught) })
	wg.Go(func() { l.watchInterrupts(ctx, caught) })
	cmd.Signals = caught
	if cmd.Stdout != nil {
		cmd.Stdout, cmd.Stderr = &rawWriter{p.out, &p.raw}, &rawWriter{p.err, &p.raw}
		defer l.freshLine()
	}
	return p.client.Run(ctx, cmd)
}

// watchInterrupts makes signals of the keys for them until ctx ends.
func (l *editedLines) watchInterrupts(ctx context.Context, out chan<- string) {
	const interrupt, quit = 0x03, 0x1c
	for {
		key, err := l.keys.AwaitAny(ctx, string([]byte{interrupt, quit}))
		if err != nil {
			return
		}
		name := "INT"
		if key == quit {
			name = "QUIT"
		}
		select {
		case out <- name:
		case <-ctx.Done():
			return
		}
	}
}

// watchSignals passes signals on until ctx ends, and notes those after which there is to be no other line.
func (l *editedLines) watchSignals(ctx context.Context, out chan<- string) {
	for {
		select {
		case name := <-l.s.signals:
			if name == "TERM" || name == "HUP" {
				l.s.ended = true
			}
			select {
			case out <- name:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// freshLine goes to the begin of a line, wherever the cursor is: as many spaces as the terminal has columns fill the line
// if it is there already, and else go over to the next one.
func (l *editedLines) freshLine() {
	columns, _ := l.s.p.size()
	_, _ = io.WriteString(l.s.p.out, "\x1b[0m"+strings.Repeat(" ", columns)+"\r\x1b[K") // who closed the terminal reads no error
}

// typedAhead reads what is typed for a command, and remembers the end of it.
type typedAhead struct {
	mu    sync.Mutex // held while somebody reads
	r     io.Reader
	total uint64
	last  []byte
}

// maxRemembered is more than a server takes that nobody reads, in bytes.
const maxRemembered = 4 << 20

// Read implements [io.Reader].
func (t *typedAhead) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read(b)
}

func (t *typedAhead) read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.total += uint64(n)
	t.last = append(t.last, b[:n]...)
	if len(t.last) > 2*maxRemembered { // not at each read: it copies
		t.last = append(t.last[:0], t.last[len(t.last)-maxRemembered:]...)
	}
	return n, err
}

// after is what was typed that the command did not take: what its terminal has kept, and what did not get there. What is
// read from must have come to its end.
func (t *typedAhead) after(x *proto.Exit) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	buf := make([]byte, 1<<10)
	for { // what conversion and escapes still hold
		if _, err := t.read(buf); err != nil {
			break
		}
	}
	there := x.StdinBytes + uint64(len(x.Unread)) // bytes that the terminal was given
	if there > t.total || t.total-there > uint64(len(t.last)) {
		return nil // its begin is not known, and the rest of a line must not run as one
	}
	given := len(t.last) - int(t.total-there)
	if !madeOf(x.Unread, t.last[:given]) {
		return t.last[given:]
	}
	return slices.Concat(x.Unread, t.last[given:])
}

// isCut reports whether a line is as long as a terminal takes, which leaves out what is beyond without a word (termios(3)).
func isCut(text []byte) bool {
	const most = 4095 // bytes in front of the line end, on Linux
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		if len(line) == most {
			return true
		}
	}
	return false
}

// madeOf reports whether a terminal can have made a text of what was typed: it leaves out keys that take others back,
// and what they take, and has one line end for another (termios(3), ICRNL and INLCR). A text that is not was made by
// a program there, whose words must not become lines.
func madeOf(text, typed []byte) bool {
	lineEnd := func(c byte) bool { return c == '\r' || c == '\n' }
	for _, c := range typed {
		if len(text) > 0 && (text[0] == c || lineEnd(text[0]) && lineEnd(c)) {
			text = text[1:]
		}
	}
	return len(text) == 0
}
