//go:build linux

package runner

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rexec/internal/charset"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// Names of ours in a command's environment.
const (
	envID      = "REXEC_ID"               // the execution ID
	envCommand = "REXEC_ORIGINAL_COMMAND" // what the client asked for, where the key forces another
	envJob     = "REXEC_JOB"              // random; marks the processes of one command
	envTTY     = "REXEC_TTY"              // the terminal's file, for a command that has one

	// As sshd(8) sets them, for programs that want to know where their user is, or that stand in for a command.
	envSSHConnection = "SSH_CONNECTION" // client's address and port, server's address and port
	envSSHCommand    = "SSH_ORIGINAL_COMMAND"
	envSSHTTY        = "SSH_TTY"
	// envSSHClient is set for login shells on a terminal only: where it is, bash as Debian builds it reads ~/.bashrc
	// before each single command, which then begins later, with another PATH and whatever the file prints.
	envSSHClient = "SSH_CLIENT" // client's address and port, server's port
)

// marker is the environment entry by which a stray descendant is recognised. It is random, since
// execution IDs are of clients' choosing: two keys may use the same one, and neither may end the
// other's processes with it.
func marker() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return envJob + "=" + hex.EncodeToString(b[:])
}

// environment is built from nothing: the daemon's own variables never reach a command.
func environment(o *Options, a exec.Account, c command, peer job.Peer, m *proto.Run) ([]string, error) {
	vars, err := beginning(o, a, m)
	if err != nil {
		return nil, &job.RefusedError{Cause: proto.CauseInvalid, Reason: "invalid request: " + err.Error()}
	}
	for _, v := range m.Env {
		name := string(v.Name)
		if reason := refuseEnv(o, name); reason != "" {
			return nil, &job.RefusedError{
				Cause: proto.CausePolicy, Reason: fmt.Sprintf("environment variable %q: %s", name, reason),
			}
		}
		vars[name] = string(v.Value)
	}
	vars[envID] = m.ID.String()
	if len(m.Pty) > 0 {
		vars["TERM"] = string(m.Pty)
	}
	if c.asked != "" {
		vars[envCommand], vars[envSSHCommand] = c.asked, c.asked
	}
	if from, to := peer.Remote, peer.Local; from.Port() != 0 && to.Port() != 0 {
		vars[envSSHConnection] = fmt.Sprintf("%s %d %s %d", from.Addr(), from.Port(), to.Addr(), to.Port())
		if m.Script && len(m.Pty) > 0 {
			vars[envSSHClient] = fmt.Sprintf("%s %d %d", from.Addr(), from.Port(), to.Port())
		}
	}
	env := make([]string, 0, len(vars))
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env, nil
}

// beginning is the environment before the request's own variables: the one of a state, or else a fresh one.
func beginning(o *Options, a exec.Account, m *proto.Run) (map[string]string, error) {
	if len(m.State) > 0 {
		return stateVars(m.State)
	}
	vars := map[string]string{"LANG": o.Lang}
	maps.Copy(vars, o.Env)
	for _, v := range m.Wishes {
		if name := string(v.Name); refuseEnv(o, name) == "" {
			vars[name] = string(v.Value)
		}
	}
	maps.Copy(vars, map[string]string{
		"HOME": a.Home, "USER": a.Name, "LOGNAME": a.Name, "SHELL": a.Shell, "PATH": o.Path,
	})
	return vars, nil
}

// gbLocale reports whether the locale in a command's environment prints GBK or GB 18030.
func gbLocale(env []string) bool {
	m, _ := charset.OfLocale(charset.Locale(func(name string) string {
		for _, v := range env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}))
	return m == charset.GBK || m == charset.GB18030
}

// refuseEnv says why a client may not set a variable; empty if it may.
func refuseEnv(o *Options, name string) string {
	switch {
	case !validEnvName(name):
		return "not a valid name"
	case slices.Contains([]string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", envSSHConnection, envSSHClient, envSSHCommand,
		envSSHTTY}, name), strings.HasPrefix(name, "REXEC_"):
		return "set by the server"
	case dangerousEnv(name):
		return "never accepted from a client, since it can make programs run other code"
	}
	for _, pattern := range o.AcceptEnv {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(name, prefix) || pattern == name {
			return ""
		}
	}
	return "not accepted by this server; accept_env in rexecd.toml lists what is"
}

func validEnvName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// dangerousEnv lists what loaders, shells and interpreters take code, or the place of code, from
// (ld.so(8), bash(1), perlrun(1), python(1), git(1), node(1), java(1)), and what is ours to set.
// Whatever accept_env says, these never come from a client.
func dangerousEnv(name string) bool {
	for _, prefix := range []string{
		"LD_", "DYLD_", "BASH_FUNC_", "PYTHON", "PERL", "RUBY", "NODE_", "JAVA_", "JDK_", "_JAVA_", "MALLOC_",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	if strings.HasPrefix(name, "GIT_") {
		return name != "GIT_PROTOCOL"
	}
	return slices.Contains([]string{
		"IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "CDPATH",
		"GLOBIGNORE", "PS4", "PROMPT_COMMAND", "ZDOTDIR", "FPATH", "GCONV_PATH", "LOCPATH", "NLSPATH", "TZDIR",
		"GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF", "NIS_PATH", "TMPDIR",
		"TERMINFO", "TERMINFO_DIRS", "TERMCAP", "TERMPATH", "EDITOR", "VISUAL", "PAGER", "LESSOPEN", "LESSCLOSE",
		"MANPAGER", "BROWSER", "CLASSPATH", "LUA_INIT", "LUA_PATH", "LUA_CPATH", "OPENSSL_CONF", "OPENSSL_MODULES",
		"SSH_ASKPASS", "SUDO_ASKPASS", "GTK_MODULES", "QT_PLUGIN_PATH", "XDG_CONFIG_HOME", "XDG_DATA_DIRS",
	}, name)
}
