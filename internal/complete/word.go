package complete

import "strings"

// word is the one at the cursor, taken apart.
type word struct {
	raw   string // as it was typed
	value string // as the shell would see it, behind a = or : that begins a path inside of the word
	dir   string // the part of value up to its last slash, and what it stands for
	last  string // the part behind it
	cut   int    // where in raw the last part begins

	open  string // the quote that the last part begins with
	quote byte   // in which the last part stands; 0: none

	tilde    bool // it begins with one that stands for a home
	assigns  bool // it is NAME=VALUE, or an option with a value
	variable int  // where in raw a name of a variable begins that reaches to the end, with its dollar sign; -1: nowhere
	opaque   bool // its value is not known
}

// reading is the state of readWord.
type reading struct {
	word
	sys    System
	fish   bool
	quoted byte
	value  []byte
	slash  int  // where in value the last part begins
	within byte // quoted at that point
}

// readWord takes a word apart.
func readWord(sys System, raw string, at cursor, fish bool) word {
	r := reading{word: word{raw: raw, variable: -1, opaque: at.opaque}, sys: sys, fish: fish}
	assigns := assignment(raw) > 0
	r.assigns = assigns || strings.HasPrefix(raw, "-")
	for i := 0; i < len(raw); {
		i = r.step(i)
	}
	w := r.word
	w.tilde = strings.HasPrefix(raw[min(r.pathStart(), len(raw)):], "~")
	w.value = string(r.value)
	w.dir, w.last = w.value[:r.slash], w.value[r.slash:]
	if w.tilde && r.assigns && !assigns { // shells take it for a name there
		w.opaque = true
	}
	if w.tilde && w.dir != "" {
		w.expandTilde(sys)
	}
	w.quote = r.within
	if rest := raw[w.cut:]; w.quote == 0 && rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		w.quote, w.open = rest[0], rest[:1]
	}
	return w
}

// pathStart is where in raw the path begins of which the last part is completed.
func (r *reading) pathStart() int {
	start := 0
	if r.assigns {
		start = strings.IndexByte(r.raw, '=') + 1
		for i := start; i < r.cut; i++ {
			if r.raw[i] == ':' {
				start = i + 1
			}
		}
	}
	return start
}

func (w *word) expandTilde(sys System) {
	user, rest, _ := strings.Cut(w.dir[1:], "/")
	home, ok := sys.Home(user)
	if !ok {
		w.opaque = true
	}
	w.dir = strings.TrimSuffix(home, "/") + "/" + rest
}

// step reads on at i and returns where it got to.
func (r *reading) step(i int) int {
	c := r.raw[i]
	switch {
	case r.quoted == '\'':
		switch {
		case c == '\'':
			r.quoted = 0
		case c == '\\' && r.fish && i+1 < len(r.raw) && (r.raw[i+1] == '\'' || r.raw[i+1] == '\\'):
			r.add(r.raw[i+1], i+1)
			return i + 2
		default:
			r.add(c, i)
		}
	case c == '\\':
		return r.backslash(i)
	case c == '"' && r.quoted == '"':
		r.quoted = 0
	case c == '$':
		return r.dollar(i)
	case r.quoted == '"':
		r.add(c, i)
	case c == '"' || c == '\'':
		r.quoted = c
	case strings.IndexByte("*?[{", c) >= 0:
		r.opaque = true // a pattern
	case c == '=' && r.assigns && r.slash == 0 && !strings.Contains(r.raw[:i], "="), c == ':' && r.assigns && strings.Contains(r.raw[:i], "="):
		r.value, r.slash = nil, 0 // a path begins here
		r.cut, r.within = i+1, 0
	default:
		r.add(c, i)
	}
	return i + 1
}

// add takes a byte of the value, which stands at i.
func (r *reading) add(c byte, i int) {
	r.value = append(r.value, c)
	if c == '/' {
		r.slash, r.cut, r.within = len(r.value), i+1, r.quoted
	}
}

func (r *reading) backslash(i int) int {
	if i+1 == len(r.raw) { // the cursor is behind it
		return i + 1
	}
	c := r.raw[i+1]
	special := "$`\"\\"
	if r.fish {
		special = "$\"\\"
	}
	if r.quoted == '"' && strings.IndexByte(special, c) < 0 {
		r.add('\\', i)
	} else if r.fish && r.quoted == 0 && (letter(c) || digit(c)) {
		r.opaque = true // \n and the like
	}
	r.add(c, i+1)
	return i + 2
}

// dollar reads the name of a variable.
func (r *reading) dollar(i int) int {
	begin := i + 1
	braces := strings.HasPrefix(r.raw[begin:], "{")
	if braces {
		begin++
	}
	end := begin
	for end < len(r.raw) && (letter(r.raw[end]) || end > begin && digit(r.raw[end])) {
		end++
	}
	if end == len(r.raw) {
		r.variable = i
		return end
	}
	name := r.raw[begin:end]
	if braces && r.raw[end] == '}' {
		end++
	} else if braces {
		name = ""
	}
	value, ok := r.sys.Variable(name)
	if name == "" || !ok || r.quoted == 0 && strings.ContainsAny(value, " \t\n*?[") {
		r.opaque = true
	}
	for j := range len(value) {
		r.value = append(r.value, value[j])
	}
	return end
}

// quote writes a name so that the shell reads it as it is: inside of quotes that are open, or with backslashes.
func quote(name string, within byte, fish bool) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case within == '\'' && fish:
			if c == '\'' || c == '\\' {
				b.WriteByte('\\')
			}
		case within == '\'' && c == '\'':
			b.WriteString(`'\'`)
		case within == '"' && (c == '"' || c == '$' || c == '\\' || c == '`' && !fish):
			b.WriteByte('\\')
		case within == 0 && !plain(c):
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// plain are the bytes that mean themselves at any place of a word.
func plain(c byte) bool {
	return letter(c) || digit(c) || c >= 0x80 || strings.IndexByte("./:@%+,-", c) >= 0
}
