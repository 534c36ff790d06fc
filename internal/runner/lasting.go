//go:build linux

package runner

import (
	"path/filepath"
	"strings"

	"rexec/internal/complete"
)

// How a shell tells its state at its end: on descriptor 9 (exec.ReportFD), what env -0 prints with envDir for the
// working directory, then reportEnd. The line gets the descriptor closed, so that what it starts does not have it and
// it may use the number itself; the shell keeps a copy aside meanwhile, above 9, where its children do not see it. The
// copy is all that is left if the line leaves the shell from inside a function, or by an interrupt. Which one it is can
// be seen by its being a pipe: shells take the first free number from 10 on, and nothing else of theirs there is one.
//
// The line is the argument of eval, so that a mistake in its syntax is its own alone. Nothing is on the lines of the
// wrapper but the first, for the line numbers in messages.
const (
	envDir    = "REXEC_DIR"
	envOldDir = "REXEC_OLDPWD"
	reportEnd = ".\n"

	env = `\command -p env -0 "` + envDir + `=$PWD" "OLDPWD=${OLDPWD-}" && `
	// pad is twice what the pipe holds: on a terminal the shell waits with it until what was typed ahead is taken from
	// there, which its end would lose.
	pad = ` %8192s ""`
	// findCopy makes descriptor 9 what it was.
	findCopy = `[ -p /dev/fd/9 ] || { [ -p /dev/fd/10 ] && exec 9>/dev/fd/10; } || { [ -p /dev/fd/11 ] && ` +
		`exec 9>/dev/fd/11; } || { [ -p /dev/fd/12 ] && exec 9>/dev/fd/12; }; `

	// zsh does not take OLDPWD from its environment, but remembers where it came from.
	zshOldDir = `if [ -n "${` + envOldDir + `-}" ]; then \cd -q -- "$` + envOldDir + `" && { \cd -q -- "$OLDPWD" || ` +
		`\exit 255; }; \unset ` + envOldDir + `; fi 2>/dev/null; `

	// fish remembers directories in lists that it does not export.
	fishBefore = `if set -q OLDPWD; set -g dirprev $OLDPWD; end; function __rexec_report --on-event fish_exit; ` +
		`set -l old; if test "$__fish_cd_direction" = next; and set -q dirnext[1]; set old OLDPWD=$dirnext[-1]; ` +
		`else if set -q dirprev[1]; set old OLDPWD=$dirprev[-1]; end; ` +
		`begin; /usr/bin/env -0 $old ` + envDir + `=$PWD; and echo .`
	fishWait = `; and printf` + pad
	fishEnd  = `; end >&9 2>/dev/null; end; `

	closed = ` 9>&-`
)

// telling is what a shell has to say at its end.
type telling struct {
	nothing bool // the line keeps the state
	waits   bool // until what was typed ahead is taken from its terminal
}

// report has a shell of the POSIX kind say it. In zsh command finds programs only.
func (t telling) report(family string) string {
	text := `[ -p /dev/fd/9 ] && { `
	if !t.nothing {
		text += env
	}
	text += `echo .`
	switch {
	case t.waits && family == "zsh":
		text += ` && \builtin printf` + pad
	case t.waits:
		text += ` && \command printf` + pad
	}
	return text + `; } >&9; `
}

// lasting is the text that has a shell run a line and tell its state at the end; ok is false for a shell of which it
// is not known how.
func lasting(shell, line string, t telling) (text string, ok bool) {
	eval := `\eval ` + quotePOSIX(line) + closed
	report := t.report(family(shell))
	// The search comes before stderr is put aside, which would be the next pipe that is found.
	tell := `{ \set +xv; } 2>/dev/null; ` + findCopy + `{ ` + report + `} 2>/dev/null`
	// The status of a shell that ends with a trap on EXIT is the one from before it, and a signal that ends the shell
	// still does.
	atExit := `\trap '` + tell + `' EXIT; `
	// An interrupt ends these shells, once the program in the foreground has ended, without a trap on EXIT.
	atInterrupt := `\trap '` + tell + `; \trap - EXIT INT; \kill -INT $$' INT; `
	switch family(shell) {
	case "dash", "ash":
		return atExit + atInterrupt + eval, true
	case "bash":
		// Of a command that spans lines it takes the last for that of its first, so it gets none.
		return atExit + strings.ReplaceAll(eval, "\n", `'$'\n''`), true
	case "zsh":
		return atExit + atInterrupt + zshOldDir + eval, true
	case "sh", "ksh":
		// The ksh family ends with another status than that of the signal if there is a trap on EXIT, and so may shells
		// that are not known. They tell of a line that comes to its end, and not of one that leaves the shell before.
		return eval + `; \set -- "$?"; { ` + report + `} 2>/dev/null; \exit "$1"`, true
	case "fish":
		before := fishBefore + fishEnd
		if t.waits {
			before = fishBefore + fishWait + fishEnd
		}
		return before + "eval " + quoteFish(line) + closed, true
	}
	return "", false
}

// keepsState reports whether a line is certain to leave a shell's state as it is: a simple command, by a name that no
// shell has built in, without an expansion that assigns. It then runs as without lasting, and a shell that replaces
// itself by its last command passes on how that ended, signals included. Functions by which a name could be anything
// come with the environment, or with a file that it names; zsh and fish read files of their own.
func keepsState(shell, line string, env []string) bool {
	switch family(shell) {
	case "", "zsh", "fish":
		return false
	}
	for _, v := range env {
		for _, prefix := range []string{"BASH_FUNC_", "BASH_ENV=", "FPATH=", "ENV="} {
			if strings.HasPrefix(v, prefix) {
				return false
			}
		}
	}
	if strings.ContainsAny(line, ";&|()`\\\n\r") || strings.Contains(line, "${") {
		return false
	}
	name, _, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
	for i := range len(name) {
		if c := name[i]; !plain(c) || c == ':' || c == '%' || c == '@' {
			return false
		}
	}
	return name != "" && !complete.BuiltIn(name)
}

// family is what kind of shell a file is by its name, or by that of what the name stands for, as /bin/sh does for dash.
func family(shell string) string {
	for {
		switch name := filepath.Base(shell); name {
		case "dash", "ash", "bash", "zsh", "fish":
			return name
		case "busybox": // as the target of the name ash or sh
			return "ash"
		case "ksh", "ksh93", "mksh", "lksh", "pdksh", "oksh", "loksh":
			return "ksh"
		case "sh":
			target, err := filepath.EvalSymlinks(shell)
			if err != nil || filepath.Base(target) == "sh" {
				return "sh"
			}
			shell = target
		default:
			return ""
		}
	}
}

// quotePOSIX makes one word of a text for shells of the POSIX kind.
func quotePOSIX(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quoteFish makes one word of a text for fish, in whose quotes a backslash means something.
func quoteFish(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
