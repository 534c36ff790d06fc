package lineedit

import (
	"slices"
	"strings"
)

// Unfinished reports whether a shell would ask for more behind a text: a quote, a parenthesis, a compound command or a
// here-document is open, or it ends with a backslash or an operator. It knows the grammar of sh, with fish's end for
// every compound command, and not all of it: what it takes for finished wrongly, the shell calls a syntax error.
func Unfinished(text string) bool {
	s := &shellText{rest: text, command: true}
	for s.rest != "" {
		if !s.step() {
			return true
		}
	}
	return len(s.open) > 0 || len(s.documents) > 0 || s.operator
}

// shellText is how far a text was read.
type shellText struct {
	rest      string
	open      []string // what closes that which is open, innermost last
	documents []document
	command   bool // the next word would be a command
	operator  bool // the last word was an operator that joins what follows
}

// document is a here-document whose text is still to come.
type document struct {
	end  string
	tabs bool // lines may be indented with tabs
}

// step reads one word, operator or line end. It reports false if the text ends inside of it.
func (s *shellText) step() bool {
	switch c := s.rest[0]; {
	case c == '\n':
		s.rest = s.rest[1:]
		s.command = true
		return s.readDocuments()
	case c == ' ' || c == '\t' || c == '\r':
		s.rest = s.rest[1:]
		return true
	case c == '#':
		end := strings.IndexByte(s.rest+"\n", '\n')
		s.rest = s.rest[end:]
		return true
	case strings.IndexByte(";&|()<>", c) >= 0:
		return s.readOperator()
	}
	return s.readWord()
}

// readOperator reads what stands between words.
func (s *shellText) readOperator() bool {
	for _, op := range []string{"<<-", "<<<", "<<", "&&", "||", "|&", ";;", "&>>", "&>", ">>", ">&", "<&", ">|", "<>"} {
		if strings.HasPrefix(s.rest, op) {
			s.rest = s.rest[len(op):]
			s.took(op)
			return op != "<<" && op != "<<-" || s.readEnd(op == "<<-")
		}
	}
	op := s.rest[:1]
	s.rest = s.rest[1:]
	switch op {
	case "(":
		s.open = append(s.open, ")")
	case ")":
		s.close(")") // that of a pattern of case closes nothing
	}
	s.took(op)
	return true
}

func (s *shellText) took(op string) {
	s.operator = op == "&&" || op == "||" || op == "|" || op == "|&"
	if !strings.ContainsAny(op, "<>") {
		s.command = true
	}
}

// readEnd reads the word that ends a here-document.
func (s *shellText) readEnd(tabs bool) bool {
	s.rest = strings.TrimLeft(s.rest, " \t")
	before := s.rest
	if s.rest == "" || !s.skipWord() {
		return false
	}
	word := before[:len(before)-len(s.rest)]
	end := strings.NewReplacer(`'`, "", `"`, "", `\`, "").Replace(word)
	s.documents = append(s.documents, document{end, tabs})
	return true
}

// readDocuments reads the texts of here-documents, which begin behind the line.
func (s *shellText) readDocuments() bool {
	for len(s.documents) > 0 {
		d := s.documents[0]
		line, rest, found := strings.Cut(s.rest, "\n")
		if d.tabs {
			line = strings.TrimLeft(line, "\t")
		}
		if line == d.end {
			s.documents = s.documents[1:]
		}
		if s.rest = rest; !found {
			s.rest = ""
			return len(s.documents) == 0
		}
	}
	return true
}

// readWord reads a word, and what it means if it stands where a command does.
func (s *shellText) readWord() bool {
	before := s.rest
	if !s.skipWord() {
		return false
	}
	word := before[:len(before)-len(s.rest)]
	s.operator = false
	if word == "in" && len(s.open) > 0 && s.open[len(s.open)-1] == "esac" {
		s.command = true
		return true
	}
	if !s.command {
		return true
	}
	s.command = false
	switch word {
	case "if":
		s.open = append(s.open, "fi")
		s.command = true
	case "while", "until":
		s.open = append(s.open, "done")
		s.command = true
	case "for", "select":
		s.open = append(s.open, "done")
	case "case":
		s.open = append(s.open, "esac")
	case "switch", "begin", "function":
		s.beginFish(word)
	case "{":
		s.open = append(s.open, "}")
		s.command = true
	case "then", "else", "elif", "do", "!", "time":
		s.command = true
	case "fi", "done", "esac", "}", "end":
		s.close(word)
	}
	return true
}

// beginFish begins what only fish has. In sh a function is one by its braces, and the others are commands.
func (s *shellText) beginFish(word string) {
	if word != "function" || !strings.Contains(s.rest, "{") {
		if i := strings.IndexAny(s.rest, ";\n"); i >= 0 || word == "begin" && strings.TrimSpace(s.rest) == "" {
			s.open = append(s.open, "end")
		}
	}
}

// close closes what is open, if this is what closes it.
func (s *shellText) close(word string) {
	last := len(s.open) - 1
	if last < 0 {
		return
	}
	fish := word == "end" && slices.Contains([]string{"fi", "done", "end"}, s.open[last])
	if fish || s.open[last] == word {
		s.open = s.open[:last]
	}
}

// skipWord goes behind a word with all its quotes. It reports false if one of them is open.
func (s *shellText) skipWord() bool {
	for s.rest != "" {
		switch c := s.rest[0]; {
		case strings.IndexByte(" \t\r\n;&|()<>", c) >= 0:
			return true
		case c == '\\':
			if len(s.rest) == 1 {
				return false // the line goes on
			}
			s.rest = s.rest[2:]
		case c == '\'' || c == '"' || c == '`':
			if !s.skipQuoted(c) {
				return false
			}
		case strings.HasPrefix(s.rest, "$(") || strings.HasPrefix(s.rest, "${"):
			if !s.skipExpansion() {
				return false
			}
		default:
			s.rest = s.rest[1:]
		}
	}
	return true
}

// skipQuoted goes behind a quoted text.
func (s *shellText) skipQuoted(quote byte) bool {
	s.rest = s.rest[1:]
	for s.rest != "" {
		switch c := s.rest[0]; {
		case c == quote:
			s.rest = s.rest[1:]
			return true
		case c == '\\' && quote != '\'' && len(s.rest) > 1:
			s.rest = s.rest[2:]
		case quote == '"' && (strings.HasPrefix(s.rest, "$(") || strings.HasPrefix(s.rest, "${")):
			if !s.skipExpansion() {
				return false
			}
		default:
			s.rest = s.rest[1:]
		}
	}
	return false
}

// skipExpansion goes behind $(...) or ${...}.
func (s *shellText) skipExpansion() bool {
	closing := byte(')')
	if s.rest[1] == '{' {
		closing = '}'
	}
	s.rest = s.rest[2:]
	for depth := 1; s.rest != ""; {
		switch c := s.rest[0]; {
		case c == '\'' && closing == ')' || c == '"' || c == '`':
			if !s.skipQuoted(c) {
				return false
			}
			continue
		case c == '\\' && len(s.rest) > 1:
			s.rest = s.rest[1:]
		case c == closing-1 && closing == ')' || c == '{' && closing == '}':
			depth++
		case c == closing:
			depth--
		}
		s.rest = s.rest[1:]
		if depth == 0 {
			return true
		}
	}
	return false
}
