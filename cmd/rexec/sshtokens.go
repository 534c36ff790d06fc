package main

import (
	"cmp"
	"crypto/sha1" // of ssh: it names files
	"encoding/hex"
	"net"
	"os"
	"strconv"
	"strings"
)

// expand replaces the tokens of ssh_config(5), a percent sign and a letter, in a value of a setting.
func expand(setting, text string, tokens map[byte]string) (string, error) {
	if strings.IndexByte(text, '%') < 0 {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		i++
		var value string
		known := i < len(text)
		if known && text[i] == '%' {
			value = "%"
		} else if known {
			value, known = tokens[text[i]]
		}
		if !known {
			return "", misuse("%s %q: %q is no token of this setting; write %%%% for a percent sign", setting, text, text[i-1:min(i+1, len(text))])
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// tokens are those of ssh_config(5) that IdentityFile and RemoteCommand take.
func (o *options) tokens(t *target) map[byte]string {
	host, port, _ := net.SplitHostPort(t.address)
	_, typed := splitDestination(o.destination)
	if name, _, err := net.SplitHostPort(typed); err == nil {
		typed = name
	}
	local, _ := os.Hostname()
	home, _ := os.UserHomeDir()
	here := cmp.Or(os.Getenv("USER"), os.Getenv("LOGNAME"), os.Getenv("USERNAME"))
	there := cmp.Or(t.user, here)
	first, _, _ := strings.Cut(local, ".")
	sum := sha1.Sum([]byte(local + host + port + there))
	return map[byte]string{
		'C': hex.EncodeToString(sum[:]), 'd': home, 'h': host, 'i': strconv.Itoa(os.Getuid()), 'j': "",
		'k': cmp.Or(o.ssh.hostKeyAlias.value, typed), 'L': first, 'l': local, 'n': typed, 'p': port, 'r': there, 'u': here,
	}
}

// expandKeyFile is the path of a key file as it was given.
func (o *options) expandKeyFile(name string, t *target) (string, error) {
	path, err := expand("IdentityFile", name, o.tokens(t))
	return expandHome(path), err
}

// addRemoteCommand makes the RemoteCommand of ssh the command, which has a terminal unless it was said otherwise: for
// ssh none was given on the command line.
func (o *options) addRemoteCommand(t *target) error {
	text := o.ssh.remoteCommand.value
	if text == "" || text == "none" || o.hold {
		return nil
	}
	text, err := expand("RemoteCommand", text, o.tokens(t))
	o.command = first{value: text, set: true}
	if o.ssh.requestTTY.value == "" || o.ssh.requestTTY.value == "auto" {
		o.ssh.ttys = max(o.ssh.ttys, 1)
	}
	return err
}
