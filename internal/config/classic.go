package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
)

var keyID = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// orEmpty returns a check that accepts an empty text, too, for what is off by default.
func orEmpty(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func checkKey(s string) error {
	if !keyID.MatchString(s) {
		return fmt.Errorf("must be the name of a key, 1 to 64 of a-z 0-9 . _ @ -, the first a letter or digit, not %s", quoted(s))
	}
	return nil
}

// checkFile wants a path that means the same wherever the daemon was started.
func checkFile(s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("must be an absolute path, not %s", quoted(s))
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return errors.New("must not contain control characters")
		}
	}
	return nil
}

// checkClassic looks at what each value alone does not show: listeners that would be open to more people
// than their keys say, or that would serve nobody.
func checkClassic(doc *document, c *Classic) problems {
	var found problems
	report := func(key, msg, hint string) {
		found = append(found, &Error{Line: doc.line([]string{"classic", key}), Key: "classic." + key, Msg: msg, Hint: hint})
	}
	for _, l := range []struct{ key, address string }{{"listen_tcp", c.ListenTCP}, {"listen_udp", c.ListenUDP}} {
		if l.address == "" {
			continue
		}
		if c.Key == "" {
			report(l.key, "there is no key to run commands with",
				"set classic.key to the name of a key, which rexecd key add NAME makes")
		}
		if !c.Insecure && !loopback(l.address) {
			report(l.key, "is reached from other machines, and the classic protocols are plain text",
				"listen on 127.0.0.1, or set classic.insecure = true")
		}
	}
	switch {
	case c.Auth == "none" && c.SecretFile != "":
		report("secret_file", `is of no use with classic.auth = "none"`,
			`set classic.auth = "hmac-sha256", or remove secret_file`)
	case c.Auth != "none" && c.SecretFile == "":
		report("auth", "there is no secret to check the clients' answers with",
			"set classic.secret_file to a file with the secret, of mode 0600")
	}
	return found
}

// loopback reports whether only this machine reaches an address that checkListen has accepted. What a
// name means is known when it is listened on, except for the one name that is for this.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
