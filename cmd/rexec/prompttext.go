package main

import (
	"fmt"
	"math"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"rexec/internal/client"
	"rexec/internal/lineedit"
	"rexec/internal/proto"
)

// place is where the next line runs, as far as it is known.
type place struct {
	user, host, dir, home string
}

// take reads it from a state. text makes UTF-8 of what the host has.
func (p *place) take(dir string, env []proto.EnvVar, text func(string) string) {
	p.dir = text(dir)
	for _, v := range env {
		switch string(v.Name) {
		case "HOME":
			p.home = text(string(v.Value))
		case "USER":
			p.user = text(string(v.Value))
		}
	}
}

// show is user@host:dir, with home as ~, and no wider than most columns if only the directory is long.
func (p *place) show(most int) string {
	where := p.host
	if p.user != "" {
		where = p.user + "@" + p.host
	}
	where = printable(where)
	if p.dir == "" {
		return where
	}
	dir := path.Clean(p.dir)
	if rest, ok := strings.CutPrefix(dir, path.Clean(p.home)); ok && p.home != "" && p.home != "/" && (rest == "" || rest[0] == '/') {
		dir = "~" + rest
	}
	return where + ":" + shorten(printable(dir), most-lineedit.Columns(where)-1)
}

// shorten leaves out directories in the middle of a path, the last one never.
func shorten(dir string, most int) string {
	parts := strings.Split(dir, "/")
	first := parts[0] // empty, or ~
	for i := 1; lineedit.Columns(dir) > most && i < len(parts)-1; i++ {
		dir = first + "/.../" + strings.Join(parts[i+1:], "/")
	}
	if lineedit.Columns(dir) <= most {
		return dir
	}
	const least = 12
	last := []rune(parts[len(parts)-1])
	for len(last) > least && lineedit.Columns(".../...")+lineedit.Columns(string(last)) > most {
		last = last[1:]
	}
	if len(last) < len([]rune(parts[len(parts)-1])) {
		return ".../..." + string(last)
	}
	return dir
}

// ending is how a line has ended, for the prompt.
type ending struct {
	status string // empty for success
	code   int
	took   time.Duration
}

func endingOf(r *client.Result, err error, took time.Duration) ending {
	e := ending{took: took, code: exitOurs}
	switch {
	case r == nil || err != nil:
		e.status = "255"
		return e
	case r.State == proto.StateSignaled:
		e.status = printable(r.Signal)
	case r.State == proto.StateExited && r.Code == 0:
	case r.State == proto.StateExited:
		e.status = fmt.Sprint(r.Code)
	default:
		e.status = r.State.String()
	}
	e.code = int(r.Code)
	return e
}

// slow is how long a line may take before the prompt says it.
const slow = 5 * time.Second

// text is the prompt's text. Colours are the terminal's escape sequences.
func (e ending) text(p *place, columns int, colours bool) string {
	var b strings.Builder
	sign := "$ "
	if p.user == "root" {
		sign = "# "
	}
	var notes []string
	if e.status != "" {
		note := e.status
		if colours {
			note = "\x1b[31m" + note + "\x1b[0m"
		}
		notes = append(notes, note)
	}
	if e.took >= slow {
		notes = append(notes, shortDuration(e.took))
	}
	b.WriteString(p.show(columns / 2))
	if len(notes) > 0 {
		b.WriteString(" [" + strings.Join(notes, ", ") + "]")
	}
	return b.String() + sign
}

// shortDuration is a duration to two digits or so.
func shortDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(math.Round(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// text is what stands before the next line. An ending is told once.
func (s *prompt) text() string {
	columns, _ := s.p.size()
	text := s.last.text(&s.place, columns, os.Getenv("NO_COLOR") == "" && s.lines.escapes())
	s.last = ending{}
	return text
}

// size is the terminal's, or what most are.
func (p *program) size() (columns, rows int) {
	columns, rows = 80, 24
	if f := p.screen(); f != nil {
		if w := windowOf(f); w.Columns > 0 && w.Rows > 0 {
			columns, rows = int(w.Columns), int(w.Rows)
		}
	}
	return columns, rows
}

// hasEscapes reports whether the terminal says that it understands escape sequences. Consoles of Windows have no TERM,
// and do.
func hasEscapes() bool {
	name := os.Getenv("TERM")
	return name != "dumb" && (name != "" || runtime.GOOS == "windows")
}
