package complete

import "strings"

// cursor is what the end of a line is in.
type cursor struct {
	start   int    // of the word, or the end of the line
	command bool   // a command's name is due, not an argument
	dirs    bool   // an argument that must be a directory
	opaque  bool   // the word has a part whose value only the shell can tell
	quote   byte   // that is open at the end
	none    bool   // in a comment, or where nothing is known
	raw     string // the line
}

// frame is one level of commands inside of commands.
type frame struct {
	end    byte // what ends it: ')', '`', or 0 for the whole line
	quote  byte // of the word that is being read
	start  int  // of that word; -1: there is none
	opaque bool // of that word
	target bool // the next word is a file of a redirection
	simple simple
}

// simple is a simple command as far as it has been read.
type simple struct {
	name     string // empty: not yet
	launcher launcher
	launched bool // launcher counts
	value    bool // the next word is an option's
}

// parser reads a line to its end.
type parser struct {
	line    string
	fish    bool
	i       int
	frames  []frame
	comment bool
}

func parse(line string, fish bool) cursor {
	p := parser{line: line, fish: fish, frames: []frame{{start: -1}}}
	for p.i < len(p.line) {
		p.step()
	}
	f := p.top()
	at := cursor{start: f.start, quote: f.quote, opaque: f.opaque, none: p.comment, raw: line}
	if f.start < 0 {
		at.start = len(line)
	}
	s := &f.simple
	if !f.target {
		waits := s.value || s.launched && s.launcher.skip > 0
		at.command = s.name == "" && !waits
		at.dirs = s.name == "cd" || s.name == "pushd" || s.name == "rmdir" || s.name == "chdir"
	}
	return at
}

func (p *parser) top() *frame { return &p.frames[len(p.frames)-1] }

// next is the byte n places ahead; 0 beyond the end.
func (p *parser) next(n int) byte {
	if p.i+n < len(p.line) {
		return p.line[p.i+n]
	}
	return 0
}

// begin notes that a word has begun, unless one has already.
func (p *parser) begin() {
	if f := p.top(); f.start < 0 {
		f.start, f.opaque = p.i, false
	}
}

func (p *parser) push(end byte, skip int) {
	p.i += skip
	p.frames = append(p.frames, frame{end: end, start: -1})
}

// pop returns to the level around, where what was read is a part of a word, if there is one.
func (p *parser) pop() {
	p.i++
	p.frames = p.frames[:len(p.frames)-1]
	f := p.top()
	f.opaque = true
	if f.start < 0 { // a subshell, or the head of a function
		f.simple = simple{}
	}
}

func (p *parser) step() {
	f, c := p.top(), p.line[p.i]
	switch {
	case p.comment:
		if c == '\n' {
			p.comment = false
			p.operator()
		}
		p.i++
	case f.quote == '\'':
		if c == '\'' {
			f.quote = 0
		} else if c == '\\' && p.fish {
			p.i++
		}
		p.i++
	case c == '\\':
		if p.next(1) != '\n' || f.quote != 0 {
			p.begin()
		}
		p.i += 2
	case c == '`' && !p.fish:
		p.backtick()
	case c == '$' && p.next(1) == '(':
		p.begin()
		p.push(')', 2)
	case f.quote == '"':
		if c == '"' {
			f.quote = 0
		}
		p.i++
	default:
		p.bare(c)
	}
	p.i = min(p.i, len(p.line))
}

func (p *parser) backtick() {
	if len(p.frames) > 1 && p.top().end == '`' && p.top().quote == 0 {
		p.endWord()
		p.pop()
		return
	}
	p.begin()
	p.push('`', 1)
}

// bare reads a byte outside of quotes.
func (p *parser) bare(c byte) {
	f := p.top()
	switch c {
	case ' ', '\t':
		p.endWord()
	case '\n', ';', '|':
		p.operator()
	case '&':
		if p.next(1) == '>' {
			p.redirect()
			return
		}
		p.operator()
	case '<', '>':
		p.redirect()
		return
	case '(':
		if !p.fish {
			p.endWord()
		} else {
			p.begin()
		}
		p.push(')', 1)
		return
	case ')':
		if p.endWord(); len(p.frames) > 1 && f.end == ')' {
			p.pop()
			return
		}
		p.operator() // behind a pattern of case
	case '#':
		if f.start < 0 {
			p.comment = true
		}
	case '\'', '"':
		p.begin()
		if c == '\'' && p.i > f.start && p.line[p.i-1] == '$' && !p.fish {
			f.opaque = true // $'...' has escapes of its own
		}
		f.quote = c
	default:
		p.begin()
	}
	p.i++
}

// operator ends a command; another one begins.
func (p *parser) operator() {
	p.endWord()
	f := p.top()
	f.simple, f.target = simple{}, false
}

// redirect reads an operator such as 2>&1 up to the word that belongs to it.
func (p *parser) redirect() {
	f := p.top()
	if f.start >= 0 && strings.Trim(p.line[f.start:p.i], "0123456789") == "" {
		f.start = -1 // the number of a descriptor
	}
	p.endWord()
	f.target = true
	for p.i < len(p.line) && strings.IndexByte("<>&|", p.line[p.i]) >= 0 {
		p.i++
	}
	if p.next(0) == '(' { // <(command)
		f.target = false
		p.begin()
		p.push(')', 1)
	}
}

func (p *parser) endWord() {
	f := p.top()
	if f.start < 0 {
		return
	}
	if !f.target {
		f.simple.add(p.line[f.start:p.i])
	}
	f.start, f.quote, f.target, f.opaque = -1, 0, false, false
}

// add takes one more word of the command, as it was typed.
func (s *simple) add(raw string) {
	word := strings.NewReplacer(`"`, "", `'`, "", `\`, "").Replace(raw)
	switch {
	case s.name != "":
	case s.value:
		s.value = false
	case s.launched && strings.HasPrefix(word, "-"):
		s.value = len(word) == 2 && strings.IndexByte(s.launcher.options, word[1]) >= 0
	case assignment(word) > 0:
	case s.launched && s.launcher.skip > 0:
		s.launcher.skip--
	case before(raw):
		s.launched = false
	default:
		if l, ok := launcherOf(word); ok {
			s.launcher, s.launched = l, true
			return
		}
		s.name = word
	}
}

// assignment is where the value begins if a word is NAME=VALUE, else 0.
func assignment(word string) int {
	name, _, ok := strings.Cut(word, "=")
	name = strings.TrimSuffix(name, "+")
	if !ok || !plainName(name) || strings.Contains(name, "-") {
		return 0
	}
	return strings.IndexByte(word, '=') + 1
}
