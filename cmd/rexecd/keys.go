package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"rexec/internal/auth"
	"rexec/internal/config"
)

// identity opens this server's identity or makes it, so that a key can be added before the daemon's
// first start.
func identity(dir string) (auth.Identity, error) {
	id, err := auth.OpenIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		id, err = auth.CreateIdentity(dir)
	}
	return id, err
}

func printID(c *common, io streams) error {
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := identity(dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(io.out, id.ID)
	return err
}

// keyOptions are what key add was told.
type keyOptions struct {
	address, runAs, command, notAfter string
	from, argv                        []string
}

func keyAdd(c *common, args []string, io streams) error {
	var o keyOptions
	set := c.flags("key add")
	set.StringVar(&o.address, "address", "", "")
	set.StringVar(&o.runAs, "run-as", "", "")
	set.StringVar(&o.command, "command", "", "")
	set.StringVar(&o.notAfter, "not-after", "", "")
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
	address, err := o.reach(cfg)
	if err != nil {
		return err
	}
	return storeKey(c, key, address, io)
}

// storeKey writes the key and prints its token: the token alone on stdout.
func storeKey(c *common, key auth.Key, address string, io streams) error {
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := identity(dir)
	if err != nil {
		return err
	}
	if err := auth.AddKey(keysPath(dir), key); err != nil {
		return err
	}
	token := auth.Token{Address: address, Key: auth.ClientKey{Server: id.ID, KeyID: key.ID, Secret: key.Secret}}
	if _, err := fmt.Fprintln(io.out, token.Encode()); err != nil {
		return err
	}
	notef(io.err, "key %s runs commands as %s; on the client: rexec enroll, then paste the token, then: rexec %s",
		key.ID, key.RunAs, address)
	return nil
}

func (o *keyOptions) key(name string, now time.Time) (auth.Key, error) {
	k := auth.Key{ID: name, RunAs: o.runAs, Command: o.command, Created: now.UTC().Truncate(time.Second)}
	if k.RunAs == "" {
		me, err := user.Current()
		if err != nil {
			return k, fmt.Errorf("finding your account (give --run-as): %w", err)
		}
		k.RunAs = me.Username
	} else if _, err := user.Lookup(k.RunAs); err != nil {
		return k, misuse("--run-as %q: there is no such account", k.RunAs)
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
	if o.notAfter != "" {
		k.NotAfter, err = moment(o.notAfter, now)
	}
	return k, err
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
func moment(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t.UTC(), nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 36_500 {
			return now.AddDate(0, 0, n).UTC().Truncate(time.Second), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	return time.Time{}, misuse("--not-after %q: want a date (2027-01-31), a time (2027-01-31T12:00:00Z) or a span (90d, 12h)", s)
}

// reach is the address to put into the token.
func (o *keyOptions) reach(cfg config.Config) (string, error) {
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return "", fmt.Errorf("reading the listen address: %w", err)
	}
	if o.address == "" {
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
	address, err := auth.CanonicalAddress(o.address, n)
	if err != nil {
		return "", misuse("--address %q: %v", o.address, err)
	}
	return address, nil
}

func keyList(c *common, io streams) error {
	dir, err := c.state()
	if err != nil {
		return err
	}
	store, err := auth.OpenStore(keysPath(dir))
	if err != nil {
		return err
	}
	keys := store.Keys()
	if len(keys) == 0 {
		notef(io.err, "no keys; make one with: rexecd key add NAME")
		return nil
	}
	w := tabwriter.NewWriter(io.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tRUN AS\tMAY RUN\tFROM\tNOT AFTER")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, orElse(k.RunAs, "daemon's account"), mayRun(k), sources(k), ends(k))
	}
	return w.Flush()
}

func mayRun(k auth.Key) string {
	switch {
	case k.Disabled:
		return "nothing (disabled)"
	case k.Command != "":
		return strconv.Quote(k.Command)
	case len(k.Argv) > 0:
		return fmt.Sprintf("%d listed commands", len(k.Argv))
	}
	return "anything"
}

func sources(k auth.Key) string {
	var s []string
	for _, p := range k.From {
		s = append(s, p.String())
	}
	return orElse(strings.Join(s, ","), "anywhere")
}

func ends(k auth.Key) string {
	if k.NotAfter.IsZero() {
		return "-"
	}
	return k.NotAfter.Format(time.RFC3339)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func keyRevoke(c *common, args []string, io streams) error {
	names, err := c.parse(c.flags("key revoke"), args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return misuse("key revoke needs exactly one name; rexecd key list shows them")
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	if err := auth.RevokeKey(keysPath(dir), names[0]); err != nil {
		return err
	}
	notef(io.err, "key %s is not valid any more", names[0])
	return nil
}
