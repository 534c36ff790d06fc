package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"rexec/internal/auth"
	"rexec/internal/hosts"
)

// listHosts prints the hosts that are known here, one a line: those with a key, and the names in config.toml. It is
// what shells complete, so it reads no key and connects to nothing.
func (p *program) listHosts() error {
	dir, err := configDir()
	if err != nil {
		return err
	}
	name, err := p.options.settingsFile(dir)
	if err != nil {
		return err
	}
	addresses, err := auth.OpenClientStore(dir).Addresses()
	if err != nil {
		return err
	}
	var names []string
	for _, address := range addresses {
		host, port, _ := net.SplitHostPort(address)
		switch {
		case port != strconv.Itoa(defaultPort):
			host = address
		case strings.Contains(host, ":"):
			host = "[" + host + "]"
		}
		names = append(names, host)
	}
	if name != "" {
		file, err := hosts.Load(name)
		if err != nil {
			return err
		}
		names = append(names, file.Names()...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { // what a shell could take for more than a word
		_, err := auth.CanonicalAddress(name, defaultPort)
		return err != nil
	})
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if _, err := fmt.Fprintln(p.out, name); err != nil {
			return err
		}
	}
	return nil
}
