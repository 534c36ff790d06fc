package auth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxAddress = 255 // bytes of host:port, whose length is one byte in a token
	maxHost    = 253 // bytes of a name (RFC 1035)
	maxLabel   = 63
	maxZone    = 15 // bytes of the name of a network interface
)

// CanonicalAddress turns what a user types into host:port: the host in lower case, an IPv6 address in
// its shortest form and in brackets. It accepts a host, host:port, [IPv6]:port and a bare IPv6
// address, also with a zone. defaultPort stands in for a missing port; 0 demands one.
func CanonicalAddress(s string, defaultPort int) (string, error) {
	full, err := canonicalAddress(s, defaultPort)
	if err != nil {
		return "", fmt.Errorf("address %s: %w", quoted(s), err)
	}
	return full, nil
}

func canonicalAddress(s string, defaultPort int) (string, error) {
	host, port, err := splitAddress(s)
	if err != nil {
		return "", err
	}
	n := defaultPort
	if port != nil {
		if n, err = parsePort(*port); err != nil {
			return "", err
		}
	}
	if n == 0 {
		return "", errors.New("the port is missing: write host:port")
	}
	full := net.JoinHostPort(host, strconv.Itoa(n))
	if len(full) > maxAddress {
		return "", fmt.Errorf("longer than %d bytes", maxAddress)
	}
	return full, nil
}

// quoted shows the start of an address with control characters escaped.
func quoted(s string) string {
	if len(s) > 80 {
		return strconv.Quote(s[:77]) + "..."
	}
	return strconv.Quote(s)
}

// splitAddress returns the host in its canonical form and the port as it stands, nil for none.
func splitAddress(s string) (host string, port *string, err error) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		inner, rest, closed := strings.Cut(rest, "]")
		if a, ok := parseIPv6(inner); ok && closed {
			if rest == "" {
				return a, nil, nil
			}
			if p, ok := strings.CutPrefix(rest, ":"); ok {
				return a, &p, nil
			}
		}
		return "", nil, errors.New("brackets are for an IPv6 address, as in [::1]:8000")
	}
	if a, ok := parseIPv6(s); ok {
		return a, nil, nil
	}
	if strings.Count(s, ":") > 1 {
		return "", nil, errors.New("neither host:port nor an IPv6 address; write the latter as in [::1]:8000")
	}
	name, p, found := strings.Cut(s, ":")
	if found {
		port = &p
	}
	host, err = canonicalHost(name)
	return host, port, err
}

func parseIPv6(s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || len(a.Zone()) > maxZone || strings.Trim(a.Zone(), zoneBytes) != "" {
		return "", false
	}
	return a.String(), true
}

const zoneBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16) // takes digits only
	if err != nil || n == 0 {
		return 0, errors.New("a port is a number from 1 to 65535")
	}
	return int(n), nil
}

func canonicalHost(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("the host is missing")
	case s[0] == '-':
		return "", errors.New("a host does not begin with -")
	case len(s) > maxHost:
		return "", fmt.Errorf("a host has at most %d bytes", maxHost)
	}
	for i := range len(s) {
		c := s[i] | 0x20
		switch {
		case s[i] >= 0x80:
			return "", errors.New("write an international name in its xn-- form")
		case c >= 'a' && c <= 'z', s[i] >= '0' && s[i] <= '9', s[i] == '-', s[i] == '.', s[i] == '_':
		default:
			return "", errors.New("a host has letters, digits, dots and hyphens only")
		}
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > maxLabel {
			return "", fmt.Errorf("the parts of a host have 1 to %d bytes", maxLabel)
		}
	}
	return strings.ToLower(s), nil
}
