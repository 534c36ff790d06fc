package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)
	langName = regexp.MustCompile(`^[A-Za-z0-9_.@-]+$`)
)

// oneOf returns a check that accepts only the given words.
func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		return fmt.Errorf("must be one of %s, not %s", strings.Join(words, ", "), quoted(s))
	}
}

// checkListen accepts host:port with an IP address, a host name or nothing as
// host. Named ports are refused, since what they mean depends on the machine.
func checkListen(s string) error {
	const want = `must be host:port, such as ":8000", "192.0.2.1:8000" or "[::1]:8000"`
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("%s, not %s", want, quoted(s))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, bare := netip.ParseAddr(s); bare == nil && strings.Contains(s, ":") {
			return fmt.Errorf(`%s: write the IPv6 address in brackets and add the port: %s`, want, quoted("["+s+"]:8000"))
		}
		return fmt.Errorf("%s, not %s", want, quoted(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%s: the port must be a number from 0 to 65535, not %s", want, quoted(port))
	}
	if port == "512" {
		return errors.New("must not be port 512: it belongs to the rexec of 4.2BSD, which sends passwords as they are, and auditors look for it there")
	}
	if _, err := netip.ParseAddr(host); host != "" && err != nil && !hostName.MatchString(host) {
		return fmt.Errorf("%s: %s is neither an address nor a host name (for every address leave it out)", want, quoted(host))
	}
	return nil
}

// checkPath accepts a list of absolute directories. An empty element would
// mean the current directory, where anybody may have put a program.
func checkPath(s string) error {
	for dir := range strings.SplitSeq(s, ":") {
		if !strings.HasPrefix(dir, "/") {
			return fmt.Errorf("must be absolute directories separated by colons; %s is not absolute", quoted(dir))
		}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("must not contain control characters")
	}
	return nil
}

// checkCgroup accepts a directory in its shortest form, so that two names of one
// are seen as one.
func checkCgroup(s string) error {
	if s == "auto" || s == "own" || s == "off" || path.IsAbs(s) && path.Clean(s) == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil
	}
	return fmt.Errorf(`must be "auto", "own", "off" or the directory of a cgroup such as "/sys/fs/cgroup/rexecd", not %s`, quoted(s))
}

func checkLang(s string) error {
	if !langName.MatchString(s) {
		return fmt.Errorf(`must be the name of a locale such as "C.UTF-8", not %s`, quoted(s))
	}
	return nil
}
