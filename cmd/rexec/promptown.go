package main

import (
	"fmt"
	"strconv"
	"strings"

	"rexec/internal/charset"
)

const promptHelp = `Each line is a command of its own for the account's shell on the server.
cd and export last from line to line.

  help, ?           this text
  exit [N], quit    end the prompt, as Ctrl-D on an empty line does
  :charset [C]      show or set what output is converted from: auto, raw,
                    utf-8, gbk or gb18030
  :help, :quit [N]  the same as without the colon

  Tab               complete          Ctrl-A, Ctrl-E  go to begin, end
  Up, Down          earlier lines     Alt-B, Alt-F    go a word back, on
  Ctrl-R            find one          Ctrl-W, Alt-D   delete a word
  Ctrl-C            drop the line     Ctrl-U, Ctrl-K  delete to begin, end
  Ctrl-L            clear the screen  Ctrl-Y          put it back
  Ctrl-Z            stop rexec        Alt-Enter       begin a new line

An unfinished line goes on below. What is pasted runs with Enter only. A
line that begins with a space is not kept in the history. While a command
runs, keys go to it; ~. behind Enter ends one that hangs.
`

// exitLine reports whether a line ends the prompt, and with which exit code.
func exitLine(line string) (code int, ok bool) {
	words := strings.Fields(line)
	switch {
	case len(words) == 0 || len(words) > 2:
		return 0, false
	case words[0] != "exit" && words[0] != "quit" && words[0] != ":quit" && words[0] != ":exit":
		return 0, false
	case len(words) == 1:
		return 0, true
	}
	n, err := strconv.ParseUint(words[1], 10, 8)
	return int(n), err == nil
}

// own carries out a line for the prompt itself, and reports false for one that is the shell's: a colon is one of its
// commands, so what is ours has a letter right behind it.
func (s *prompt) own(line string) bool {
	words := strings.Fields(line)
	name := words[0]
	switch {
	case len(words) == 1 && (name == "help" || name == "?"), name == ":help":
		fmt.Fprint(s.p.words, promptHelp)
	case len(name) < 2 || name[0] != ':' || !isLetter(name[1]):
		return false
	case name == ":charset" && len(words) <= 2:
		s.charset(words[1:])
	default:
		errorf(s.p.words, "%s: not a command of the prompt", printable(line))
		hintf(s.p.words, ":help shows those that there are")
	}
	return true
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// charset shows or sets from what output is converted.
func (s *prompt) charset(names []string) {
	c := &s.p.charsets
	if len(names) > 0 {
		source, err := charset.ParseMode(names[0])
		if err != nil {
			errorf(s.p.words, "%s: want auto, raw, utf-8, gbk or gb18030", printable(names[0]))
			return
		}
		c.source = source.String()
		convert := source != charset.Raw
		c.output = [2]bool{convert, convert}
		r := &s.request
		r.Charset, r.Source, r.RawStdout, r.RawStderr = "", "", false, false
		c.ask(r)
	}
	switch {
	case c.output == [2]bool{}:
		notef(s.p.words, "output is shown as it comes")
	case c.source == "" || c.source == "declared":
		notef(s.p.words, "output is taken for what the server says, and shown in %s", s.request.Charset)
	default:
		notef(s.p.words, "output is taken for %s, and shown in %s", c.source, s.request.Charset)
	}
}
