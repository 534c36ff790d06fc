package complete

import (
	"path"
	"slices"
	"strings"
)

// shell is what must be known of one.
type shell struct {
	fish  bool
	names []string
}

// builtins are its own commands and keywords.
func (s shell) builtins() []string { return s.names }

// shellOf knows a shell by its file; one that is not known has what all have.
func shellOf(file string) shell {
	lists := []string{posixNames}
	switch path.Base(file) {
	case "bash":
		lists = append(lists, bashNames)
	case "zsh":
		lists = append(lists, zshNames)
	case "ksh", "ksh93", "mksh":
		lists = append(lists, kshNames)
	case "fish":
		lists = []string{fishNames}
	}
	var names []string
	for _, l := range lists {
		names = append(names, strings.Fields(l)...)
	}
	return shell{fish: path.Base(file) == "fish", names: names}
}

// BuiltIn reports whether any shell that is known here has a command or keyword of this name.
func BuiltIn(name string) bool {
	for _, list := range []string{posixNames, bashNames, zshNames, kshNames, fishNames} {
		if slices.Contains(strings.Fields(list), name) {
			return true
		}
	}
	return false
}

// The built-in commands and keywords that a user may want to type: those of POSIX (XCU 2.4, 2.14) with what dash and
// busybox add, and what the others add to these (bash(1), zshbuiltins(1), ksh(1), mksh(1), fish-doc(1)).
const (
	posixNames = `. : [ alias bg break case cd chdir command continue do done echo elif else esac eval exec exit export false fc fg ` +
		`fi for getopts hash if in jobs kill local printf pwd read readonly return set shift test then times trap true type ` +
		`ulimit umask unalias unset until wait while`
	bashNames = `bind builtin caller compgen complete compopt coproc declare dirs disown enable function help history let ` +
		`logout mapfile popd pushd readarray select shopt source suspend time typeset`
	zshNames = `autoload bindkey builtin bye coproc declare dirs disable disown echotc echoti emulate enable end float foreach ` +
		`function functions getln history integer let limit log logout nocorrect noglob popd print private pushd pushln r ` +
		`rehash repeat sched select setopt source suspend time ttyctl typeset unfunction unhash unlimit unsetopt vared ` +
		`whence where which zcompile zformat zle zmodload zparseopts zstyle`
	kshNames = `autoload bind builtin disown enum float function functions getconf global hist history integer let login nameref ` +
		`print r redirect rename select sleep source stop suspend time typeset whence`
	fishNames = `. : [ abbr and argparse begin bg bind block break builtin case cd command commandline complete contains continue ` +
		`count cdh dirh dirs disown echo else emit end eval exec exit export false fg for function functions history if in jobs ` +
		`math nextd not or path popd prevd printf pushd pwd random read realpath return set set_color source status string ` +
		`switch test time trap true type ulimit umask vared wait while`
)

// before are the words behind which a command still begins.
func before(word string) bool {
	switch word {
	case "if", "then", "else", "elif", "while", "until", "do", "!", "{", "and", "or", "not", "begin", "coproc",
		"noglob", "nocorrect":
		return true
	}
	return false
}

// launcher is a program that runs the command in its arguments.
type launcher struct {
	options string // those that take a value in the next word, by their letters
	skip    int    // words before the command
}

func launcherOf(name string) (launcher, bool) {
	switch path.Base(name) {
	case "sudo":
		return launcher{options: "ugUCDghpRrTt"}, true
	case "doas", "env":
		return launcher{options: "uCS"}, true
	case "exec":
		return launcher{options: "a"}, true
	case "nice":
		return launcher{options: "n"}, true
	case "ionice":
		return launcher{options: "cnp"}, true
	case "timeout":
		return launcher{options: "ks", skip: 1}, true
	case "stdbuf":
		return launcher{options: "ioe"}, true
	case "xargs":
		return launcher{options: "IiLlnPsdaE"}, true
	case "watch":
		return launcher{options: "n"}, true
	case "strace", "ltrace":
		return launcher{options: "eopsuaEP"}, true
	case "flock":
		return launcher{options: "wE", skip: 1}, true
	case "nohup", "setsid", "command", "builtin", "time":
		return launcher{options: "fo"}, true
	}
	return launcher{}, false
}
