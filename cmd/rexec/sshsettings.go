package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sshOption is the value of -o: a setting as it would stand in ssh_config(5).
type sshOption struct{ o *options }

func (sshOption) String() string { return "" }

// Type implements [pflag.Value].
func (sshOption) Type() string { return "name=value" }

// Set implements [pflag.Value]. Of a setting the first value counts, whether -o gives it or a letter.
func (v sshOption) Set(text string) error {
	name, value, err := splitSetting(text)
	if err != nil {
		return err
	}
	s := &v.o.ssh
	for _, apply := range []func(name, value string) (known bool, err error){
		v.o.connectionSetting, v.o.commandSetting, s.refusedSetting,
	} {
		if known, err := apply(name, value); known {
			return err
		}
	}
	if !slices.Contains(idleSettings(), name) && !strings.HasPrefix(name, "gssapi") {
		s.notes = append(s.notes, "-o "+name+": not known here, passed over")
	}
	return nil
}

// idleSettings are those that are met without doing anything, or ask for less than is done anyway: nobody
// is asked for a password, the server proves itself by the key whatever StrictHostKeyChecking says, both ends
// notice a dead peer, and whether a connection is kept is --persist's, since callers set Control* unasked.
func idleSettings() []string {
	return []string{
		"batchmode", "stricthostkeychecking", "userknownhostsfile", "globalknownhostsfile", "checkhostip",
		"hashknownhosts", "updatehostkeys", "visualhostkey", "nohostauthenticationforlocalhost", "verifyhostkeydns",
		"serveraliveinterval", "serveralivecountmax", "tcpkeepalive", "compression",
		"enableescapecommandline", "forwardx11", "forwardx11trusted", "forwardx11timeout", "xauthlocation",
		"controlmaster", "controlpersist", "controlpath", "kbdinteractiveauthentication", "kbdinteractivedevices",
		"challengeresponseauthentication", "preferredauthentications", "passwordauthentication",
		"pubkeyauthentication", "hostbasedauthentication", "numberofpasswordprompts", "ciphers", "macs",
		"kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes",
		"casignaturealgorithms", "hostbasedacceptedalgorithms", "rekeylimit", "ipqos", "addkeystoagent",
		"identityagent", "certificatefile", "protocol", "localcommand", "exitonforwardfailure", "gatewayports",
		"streamlocalbindmask", "streamlocalbindunlink", "fingerprinthash", "logverbose", "syslogfacility", "tag",
		"obscurekeystroketiming", "requiredrsasize", "ignoreunknown",
	}
}

// connectionSetting takes what says where to connect, and how.
func (o *options) connectionSetting(name, value string) (known bool, err error) {
	s := &o.ssh
	switch name {
	case "port":
		err = o.port.Set(value)
	case "user":
		err = o.user.Set(value)
	case "hostname":
		err = s.hostName.Set(value)
	case "hostkeyalias":
		err = s.hostKeyAlias.Set(value)
	case "identityfile":
		if value != "none" {
			err = o.keys.Set(value)
		}
	case "identitiesonly":
		err = s.identitiesOnly.choose(value, "yes", "no")
	case "addressfamily":
		err = s.family.choose(value, "any", "inet", "inet6")
	case "connecttimeout":
		var d time.Duration
		if value != "none" && value != "0" && s.connectTimeout == 0 {
			err = span{&d}.Set(value)
			s.connectTimeout = d
		}
	case "connectionattempts":
		if n, bad := strconv.Atoi(value); bad != nil || n < 1 {
			err = errors.New("want a number from 1")
		}
		_ = s.attempts.Set(value)
	default:
		return false, nil
	}
	return true, err
}

// commandSetting takes what says what to run, and with what.
func (o *options) commandSetting(name, value string) (known bool, err error) {
	s := &o.ssh
	var answer first
	switch name {
	case "sendenv":
		for word := range strings.FieldsSeq(value) {
			if pattern, ok := strings.CutPrefix(word, "-"); ok { // takes names back
				s.sendEnv = slices.DeleteFunc(s.sendEnv, func(name string) bool { ok, _ := path.Match(pattern, name); return ok })
			} else {
				s.sendEnv = append(s.sendEnv, word)
			}
		}
	case "setenv":
		for _, word := range quotedWords(value) {
			if variable, _, ok := strings.Cut(word, "="); !ok || variable == "" {
				return true, fmt.Errorf("%q: want NAME=VALUE", word)
			}
			s.setEnv = append(s.setEnv, word)
		}
	case "escapechar":
		err = s.escape.Set(value)
	case "requesttty":
		err = s.requestTTY.choose(value, "no", "yes", "force", "auto")
	case "remotecommand":
		err = s.remoteCommand.Set(value)
	case "sessiontype":
		err = answer.choose(value, "default", "none", "subsystem")
		o.hold = o.hold || answer.value == "none"
		s.subsystem = s.subsystem || answer.value == "subsystem"
	case "stdinnull":
		err = answer.choose(value, "yes", "no")
		o.noStdin = o.noStdin || answer.value == "yes"
	case "loglevel":
		switch level := strings.ToLower(value); {
		case level == "quiet", level == "fatal", level == "error":
			o.quiet = true
		case strings.HasPrefix(level, "debug"), level == "verbose":
			o.verbose = max(o.verbose, 1)
		}
	case "clearallforwardings":
		err = answer.choose(value, "yes", "no")
		s.noForwards = s.noForwards || answer.value == "yes"
	default:
		return false, nil
	}
	return true, err
}

// refusedSetting finds what asks for protection or a way that rexec does not give.
func (s *sshOptions) refusedSetting(name, value string) (known bool, err error) {
	off := strings.ToLower(value)
	switch name {
	case "forwardagent":
		if off != "no" {
			s.notes = append(s.notes, "-o ForwardAgent: nothing is forwarded")
		}
		return true, nil
	case "localforward", "remoteforward", "dynamicforward":
		return true, s.forward("-o " + name)
	case "proxycommand", "proxyjump", "revokedhostkeys", "knownhostscommand", "pkcs11provider":
		if off == "none" {
			return true, nil
		}
	case "tunnel", "permitlocalcommand", "forkafterauthentication", "canonicalizehostname", "proxyusefdpass":
		if off == "no" {
			return true, nil
		}
	case "bindaddress", "bindinterface", "include", "match", "host":
	default:
		return false, nil
	}
	return true, s.refuse("-o " + name)("")
}

// choose sets a setting that has a few values.
func (f *first) choose(value string, choices ...string) error {
	value = strings.ToLower(value)
	switch value {
	case "true":
		value = "yes"
	case "false":
		value = "no"
	}
	if !slices.Contains(choices, value) {
		return errors.New("want " + strings.Join(choices, " or "))
	}
	return f.Set(value)
}

// splitSetting reads "Name=Value", "Name Value" and "Name = Value", the value in quotes or not.
func splitSetting(text string) (name, value string, err error) {
	text = strings.TrimSpace(text)
	end := strings.IndexAny(text, " \t=")
	if end < 1 {
		return "", "", errors.New("want name=value")
	}
	name, value = strings.ToLower(text[:end]), strings.TrimSpace(text[end:])
	value = strings.TrimSpace(strings.TrimPrefix(value, "="))
	if name != "setenv" && len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	if value == "" {
		return "", "", errors.New("the value is missing")
	}
	return name, value, nil
}

// quotedWords splits at white space, but not between double quotes, which go.
func quotedWords(s string) []string {
	var words []string
	var word strings.Builder
	quoted, begun := false, false
	for _, c := range []byte(s) {
		switch {
		case c == '"':
			quoted, begun = !quoted, true
		case !quoted && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}

// environmentNames are the variables of this process that a pattern of SendEnv names.
func environmentNames(pattern string) []string {
	if !strings.ContainsAny(pattern, "*?") {
		return []string{pattern}
	}
	var names []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if ok, _ := path.Match(pattern, name); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}
