package main

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"time"

	"rexec/internal/auth"
)

// showConfig prints the settings for the host, one "name value" a line, with ssh -G's names where there
// are such. It connects to nothing, and needs no key: git asks this way what the program takes.
func (p *program) showConfig() error {
	dir, err := configDir()
	if err != nil {
		return err
	}
	if p.settings, err = p.readSettings(dir); err != nil {
		return err
	}
	p.tellPassedOver()
	o, s := p.options, p.settings
	t, err := findAddress(o, s)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(t.address)
	if err != nil {
		return err
	}
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s %s\n", name, printable(value))
		}
	}
	line("host", t.host)
	line("user", t.user)
	line("hostname", host)
	line("port", port)
	line("addressfamily", cmp.Or(o.ssh.family.value, "any"))
	line("batchmode", "yes")
	line("stricthostkeychecking", "yes")
	line("connectionattempts", cmp.Or(o.ssh.attempts.value, "1"))
	line("connecttimeout", seconds(cmp.Or(o.ssh.connectTimeout, time.Duration(s.ConnectTimeout))))
	line("hostkeyalias", o.ssh.hostKeyAlias.value)
	line("identitiesonly", cmp.Or(o.ssh.identitiesOnly.value, "no"))
	for _, file := range keyFiles(o, string(s.Key), t, auth.OpenClientStore(dir)) {
		line("identityfile", file)
	}
	line("escapechar", o.ssh.escape.String())
	if command := o.ssh.remoteCommand.value; command != "none" {
		line("remotecommand", command)
	}
	line("requesttty", o.ssh.tty())
	for _, name := range o.ssh.sendEnv {
		line("sendenv", name)
	}
	line("transport", transportName(o, string(s.Transport)))
	line("persist", seconds(o.persistTime(s)))
	line("timeout", seconds(cmp.Or(o.timeout, time.Duration(s.Timeout))))
	line("charset", modeName(o.charset, string(s.Charset)))
	line("localcharset", modeName(o.localCharset, string(s.LocalCharset)))
	line("cmdcharset", modeName(o.cmdCharset, string(s.CmdCharset)))
	_, err = p.out.WriteString(b.String())
	return err
}

// keyFiles are the files of the keys that would do.
func keyFiles(o *options, setting string, t *target, store *auth.ClientStore) []string {
	names := o.keys
	if len(names) == 0 {
		names = many{setting}
	}
	var files []string
	var found []auth.Enrolled
	for _, name := range names {
		switch {
		case isFile(name):
			if path, err := o.expandKeyFile(name, t); err == nil {
				files = append(files, path)
			}
		case name != "":
			some, _ := store.ByName(name) // what cannot be read is told when it is needed
			found = append(found, atAddress(some, t.address)...)
		}
	}
	for _, address := range t.names {
		if len(files)+len(found) == 0 {
			found, _ = store.ByAddress(address)
		}
	}
	for _, k := range found {
		files = append(files, k.Path)
	}
	return files
}

func transportName(o *options, setting string) string {
	switch {
	case o.tcp:
		return "tcp"
	case o.udp:
		return "udp"
	}
	return cmp.Or(setting, "auto")
}

func modeName(m modeOption, setting string) string {
	if m.set {
		return m.mode.String()
	}
	return setting
}

// seconds is a time limit in seconds; none if there is none.
func seconds(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return fmt.Sprint(d.Seconds())
}
