package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rexec/internal/auth"
	"rexec/internal/hosts"
)

// target is where to connect, and with which key.
type target struct {
	address string // host:port, canonical: where to connect
	host    string // as typed, for the prompt
	user    string
	names   []string // addresses for which its key may be enrolled, the best first
	key     auth.Enrolled
}

// splitDestination reads [user@]host[:port] or ssh://[user@]host[:port].
func splitDestination(s string) (user, host string) {
	if rest, ok := strings.CutPrefix(s, "ssh://"); ok {
		s = strings.TrimSuffix(rest, "/")
	}
	// The last @ counts, since user names may hold one and host names may not.
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

// resolve finds the address and the key that a command line means.
func resolve(o *options, s hosts.Settings, store *auth.ClientStore) (*target, error) {
	t, err := findAddress(o, s)
	if err != nil {
		return nil, err
	}
	found, err := givenKey(o, t, store)
	switch {
	case err != nil:
		return t, err
	case found != nil:
		t.key = *found
	case isFile(string(s.Key)): // which are ours alone: no program writes a key of ssh's there
		t.key, err = auth.ReadKey(expandHome(string(s.Key)))
		err = keyFileError(string(s.Key), err)
	default:
		t.key, err = findKey(store, t.names, string(s.Key))
	}
	return t, err
}

// givenKey is the key that the command line names; nil if it names none, or only files that may be passed over. ssh
// offers the server one key after the other. Here it is the first that is enrolled for the host, or else the first that
// is there: a server is told of one key only.
func givenKey(o *options, t *target, store *auth.ClientStore) (*auth.Enrolled, error) {
	var chosen *auth.Enrolled
	var problem error // with the last name that is no file, or where nothing else may be used
	for _, name := range o.keys {
		var key auth.Enrolled
		var err error
		if isFile(name) {
			var path string
			if path, err = o.expandKeyFile(name, t); err != nil {
				return nil, err
			}
			if key, err = auth.ReadKey(path); err != nil && !ignorable(err) {
				return nil, err
			}
		} else {
			key, err = findKey(store, t.names, name)
		}
		switch {
		case err == nil && slices.Contains(t.names, key.Token.Address):
			return &key, nil
		case err == nil:
			if chosen == nil {
				chosen = &key
			}
		case isFile(name) && o.ssh.identitiesOnly.value != "yes":
			o.passOver(name, err)
		case isFile(name):
			problem = keyFileError(name, err)
		default:
			problem = err
		}
	}
	if chosen != nil {
		return chosen, nil
	}
	return nil, problem
}

// passOver notes that a key file is not used. As with a key of ssh's that the server does not know, others are tried,
// and the server decides. One that is not there may be a slip of the pen, and another key another account.
func (o *options) passOver(name string, err error) {
	note := "key file " + name + ": " + err.Error() + "; passed over"
	if errors.Is(err, fs.ErrNotExist) {
		o.ssh.warnings = append(o.ssh.warnings, note)
	} else {
		o.ssh.notes = append(o.ssh.notes, note)
	}
}

// findAddress finds the address, without looking at any key.
func findAddress(o *options, s hosts.Settings) (*target, error) {
	user, host := splitDestination(o.destination)
	if o.user.set {
		user = o.user.value
	} else if user == "" {
		user = string(s.User)
	}
	port := defaultPort
	if s.Port != 0 {
		port = int(s.Port)
	}
	if o.port.set {
		if _, err := fmt.Sscanf(o.port.value, "%d", &port); err != nil || fmt.Sprint(port) != o.port.value || port < 1 || port > 65535 {
			return nil, misuse("-p %q: want a port from 1 to 65535", o.port.value)
		}
		if _, named, err := net.SplitHostPort(host); err == nil && named != o.port.value {
			return nil, misuse("-p %s contradicts host %s; leave one of the two out", o.port.value, host)
		}
	}
	typed, err := auth.CanonicalAddress(host, port)
	if err != nil {
		return nil, misuse("%v", err)
	}
	t := &target{address: typed, host: host, user: user}
	if t.address, err = o.instead(s, typed); err != nil {
		return nil, err
	}
	t.names = []string{t.address, typed}
	if alias := o.ssh.hostKeyAlias.value; alias != "" {
		_, port, _ := net.SplitHostPort(t.address)
		address, err := auth.CanonicalAddress(net.JoinHostPort(alias, port), 0)
		if err != nil {
			return nil, misuse("HostKeyAlias: %v", err)
		}
		t.names = append([]string{address}, t.names...)
	}
	return t, nil
}

// instead is where to connect if the settings say another place for the address that was typed. A port that
// was typed stays.
func (o *options) instead(s hosts.Settings, typed string) (string, error) {
	name, port, err := net.SplitHostPort(typed)
	if err != nil {
		return "", err
	}
	other := o.ssh.hostName.value
	if _, notAddress := netip.ParseAddr(other); notAddress != nil { // which has a percent sign before its zone
		other, err = expand("HostName", other, map[byte]string{'h': name})
	}
	if other == "" {
		other = string(s.Address)
	}
	if other == "" || err != nil {
		return typed, err
	}
	if _, ownPort, err := net.SplitHostPort(other); err == nil && !o.port.set && !hasPort(o.destination) {
		port = ownPort
	}
	host := other
	if name, _, err := net.SplitHostPort(other); err == nil {
		host = name
	}
	address, err := auth.CanonicalAddress(net.JoinHostPort(strings.Trim(host, "[]"), port), 0)
	if err != nil {
		return "", misuse("where to connect for host %q: %v", o.destination, err)
	}
	return address, nil
}

func hasPort(destination string) bool {
	_, host := splitDestination(destination)
	_, _, err := net.SplitHostPort(host)
	return err == nil
}

// isFile tells a file from the name of an enrolled key, which has no slash and no tilde.
func isFile(key string) bool { return strings.ContainsAny(key, `/\~`) }

func expandHome(file string) string {
	rest, ok := strings.CutPrefix(file, "~/")
	home, err := os.UserHomeDir()
	if !ok || err != nil {
		return file
	}
	return filepath.Join(home, rest)
}

// ignorable reports whether a key file may be passed over: it is none of ours, or not there.
func ignorable(err error) bool {
	return errors.Is(err, auth.ErrNoKey) || errors.Is(err, fs.ErrNotExist)
}

func keyFileError(name string, err error) error {
	if err == nil || !ignorable(err) {
		return err
	}
	return &keyError{text: "key file " + name + ": " + err.Error(), hint: "rexec enroll makes such files; see key in config.toml, or leave out IdentitiesOnly"}
}

// findKey chooses the key: by name if one was given, else by the first address that has any.
func findKey(store *auth.ClientStore, addresses []string, name string) (auth.Enrolled, error) {
	var found []auth.Enrolled
	var err error
	address := addresses[0]
	if name != "" {
		found, err = store.ByName(name)
	} else {
		for _, address = range addresses {
			if found, err = store.ByAddress(address); err != nil || len(found) > 0 {
				break
			}
		}
	}
	if err != nil {
		return auth.Enrolled{}, err
	}
	if name != "" && len(found) > 1 {
		found = atAddress(found, address)
	}
	switch len(found) {
	case 0:
		return auth.Enrolled{}, noKey(store, address, name)
	case 1:
		return found[0], nil
	}
	return auth.Enrolled{}, &keyError{
		text: "several keys fit " + address + ": " + strings.Join(names(found), ", "),
		hint: "choose one with -i NAME",
	}
}

func atAddress(keys []auth.Enrolled, address string) []auth.Enrolled {
	var at []auth.Enrolled
	for _, k := range keys {
		if k.Token.Address == address {
			at = append(at, k)
		}
	}
	if len(at) == 0 {
		return keys
	}
	return at
}

func names(keys []auth.Enrolled) []string {
	var s []string
	for _, k := range keys {
		s = append(s, k.Name+" ("+k.Token.Address+")")
	}
	return s
}

// keyError says that no key could be chosen, and what to do.
type keyError struct{ text, hint string }

func (e *keyError) Error() string { return e.text }

func noKey(store *auth.ClientStore, address, name string) error {
	const add = "on that host: rexecd key add NAME; then here the line that it prints: rexec enroll '...'"
	e := &keyError{text: "no key is enrolled for " + address, hint: add}
	if name != "" {
		e.text = fmt.Sprintf("no key called %q is enrolled", name)
	}
	all, err := store.All()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		e.text += "; none is enrolled at all"
		return e
	}
	const show = 20
	known := names(all[:min(len(all), show)])
	if len(all) > show {
		known = append(known, fmt.Sprintf("and %d more", len(all)-show))
	}
	e.text += "; there are keys for: " + strings.Join(known, ", ")
	return e
}
