//go:build linux

package runner

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"rexec/internal/auth"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// command is what will run once policy has been applied: exactly one of its first three is set.
type command struct {
	shell  string   // text for the account's shell
	argv   []string // vector without a shell
	script bool     // the account's shell reads stdin
	asked  string   // what the client asked for, where the key forces another command
}

// decide applies a key's policy. It is the only place where a request becomes a command.
func decide(key auth.Key, m *proto.Run) (command, error) {
	if len(m.Dir) > 0 && (key.Command != "" || len(key.Argv) > 0) {
		// A relative name in the allowed command would mean whatever lies there.
		return command{}, &job.RefusedError{
			Cause: proto.CausePolicy, Reason: "key " + key.ID + " may not choose the working directory",
		}
	}
	if key.Command != "" {
		return command{shell: key.Command, asked: asked(m)}, nil
	}
	if len(key.Argv) == 0 {
		return command{shell: string(m.Shell), argv: texts(m.Argv), script: m.Script}, nil
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
func (c command) spec(a exec.Account) *exec.Spec {
	spec := &exec.Spec{Account: a}
	switch {
	case len(c.argv) > 0:
		spec.Argv = c.argv
	case c.script:
		spec.Argv, spec.Arg0 = []string{a.Shell}, filepath.Base(a.Shell)
	default:
		spec.Argv, spec.Arg0 = []string{a.Shell, "-c", c.shell}, filepath.Base(a.Shell)
	}
	return spec
}
