//go:build linux

package runner

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// command is what will run once policy has been applied: exactly one of shell, argv, script, sftp and tab is set.
type command struct {
	shell  string   // text for the account's shell
	argv   []string // vector without a shell
	script bool     // the account's shell reads stdin
	login  bool     // it does so on a terminal, as a login shell
	sftp   []string // the subsystem of this name, with these arguments after its own
	tab    bool     // the subsystem "complete"
	asked  string   // what the client asked for, where the key forces another command
}

// decide applies a key's policy. It is the only place where a request becomes a command.
func decide(key auth.Key, o *Options, m *proto.Run) (command, error) {
	if key.NoPty && len(m.Pty) > 0 {
		return command{}, &job.RefusedError{
			Cause: proto.CausePolicy, Reason: "key " + key.ID + " may not have a terminal; ask for none, with rexec -T",
		}
	}
	if m.Subsystem != "" && len(o.subsystem(m.Subsystem)) == 0 {
		return command{}, &job.RefusedError{
			Cause: proto.CauseUnsupported, Reason: fmt.Sprintf("this server has no subsystem %q", m.Subsystem),
		}
	}
	if len(m.Dir) > 0 && (key.Command != "" || len(key.Argv) > 0) {
		// A relative name in the allowed command would mean whatever lies there.
		return command{}, &job.RefusedError{
			Cause: proto.CausePolicy, Reason: "key " + key.ID + " may not choose the working directory",
		}
	}
	if (m.Lasting || len(m.State) > 0 || m.Subsystem == subsystemComplete) && (key.Command != "" || len(key.Argv) > 0) {
		// The variables of a state would reach the one command that the key allows, and completion reads directories.
		return command{}, &job.RefusedError{
			Cause: proto.CausePolicy, Reason: "key " + key.ID + " may not choose its command lines, so nothing lasts from one to the next",
		}
	}
	if key.Command != "" {
		return command{shell: key.Command, asked: asked(m)}, nil
	}
	switch m.Subsystem {
	case subsystemSFTP:
		return decideSFTP(key)
	case subsystemComplete:
		return command{tab: true}, nil
	}
	if len(key.Argv) == 0 {
		return command{shell: string(m.Shell), argv: texts(m.Argv), script: m.Script, login: m.Script && len(m.Pty) > 0}, nil
	}
	if len(m.Argv) > 0 && key.AllowsArgv(m.Argv) {
		return command{argv: texts(m.Argv)}, nil
	}
	if argv := wholeText(key, m.Shell); argv != nil {
		return command{argv: argv}, nil
	}
	return command{}, &job.RefusedError{
		Cause:  proto.CausePolicy,
		Reason: "key " + key.ID + " may run only the commands in its list",
	}
}

// The subsystems, which are this program once more.
const (
	subsystemSFTP     = "sftp"
	subsystemComplete = "complete"
)

// subsystem is the program of a subsystem; empty: there is none.
func (o *Options) subsystem(name string) []string {
	switch name {
	case subsystemSFTP:
		return o.SFTP
	case subsystemComplete:
		return o.Complete
	}
	return nil
}

// sftpWords are the words by which a key's list of commands allows the subsystem sftp, and by which a forced
// command or an administrator can start it. With -R it only reads.
func sftpWords(arg ...string) []string { return append([]string{"rexecd", "sftp-server"}, arg...) }

// decideSFTP lets every key transfer files that may run any command, and one with a list if that says so.
func decideSFTP(key auth.Key) (command, error) {
	const readOnly = "-R"
	for _, args := range [][]string{{}, {readOnly}} {
		var asked [][]byte
		for _, word := range sftpWords(args...) {
			asked = append(asked, []byte(word))
		}
		if key.AllowsArgv(asked) {
			return command{sftp: args}, nil
		}
	}
	return command{}, &job.RefusedError{
		Cause:  proto.CausePolicy,
		Reason: "key " + key.ID + " may run only the commands in its list, and " + strings.Join(sftpWords(), " ") + " is none of them",
	}
}

// printed is what a key's commands print. The key comes first: a forced command may be the one program
// of a host that prints something else.
func printed(key auth.Key, o *Options) charset.Mode {
	if key.Charset == "" {
		return o.Charset
	}
	m, err := charset.ParseMode(key.Charset)
	if err != nil {
		return charset.Raw // no key file holds such a name; raw alters nothing
	}
	return m
}

// wholeText lets a command line through that is, byte for byte, an allowed vector of plain words with
// single spaces between. It runs as that vector: no shell ever reads it.
func wholeText(key auth.Key, text []byte) []string {
	for _, c := range text {
		if !plain(c) && c != ' ' {
			return nil
		}
	}
	words := strings.Split(string(text), " ")
	for _, allowed := range key.Argv {
		// A "*" must not be reached by a command line: what it admits was meant for exact vectors.
		if slices.Equal(allowed, words) && allowed[len(allowed)-1] != "*" {
			return words
		}
	}
	return nil
}

// plain are the characters that mean themselves to every shell, at any place of a word.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_./:@%+,-", c) >= 0
}

// asked words a request for the command that a key forces instead, as sshd does in
// SSH_ORIGINAL_COMMAND.
func asked(m *proto.Run) string {
	if m.Subsystem != "" {
		return strings.Join(sftpWords(), " ")
	}
	if len(m.Argv) > 0 {
		return string(bytes.Join(m.Argv, []byte(" ")))
	}
	return string(m.Shell)
}

func texts(items [][]byte) []string {
	var s []string
	for _, b := range items {
		s = append(s, string(b))
	}
	return s
}

// spec is the command for an account: a shell where one was asked for, and always the account's own.
func (c command) spec(a exec.Account, o *Options) *exec.Spec {
	spec := &exec.Spec{Account: a}
	switch {
	case c.sftp != nil:
		spec.Argv, spec.Arg0 = slices.Concat(o.SFTP, c.sftp), "rexecd"
	case c.tab:
		spec.Argv, spec.Arg0 = slices.Concat(o.Complete, []string{a.Shell}), "rexecd"
	case len(c.argv) > 0:
		spec.Argv = c.argv
	case c.login:
		spec.Argv, spec.Arg0 = []string{a.Shell}, "-"+filepath.Base(a.Shell) // makes it a login shell, see login(1)
	case c.script:
		spec.Argv, spec.Arg0 = []string{a.Shell}, filepath.Base(a.Shell)
	default:
		spec.Argv, spec.Arg0 = []string{a.Shell, "-c", c.shell}, filepath.Base(a.Shell)
	}
	return spec
}
