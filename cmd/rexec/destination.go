package main

import (
	"fmt"
	"strings"

	"rexec/internal/auth"
)

// target is where to connect, and with which key.
type target struct {
	address string // host:port, canonical
	host    string // as typed, for the prompt
	user    string
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
func resolve(o *options, store *auth.ClientStore) (*target, error) {
	user, host := splitDestination(o.destination)
	if o.user.set {
		user = o.user.value
	}
	port := defaultPort
	if o.port.set {
		if _, err := fmt.Sscanf(o.port.value, "%d", &port); err != nil || fmt.Sprint(port) != o.port.value || port < 1 || port > 65535 {
			return nil, misuse("-p %q: want a port from 1 to 65535", o.port.value)
		}
	}
	address, err := auth.CanonicalAddress(host, port)
	if err != nil {
		return nil, misuse("host %q: %v", host, err)
	}
	t := &target{address: address, host: host, user: user}
	t.key, err = findKey(store, address, o.key.value)
	return t, err
}

// findKey chooses the key: by name if one was given, else by the address.
func findKey(store *auth.ClientStore, address, name string) (auth.Enrolled, error) {
	var found []auth.Enrolled
	var err error
	if name != "" {
		found, err = store.ByName(name)
	} else {
		found, err = store.ByAddress(address)
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
	const add = "on that host: rexecd key add NAME; then here: rexec enroll, and paste its token"
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
