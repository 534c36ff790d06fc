// Package lineedit reads lines at a terminal: editing, history with search, completion, pastes and texts of several
// lines, in any charset that its caller can decode.
//
// It owns the keys, what of a paste or of an unfinished text is one input, the file of a history, and the library that
// edits and draws, of which nobody else knows. It does not know what lines are for: it must not import packages of
// this module, nor the network.
package lineedit

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode"

	"github.com/ergochat/readline"
)

// Options say how an Editor works. Keys, Out and Size are needed.
type Options struct {
	Keys *Keyboard
	Out  io.Writer // takes UTF-8, with line feeds that also return the carriage
	// Size is the terminal's.
	Size   func() (columns, rows int)
	Decode Decode // of what Keys gives; default UTF-8
	// Suspend is called for Ctrl-Z; it returns when the program goes on, or with its context, which Close ends. Nil: the
	// key does nothing.
	Suspend func(ctx context.Context)
	// Unfinished says of a text that Enter continues it on a next line; default: never.
	Unfinished func(text string) bool
	// Complete says what the last word of a text may become; it ends with its context, which is cancelled by the next
	// key. Nil: Tab does nothing.
	Complete func(ctx context.Context, text string) (Completion, error)
	History  []string // oldest first
}

// maxHistory is how many entries an Editor holds.
const maxHistory = MaxEntries

// Editor reads lines. Its methods must not be called concurrently, but for Close, Redraw, Resized and Write.
type Editor struct {
	o       Options
	library *readline.Instance
	out     *screen
	feed    feeder
	prompt  string
	done    context.Context //nolint:containedctx // of the editor's own life, which Close ends
	cancel  context.CancelFunc

	mu      sync.Mutex // guards what follows, which two goroutines of the library use in turn
	line    []rune     // as the library has it
	pos     int
	search  bool        // keys go to the library's search
	act     func() bool // what the key means that the library was told to do nothing for
	acting  bool        // that is being done
	killed  []rune      // for Ctrl-Y
	resized func()      // tells the library
	reading bool
	known   bool // the library's history is not empty
}

// ErrInterrupted is returned by ReadLine when Ctrl-C was pressed.
var ErrInterrupted = errors.New("interrupted")

// New makes an editor. It prints nothing.
func New(o Options) (*Editor, error) {
	e := &Editor{o: o}
	if e.o.Decode == nil {
		e.o.Decode = decodeUTF8
	}
	e.done, e.cancel = context.WithCancel(context.Background())
	e.out = newScreen(o.Out, func() { e.feed.answer.Store(true) })
	e.feed.e = e
	var err error
	e.library, err = readline.NewFromConfig(&readline.Config{
		HistoryLimit: maxHistory, DisableAutoSaveHistory: true, HistorySearchFold: true,
		Listener: e.pressed, EOFPrompt: "\n",
		Stdin: &e.feed, Stdout: e.out, Stderr: e.out,
		FuncIsTerminal: func() bool { return true }, FuncGetSize: o.Size,
		FuncMakeRaw: e.out.pastes(true), FuncExitRaw: e.out.pastes(false),
		FuncOnWidthChanged: func(f func()) { e.resized = f },
	})
	if err != nil {
		return nil, err
	}
	for _, entry := range o.History {
		e.remember(entry)
	}
	return e, nil
}

// remember puts an entry into the history in memory.
func (e *Editor) remember(entry string) {
	marked, _ := mark(clean(entry), 0)
	_ = e.library.SaveToHistory(string(marked)) // an error could only be that of a file
	e.known = true
}

// Add makes a line the history's last one.
func (e *Editor) Add(line string) { e.remember(line) }

// ReadLine reads a line, which may be a text of several, behind a prompt of one line. The error is [ErrInterrupted]
// after Ctrl-C, [io.EOF] after Ctrl-D on an empty line or Close, and that of reading keys.
func (e *Editor) ReadLine(prompt string) (string, error) {
	if e.done.Err() != nil {
		return "", io.EOF
	}
	e.begin(prompt)
	marked, err := e.library.ReadLine()
	e.mu.Lock()
	e.reading = false
	e.mu.Unlock()
	if e.done.Err() != nil {
		return "", io.EOF // the library takes the end of its input for Enter
	}
	if errors.Is(err, readline.ErrInterrupt) {
		return "", ErrInterrupted
	}
	if err != nil {
		if e.feed.err != nil {
			err = e.feed.err
		}
		return "", err
	}
	text, _ := unmark([]rune(marked), 0)
	if len(text) > 0 && e.known {
		_ = e.library.SaveToHistory("") // back to the history's end, wherever in it the line was found
	}
	return string(text), nil
}

func (e *Editor) begin(prompt string) {
	e.mu.Lock()
	e.line, e.pos, e.search, e.act, e.prompt, e.reading = nil, 0, false, nil, prompt, true
	e.mu.Unlock()
	e.resized()
	e.library.SetPrompt(prompt)
}

// Resized is to be called when the terminal has another size.
func (e *Editor) Resized() {
	e.resized()
	e.mu.Lock()
	reading := e.reading
	e.mu.Unlock()
	if reading {
		e.library.Refresh()
	}
}

// suspend stops the program, and draws the line anew below what is on the screen then.
func (e *Editor) suspend() bool {
	if e.o.Suspend == nil {
		return false
	}
	_, _ = e.out.Write([]byte("\n")) // a terminal that is gone ends the reading, too
	_ = e.out.pastes(false)()
	e.o.Suspend(e.done)
	_ = e.out.pastes(true)()
	return true
}

// Write implements [io.Writer]: it shows whole lines, above the line that is edited if there is one.
func (e *Editor) Write(b []byte) (int, error) {
	e.mu.Lock()
	reading := e.reading
	e.mu.Unlock()
	if reading {
		return e.library.Write(b)
	}
	return e.out.Write(b)
}

// Redraw is to be called when others have used the terminal, as while the program was stopped.
func (e *Editor) Redraw() {
	e.mu.Lock()
	reading := e.reading
	e.mu.Unlock()
	if reading {
		_ = e.out.pastes(true)() // a terminal that is gone ends the reading, too
	}
	e.Resized()
}

// Close ends a ReadLine and all that come.
func (e *Editor) Close() {
	e.cancel()
	_ = e.library.Close() // which only tells how switching the terminal went
}

// pressed is called by the library after each key, and returns the line as it is to be if it is not right.
func (e *Editor) pressed(line []rune, pos int, _ rune) (fixed []rune, at int, ok bool) {
	e.mu.Lock()
	last := e.pos
	act := e.act
	e.act, e.acting = nil, act != nil
	e.mu.Unlock()
	fixed, at = tidy(line, pos, last)
	ok = at != pos || len(fixed) != len(line)
	e.set(fixed, at)
	changed := act != nil && act()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.acting = false
	return e.line, e.pos, ok || changed
}

func (e *Editor) set(line []rune, pos int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.line, e.pos, e.known = line, pos, e.known || len(line) > 0
}

// text is the text that is edited, and where the cursor is.
func (e *Editor) text() (text []rune, pos int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return unmark(e.line, e.pos)
}

// replace makes another text of it.
func (e *Editor) replace(text []rune, pos int) { e.set(mark(text, pos)) }

// insert puts characters where the cursor is.
func (e *Editor) insert(s []rune) {
	text, pos := e.text()
	out := append(append(append([]rune(nil), text[:pos]...), s...), text[pos:]...)
	e.replace(out, pos+len(s))
}

// clean makes what was pasted, or stood in a file, something that can be shown and edited: control characters but
// tabs and line ends are left out.
func clean(s string) []rune {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	var out []rune
	for _, r := range s {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && r != markFirst && r != markSecond {
			out = append(out, r)
		}
	}
	return out
}
