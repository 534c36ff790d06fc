// Package complete says what the last word of an unfinished command line may become: programs and what the shell has
// built in where a command begins, paths elsewhere, variables behind a dollar sign.
//
// It owns how much of a shell's grammar is needed for that, and the quoting of what it proposes. It runs no shell and
// writes nothing; what it looks at, it looks at through a System, with the rights of whoever runs it. A line of which
// it does not understand enough gets no candidates, never wrong ones.
package complete

import (
	"slices"
	"strings"

	"rexec/internal/proto"
)

// System is where a line would run.
type System interface {
	// Names lists a directory; relative paths are relative to where the line would run. Nothing for what cannot be read.
	Names(dir string) []string
	IsDir(path string) bool
	IsExecutable(path string) bool // a file that may be run; not a directory
	Variable(name string) (value string, ok bool)
	Variables() []string // their names
	Home(user string) (dir string, ok bool)
	Users() []string
}

// maxText bounds the text of all candidates together, in bytes.
const maxText = 512 << 10

// Complete proposes what may stand in place of the word at the end of line, for the account's shell, a path.
func Complete(sys System, shell, line string) *proto.Completion {
	s := shellOf(shell)
	at := parse(line, s.fish)
	m := &proto.Completion{Start: at.start}
	if at.none || strings.ContainsFunc(line[at.start:], func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return m
	}
	w := readWord(sys, line[at.start:], at, s.fish)
	c := collector{sys: sys, shell: s, word: w}
	c.collect(at)
	slices.SortFunc(c.found, func(a, b proto.Candidate) int {
		if d := strings.Compare(a.Text, b.Text); d != 0 {
			return d
		}
		return strings.Compare(a.Kind, b.Kind)
	})
	c.found = slices.CompactFunc(c.found, func(a, b proto.Candidate) bool { return a.Text == b.Text })
	size := 0
	for i, found := range c.found {
		if size += len(found.Text) + len(found.Shown); i == proto.MaxCandidates || size > maxText {
			m.More = len(c.found) - i
			break
		}
		m.Candidates = append(m.Candidates, found)
	}
	return m
}

// collector gathers the candidates for one word.
type collector struct {
	sys   System
	shell shell
	word  word
	found []proto.Candidate
}

func (c *collector) collect(at cursor) {
	switch w := &c.word; {
	case w.variable >= 0:
		c.variables()
	case w.opaque:
	case w.tilde && !strings.Contains(w.value, "/"):
		c.users()
	case at.command && w.dir == "" && w.cut == 0:
		c.commands()
	case at.command && w.cut > 0 && !w.assigns:
		c.paths(c.sys.IsExecutable)
	case at.dirs:
		c.paths(func(string) bool { return false })
	default:
		c.paths(func(string) bool { return true })
	}
}

// propose adds a candidate whose last part is name, quoted, behind what was typed before that part.
func (c *collector) propose(kind, name, tail string) {
	w := &c.word
	if !printable(name) {
		return
	}
	text := w.raw[:w.cut] + w.open + quote(name, w.quote, c.shell.fish) + tail
	if tail == "" && w.quote != 0 {
		text += string(w.quote)
	}
	c.found = append(c.found, proto.Candidate{Kind: kind, Text: text, Shown: name + tail})
}

// commands are the programs in PATH and what the shell has built in.
func (c *collector) commands() {
	w := &c.word
	for _, name := range c.shell.builtins() {
		if w.quote == 0 && strings.HasPrefix(name, w.last) {
			c.found = append(c.found, proto.Candidate{Kind: proto.KindBuiltin, Text: name, Shown: name})
		}
	}
	path, _ := c.sys.Variable("PATH")
	seen := map[string]bool{}
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		for _, name := range c.sys.Names(dir) {
			if c.wanted(name) && !seen[name] && c.sys.IsExecutable(dir+"/"+name) {
				seen[name] = true
				c.propose(proto.KindCommand, name, "")
			}
		}
	}
}

// wanted reports whether a name continues the word, and is not hidden unless asked for.
func (c *collector) wanted(name string) bool {
	return name != "" && strings.HasPrefix(name, c.word.last) && (name[0] != '.' || strings.HasPrefix(c.word.last, "."))
}

// paths are the names in the word's directory: the directories, and of the others those that fit.
func (c *collector) paths(fits func(path string) bool) {
	w := &c.word
	if w.last == ".." {
		c.propose(proto.KindDir, "..", "/")
	}
	dir := w.dir
	if dir == "" {
		dir = "."
	}
	for _, name := range c.sys.Names(dir) {
		if !c.wanted(name) {
			continue
		}
		switch path := strings.TrimSuffix(dir, "/") + "/" + name; {
		case c.sys.IsDir(path):
			c.propose(proto.KindDir, name, "/")
		case fits(path):
			c.propose(proto.KindFile, name, "")
		}
	}
}

func (c *collector) users() {
	head, prefix := c.word.raw[:c.word.cut], strings.TrimPrefix(c.word.value, "~")
	for _, user := range c.sys.Users() {
		if strings.HasPrefix(user, prefix) && plainName(user) {
			c.found = append(c.found, proto.Candidate{Kind: proto.KindDir, Text: head + "~" + user + "/", Shown: "~" + user + "/"})
		}
	}
	if prefix == "" {
		c.found = append(c.found, proto.Candidate{Kind: proto.KindDir, Text: head + "~/", Shown: "~/"})
	}
}

func (c *collector) variables() {
	w := &c.word
	head, begun := w.raw[:w.variable], w.raw[w.variable:]
	opening, closing := "$", ""
	if strings.HasPrefix(begun, "${") {
		opening, closing = "${", "}"
	}
	for _, name := range c.sys.Variables() {
		if strings.HasPrefix(name, begun[len(opening):]) && plainName(name) && !strings.Contains(name, "-") {
			c.found = append(c.found, proto.Candidate{Kind: proto.KindVariable, Text: head + opening + name + closing, Shown: name})
		}
	}
}

// printable reports whether a name fits on one line and does nothing to a terminal.
func printable(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return false
		}
	}
	return name != ""
}

// plainName reports whether a name means itself in every shell, and could be a user's or a variable's.
func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; letter(c) || i > 0 && (digit(c) || c == '-') {
			continue
		}
		return false
	}
	return name != ""
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }
