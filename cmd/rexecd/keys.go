package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"rexec/internal/auth"
	"rexec/internal/config"
)

// keyOptions are what key add was told.
type keyOptions struct {
	address, runAs, command, charset, notBefore, notAfter string
	from, argv, limits                                    []string
	noPty                                                 bool
}

func keyAdd(c *common, args []string, io streams) error {
	var o keyOptions
	set := c.flags("key add")
	set.StringVar(&o.address, "address", "", "")
	set.StringVar(&o.runAs, "run-as", "", "")
	set.StringVar(&o.command, "command", "", "")
	set.StringVar(&o.charset, "charset", "", "")
	set.BoolVar(&o.noPty, "no-pty", false, "")
	set.StringVar(&o.notAfter, "not-after", "", "")
	set.StringVar(&o.notBefore, "not-before", "", "")
	set.StringArrayVar(&o.limits, "limit", nil, "")
	set.StringArrayVar(&o.from, "from", nil, "")
	set.StringArrayVar(&o.argv, "argv", nil, "")
	names, err := c.parse(set, args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return misuse("key add needs exactly one name")
	}
	cfg, _, err := c.load()
	if err != nil {
		return err
	}
	key, err := o.key(names[0], time.Now())
	if err != nil {
		return err
	}
	if key.Address, err = reach(o.address, cfg); err != nil {
		return err
	}
	return storeKey(c, key, io)
}

// storeKey writes the key and prints what enrolls it.
func storeKey(c *common, key auth.Key, io streams) error {
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := serverID(dir)
	if err != nil {
		return err
	}
	if err := auth.AddKey(keysPath(dir), key); err != nil {
		return editError(keysPath(dir), err)
	}
	if err := printToken(id, key, io); err != nil {
		return err
	}
	clock, _ := auth.OpenClock(clockPath(dir)) // whose error the daemon tells
	if !key.NotAfter.IsZero() && !key.NotAfter.After(clock.Latest(key.Created)) {
		notef(io.err, "warning: key %s ended on %s already, so nobody can use it; to move its end: rexecd key expire %s WHEN",
			key.ID, instant(key.NotAfter, ""), key.ID)
	}
	notef(io.err, "key %s runs commands as %s; paste the line on the client, then: rexec %s", key.ID, key.RunAs, key.Address)
	return nil
}

// printToken prints the line that enrolls a key on a client, and nothing else on stdout.
func printToken(id auth.ServerID, key auth.Key, io streams) error {
	token := auth.Token{Address: key.Address, Key: auth.ClientKey{Server: id, KeyID: key.ID, Secret: key.Secret}}
	_, err := fmt.Fprintf(io.out, "rexec enroll '%s'\n", token.Encode()) // no character of it means anything to a shell
	return err
}

func (o *keyOptions) key(name string, now time.Time) (auth.Key, error) {
	k := auth.Key{ID: name, RunAs: o.runAs, Command: o.command, Charset: o.charset, NoPty: o.noPty, Created: now.UTC().Truncate(time.Second)}
	if k.RunAs == "" {
		me, err := user.Current()
		if err != nil {
			return k, fmt.Errorf("finding your account (give --run-as): %w", err)
		}
		k.RunAs = me.Username
	} else if _, err := user.Lookup(k.RunAs); err != nil {
		return k, misuse("--run-as %q: there is no such account", k.RunAs)
	}
	if o.charset != "" && !auth.ValidCharset(o.charset) {
		return k, misuse("--charset %q: want auto, raw, utf-8, gbk or gb18030", o.charset)
	}
	var err error
	if k.Secret, err = auth.NewSecret(); err != nil {
		return k, err
	}
	for _, f := range o.from {
		p, err := prefix(f)
		if err != nil {
			return k, misuse("--from %q: want an address or a range such as 10.0.0.0/8", f)
		}
		k.From = append(k.From, p)
	}
	for _, text := range o.argv {
		argv, err := vector(text)
		if err != nil {
			return k, err
		}
		k.Argv = append(k.Argv, argv)
	}
	if k.Limits, err = limits(o.limits); err != nil {
		return k, err
	}
	if o.notBefore != "" {
		if k.NotBefore, err = moment("--not-before", o.notBefore, now); err != nil {
			return k, err
		}
	}
	if o.notAfter != "" {
		k.NotAfter, err = moment("--not-after", o.notAfter, now)
	}
	return k, err
}

func limits(texts []string) (all []auth.Limit, err error) {
	for _, text := range texts {
		name, value, _ := strings.Cut(text, "=")
		l, err := auth.ParseLimit(name, value)
		if err != nil {
			return nil, misuse("--limit %q: %v; write it like nofile=1024", text, err)
		}
		if slices.ContainsFunc(all, func(o auth.Limit) bool { return o.Name == name }) {
			return nil, misuse("--limit %s is given twice", name)
		}
		all = append(all, l)
	}
	return all, nil
}

func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// vector reads an allowed command: words, or a JSON array for words with spaces.
func vector(text string) ([]string, error) {
	if strings.HasPrefix(text, "[") {
		var words []string
		if err := json.Unmarshal([]byte(text), &words); err != nil || len(words) == 0 {
			return nil, misuse("--argv %s: want a JSON array of strings", text)
		}
		return words, nil
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil, misuse("--argv is empty")
	}
	return words, nil
}

// moment reads a date, a time or a span from now on.
func moment(name, s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t.UTC(), nil
		}
	}
	if d, ok := span(s); ok && d > 0 {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	return time.Time{}, misuse("%s %q: want a date (2027-01-31), a time (2027-01-31T12:00:00Z) or a span (90d, 12h)", name, s)
}

// span reads a number of days, or a duration as Go writes it.
func span(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n < 36_500
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// reach is the address to put into a token: the one that was given, or this host's name and the daemon's port.
func reach(given string, cfg config.Config) (string, error) {
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", fmt.Errorf("reading the listen address: %w", err)
	}
	if given == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("finding this host's name (give --address): %w", err)
		}
		if port == "0" {
			return "", misuse("the daemon listens on any free port; say which with --address HOST:PORT")
		}
		return auth.CanonicalAddress(net.JoinHostPort(host, port), 0)
	}
	n, _ := strconv.Atoi(port)
	address, err := auth.CanonicalAddress(given, n)
	if err != nil {
		return "", misuse("--address %q: %v", given, err)
	}
	return address, nil
}
