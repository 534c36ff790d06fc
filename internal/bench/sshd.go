//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// sshd is an OpenSSH server of our own, and what a client needs for it.
type sshd struct {
	*service
	dir    string
	config string // of the client
}

// privilegeDir must exist where sshd runs as root (sshd(8), privilege separation). It is left behind,
// empty: another sshd may rely on it by then.
const privilegeDir = "/run/sshd"

// sshdConfig has the defaults of OpenSSH but for where things are, for what a throw-away server
// cannot have (PAM), for limits that 8 clients at a time must not run into, and for SHLVL: bash, as
// Debian builds it, reads ~/.bashrc when sshd starts it at the outermost level. That would charge ssh
// with whatever this account has in there, while rexecd's shells read nothing.
const sshdConfig = `ListenAddress %[1]s
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/user.pub
PidFile %[2]s/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
MaxSessions 100
SetEnv SHLVL=1
`

const sshConfig = `Host bench
HostName %[1]s
Port %[2]s
User %[3]s
IdentityFile %[4]s/user
IdentitiesOnly yes
BatchMode yes
UserKnownHostsFile %[4]s/known_hosts
GlobalKnownHostsFile /dev/null
LogLevel ERROR
`

// startSSHD starts the installed sshd with all its files in dir.
func startSSHD(ctx context.Context, dir string, at site) (*sshd, error) {
	path, err := exec.LookPath("sshd")
	if err != nil {
		path = "/usr/sbin/sshd" // not in everybody's PATH
	}
	if _, err := os.Stat(path); err != nil {
		return nil, errors.New("there is no sshd to measure against: apt-get install openssh-server")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &sshd{dir: dir, config: filepath.Join(dir, "ssh_config")}
	if err := s.writeFiles(ctx, at.address); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		_ = os.Mkdir(privilegeDir, 0o755) // without it sshd says what is wrong
	}
	cmd := at.command(path, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	if s.service, err = startService(cmd, filepath.Join(dir, "sshd.log")); err != nil {
		return nil, err
	}
	if err := s.ready(ctx, func() bool { return accepts(at.address) }); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *sshd) writeFiles(ctx context.Context, address string) error {
	for _, name := range []string{"host", "user"} {
		out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(s.dir, name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("making an ssh key: %w: %s", err, out)
		}
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	hostKey, err := os.ReadFile(filepath.Join(s.dir, "host.pub"))
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"sshd_config": fmt.Sprintf(sshdConfig, address, s.dir),
		"ssh_config":  fmt.Sprintf(sshConfig, host, port, me.Username, s.dir),
		"known_hosts": fmt.Sprintf("[%s]:%s %s", host, port, hostKey),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// stop ends sshd, and the sessions that did not end with their clients.
func (s *sshd) stop() {
	_ = poll(context.Background(), 2*time.Second, func() bool { return len(descendants(s.pid())) == 0 })
	for _, pid := range descendants(s.pid()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.service.stop()
}

// command is a plain ssh of these words.
func (s *sshd) command(words ...string) program { return s.with(nil, words...) }

// with is an ssh with options.
func (s *sshd) with(options []string, words ...string) program {
	args := append([]string{"-F", s.config}, options...)
	return program{path: "ssh", args: append(append(args, "bench"), words...)}
}

// master is an ssh that holds a connection for others to share (ssh_config(5), ControlMaster).
type master struct {
	*service
	path string // of the control socket
}

// startMaster returns when the connection is authenticated: ssh makes the socket after that.
func (s *sshd) startMaster(ctx context.Context, name string) (*master, error) {
	m := &master{path: filepath.Join(s.dir, name)}
	p := s.with([]string{"-M", "-N", "-S", m.path})
	var err error
	if m.service, err = startService(exec.Command(p.path, p.args...), filepath.Join(s.dir, "master.log")); err != nil {
		return nil, err
	}
	made := func() bool { _, err := os.Stat(m.path); return err == nil }
	if err := m.ready(ctx, made); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

// through is an ssh that shares the master's connection.
func (s *sshd) through(m *master, words ...string) program {
	return s.with([]string{"-S", m.path}, words...)
}

// sshVersion is what ssh says of itself.
func sshVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
