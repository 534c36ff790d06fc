//go:build linux

package runner

import (
	"bytes"
	"slices"
	"strings"

	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// stateOf is the State of what a shell reported, see report: empty if that is not a whole report.
func stateOf(report []byte, pty string) (state []byte, tooLarge bool) {
	report, ok := bytes.CutSuffix(bytes.TrimRight(report, " "), []byte("\x00"+reportEnd)) // spaces are what it waits with
	if !ok {
		return nil, false
	}
	var dir []byte
	var vars []proto.EnvVar
	for entry := range bytes.SplitSeq(report, []byte{0}) {
		if bytes.HasPrefix(entry, []byte(reportEnd)) { // there is more than one
			return nil, false
		}
		name, value, ok := bytes.Cut(entry, []byte("="))
		switch {
		case string(name) == envDir:
			dir = value
		case !ok || len(name) == 0 || ours(string(name)):
		case string(name) == "OLDPWD" && len(value) == 0:
		case string(name) == "TERM" && pty != "" && string(value) == pty: // the terminal's, not the user's
		default:
			vars = append(vars, proto.EnvVar{Name: name, Value: value})
		}
	}
	if !bytes.HasPrefix(dir, []byte("/")) {
		return nil, false
	}
	state = proto.AppendState(nil, dir, vars)
	if len(state) > proto.MaxState || len(vars) > proto.MaxEnv {
		return nil, true
	}
	return state, false
}

// ours reports whether a variable is set by the daemon or the shell for each command anew, and so is no part of a state.
func ours(name string) bool {
	return strings.HasPrefix(name, "REXEC_") || slices.Contains([]string{
		envSSHConnection, envSSHClient, envSSHCommand, envSSHTTY, "_", "PWD", "SHLVL",
	}, name)
}

// stateVars are the variables with which a command begins that has a state: the user's own, whatever they are, since a
// key for which a state is taken may run any command line, which could set them. What they make a loader or a shell do
// is done with the account's rights only: nothing of the daemon's runs between the change of the account and execve(2),
// and its own program as a subsystem is started the same way.
func stateVars(state []byte) (map[string]string, error) {
	dir, env, err := proto.ParseState(state)
	if err != nil {
		return nil, err
	}
	vars := map[string]string{"PWD": string(dir)}
	for _, v := range env {
		if name := string(v.Name); !ours(name) {
			vars[name] = string(v.Value)
		}
	}
	return vars, nil
}

// stateDir is the working directory of a state.
func stateDir(state []byte) string {
	dir, _, _ := bytes.Cut(state, []byte{0})
	return string(dir)
}

// last has the shell of a lasting command tell its state.
func last(spec *exec.Spec, m *proto.Run) {
	shell, line := spec.Account.Shell, string(m.Shell)
	t := telling{nothing: len(m.State) > 0 && keepsState(shell, line, spec.Env), waits: len(m.Pty) > 0 && !m.NoStdin}
	if t == (telling{nothing: true}) {
		return
	}
	text, ok := lasting(shell, line, t)
	if !ok {
		return
	}
	spec.Argv, spec.Report = []string{shell, "-c", text}, true
	if family(shell) == "zsh" {
		for _, v := range spec.Env {
			if old, ok := strings.CutPrefix(v, "OLDPWD="); ok {
				spec.Env = append(spec.Env, envOldDir+"="+old)
				break
			}
		}
	}
}

// reportOf is what the job knows of a shell's report.
func reportOf(p *exec.Process, m *proto.Run) *job.Report {
	if p.Report == nil {
		return nil
	}
	pty := string(m.Pty)
	return &job.Report{
		File: p.Report, Parse: func(b []byte) ([]byte, bool) { return stateOf(b, pty) },
		Whole: func(b []byte) bool {
			b = bytes.TrimRight(b, " ")
			return string(b) == reportEnd || bytes.HasSuffix(b, []byte("\x00"+reportEnd))
		},
	}
}

// elsewhere is a state with another directory; the root if there is no room for it.
func elsewhere(state []byte, dir string) []byte {
	_, env, err := proto.ParseState(state)
	if err != nil {
		return nil
	}
	moved := proto.AppendState(nil, []byte(dir), env)
	if len(moved) > proto.MaxState {
		moved = proto.AppendState(nil, []byte("/"), env)
	}
	return moved
}
