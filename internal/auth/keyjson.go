package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// keyLine is a key as it is written; parseKey reads the same names.
type keyLine struct {
	ID        string            `json:"id"`
	Secret    string            `json:"secret"`
	OldSecret string            `json:"old_secret,omitempty"`
	OldUntil  string            `json:"old_until,omitempty"`
	RunAs     string            `json:"run_as,omitempty"`
	Command   string            `json:"command,omitempty"`
	Argv      [][]string        `json:"argv,omitempty"`
	Charset   string            `json:"charset,omitempty"`
	NoPty     bool              `json:"no_pty,omitempty"`
	From      []string          `json:"from,omitempty"`
	Limits    map[string]string `json:"limits,omitempty"`
	NotBefore string            `json:"not_before,omitempty"`
	NotAfter  string            `json:"not_after,omitempty"`
	Created   string            `json:"created,omitempty"`
	Rotated   string            `json:"rotated,omitempty"`
	Address   string            `json:"address,omitempty"`
	Disabled  bool              `json:"disabled,omitempty"`
}

// formatKey writes the line of a key, without its end.
func formatKey(k Key) ([]byte, error) {
	if k.Secret.p == nil {
		return nil, errNoSecret
	}
	l := keyLine{ID: k.ID, Secret: k.Secret.base64(), RunAs: k.RunAs, Command: k.Command, Argv: k.Argv,
		Charset: k.Charset, NoPty: k.NoPty, NotBefore: formatTime(k.NotBefore), NotAfter: formatTime(k.NotAfter), Created: formatTime(k.Created),
		Rotated: formatTime(k.Rotated), Address: k.Address, Disabled: k.Disabled}
	if k.Old != nil {
		if k.Old.Secret.p == nil {
			return nil, errNoSecret
		}
		l.OldSecret, l.OldUntil = k.Old.Secret.base64(), formatTime(k.Old.Until)
	}
	l.Limits = formatLimits(k.Limits)
	for _, p := range k.From {
		l.From = append(l.From, p.String())
	}
	if !validStrings(l) {
		return nil, errors.New("a text in it is not UTF-8")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// validStrings looks for what encoding/json would silently replace.
func validStrings(l keyLine) bool {
	all := append(slices.Concat(l.Argv...), l.ID, l.RunAs, l.Command, l.Charset, l.Address)
	return !slices.ContainsFunc(all, func(s string) bool { return !utf8.ValidString(s) })
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// parseKey reads one line of a key file. With an error it returns what it read so far, which may
// hold the ID.
func parseKey(line []byte) (Key, error) {
	r := lineReader{json.NewDecoder(bytes.NewReader(line))}
	r.dec.UseNumber() // which a float would not hold
	var k Key
	if err := r.delim('{'); err != nil {
		return k, err
	}
	var seen []string
	for r.dec.More() {
		name, err := r.text("a name")
		if err != nil {
			return k, err
		}
		if slices.Contains(seen, name) {
			return k, problem("remove one of the two", "%q stands twice", shown(name))
		}
		seen = append(seen, name)
		if err := k.readField(&r, name); err != nil {
			return k, err
		}
	}
	if err := r.delim('}'); err != nil {
		return k, err
	}
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return k, problem("put each key on a line of its own", "something stands after the key")
	}
	return k, k.check()
}

func (k *Key) readField(r *lineReader, name string) (err error) {
	switch name {
	case "id":
		if k.ID, err = r.text(name); err == nil && !proto.ValidKeyID(k.ID) {
			k.ID = ""
			err = problem("give it another ID", "%s", keyIDRule)
		}
	case "secret":
		k.Secret, err = r.secret(name)
	case "old_secret":
		k.old().Secret, err = r.secret(name)
	case "old_until":
		k.old().Until, err = r.time(name)
	case "run_as":
		if k.RunAs, err = r.text(name); err == nil && !validAccount(k.RunAs) {
			err = problem("name an account", "run_as is not the name of an account")
		}
	case "command":
		k.Command, err = r.full(name)
	case "argv":
		k.Argv, err = r.patterns()
	case "charset":
		if k.Charset, err = r.text(name); err == nil && !ValidCharset(k.Charset) {
			err = problem("write auto, raw, utf-8, gbk or gb18030", "charset is none of the known names")
		}
	case "no_pty":
		k.NoPty, err = r.bool(name)
	case "from":
		k.From, err = r.prefixes()
	case "limits":
		k.Limits, err = r.limits()
	case "not_before":
		k.NotBefore, err = r.time(name)
	case "not_after":
		k.NotAfter, err = r.time(name)
	case "created":
		k.Created, err = r.time(name)
	case "rotated":
		k.Rotated, err = r.time(name)
	case "address":
		k.Address, err = r.address()
	case "disabled":
		k.Disabled, err = r.bool(name)
	default:
		err = problem("known are id, secret, old_secret, old_until, run_as, command, argv, charset, no_pty, from, limits, not_before, "+
			"not_after, created, rotated, address and disabled", "unknown name %q", shown(name))
	}
	return err
}

// old returns the old secret for its fields to be set.
func (k *Key) old() *OldSecret {
	if k.Old == nil {
		k.Old = &OldSecret{}
	}
	return k.Old
}

// check judges what no single field shows.
func (k *Key) check() error {
	switch {
	case k.ID == "":
		return problem("give it an ID", "the key has no id")
	case k.Secret.p == nil:
		return problem("make the key with: rexecd key add", "key %s has no secret", k.ID)
	case k.Old != nil && (k.Old.Secret.p == nil || k.Old.Until.IsZero()):
		return problem("remove the one that is there", "key %s has one of old_secret and old_until only", k.ID)
	case k.Old != nil && k.Old.Secret.Equal(k.Secret):
		return problem("remove old_secret and old_until", "key %s has the same secret as its old one", k.ID)
	case k.Command != "" && len(k.Argv) > 0:
		return problem("remove one of the two", "key %s has a command, which is always run, and a list of others in argv", k.ID)
	case !k.NotAfter.IsZero() && !k.NotBefore.Before(k.NotAfter):
		return problem("move one of the two dates", "key %s is never valid: not_after is not later than not_before", k.ID)
	}
	return nil
}

// shown is as much of an unknown name as an error may show: none at all of one that is long or odd
// enough to be a misplaced secret.
func shown(name string) string {
	if len(name) > 20 || !proto.ValidKeyID(strings.ToLower(name)) {
		return "..."
	}
	return name
}

// validAccount refuses what a tool could take for a number or an option: -1, #0, +0, 00.
func validAccount(s string) bool {
	if s == "" || len(s) > 256 || strings.ContainsAny(s[:1], "-+#.@") || strings.Trim(s, "0123456789") == "" {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' || r == '/' })
}

// ValidCharset reports whether a key may name this charset. There is one spelling of each, so that
// one charset does not look like two in a list of keys.
func ValidCharset(name string) bool {
	m, err := charset.ParseMode(name)
	return err == nil && m.String() == name
}

// lineReader reads JSON token by token. encoding/json alone would accept unknown and doubled names
// and names in the wrong case.
type lineReader struct{ dec *json.Decoder }

// token drops the cause of an error: it may quote the line.
func (r *lineReader) token(what string) (json.Token, error) {
	t, err := r.dec.Token()
	if err != nil {
		return nil, problem(lineForm, "not JSON at byte %d, where %s should be", r.dec.InputOffset()+1, what)
	}
	return t, nil
}

const lineForm = `a key looks like {"id":"alice","secret":"..."}`

func (r *lineReader) delim(want json.Delim) error {
	t, err := r.token(want.String())
	if err == nil && t != want {
		err = problem(lineForm, "%s is missing at byte %d", want, r.dec.InputOffset())
	}
	return err
}

func (r *lineReader) text(name string) (string, error) {
	t, err := r.token(name)
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	switch {
	case !ok:
		return "", problem(`write it as "text"`, "%s is not a string", shown(name))
	case strings.ContainsRune(s, 0):
		return "", problem("remove it", "NUL in %s", shown(name))
	case strings.ContainsRune(s, utf8.RuneError): // what json makes of half a surrogate pair
		return "", problem("write the character itself", "a broken character in %s", shown(name))
	}
	return s, nil
}

// full is text that is not empty: an empty one would read like no rule at all.
func (r *lineReader) full(name string) (string, error) {
	s, err := r.text(name)
	if err == nil && s == "" {
		err = problem("remove it", "%s is empty", name)
	}
	return s, err
}

func (r *lineReader) secret(name string) (Secret, error) {
	const fix = "make the key with: rexecd key add"
	text, err := r.text(name)
	if err != nil {
		return Secret{}, err
	}
	b, ok := decodeBase64(text)
	if !ok {
		return Secret{}, problem(fix, "%s is not 43 characters of unpadded base64url", name)
	}
	s, err := ParseSecret(b)
	if err != nil {
		return Secret{}, problem(fix, "%s", err.Error())
	}
	return s, nil
}

func (r *lineReader) address() (string, error) {
	s, err := r.text("address")
	if err != nil {
		return "", err
	}
	if a, err := CanonicalAddress(s, 0); err != nil || a != s {
		return "", problem("write it like db1:8000, in lower case, or remove it", "address is not host:port in plain form")
	}
	return s, nil
}

func (r *lineReader) bool(name string) (bool, error) {
	t, err := r.token(name)
	if err != nil {
		return false, err
	}
	v, ok := t.(bool)
	if !ok {
		return false, problem("write true or false", "%s is neither true nor false", name)
	}
	return v, nil
}

// time refuses instants up to 1970: the zero time would mean that there is no limit.
func (r *lineReader) time(name string) (time.Time, error) {
	s, err := r.text(name)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Unix() <= 0 || t.UTC().Year() > 9999 {
		return time.Time{}, problem("write it like 2027-01-31T00:00:00Z", "%s is not a time", name)
	}
	return t.UTC(), nil
}

// list reads an array of at least one element: whether an empty one means all or nothing would be
// anybody's guess.
func (r *lineReader) list(name string, element func() error) error {
	if err := r.delim('['); err != nil {
		return err
	}
	n := 0
	for ; r.dec.More(); n++ {
		if err := element(); err != nil {
			return err
		}
	}
	if n == 0 {
		return problem("remove it, or set disabled to true", "%s is empty", name)
	}
	return r.delim(']')
}

func (r *lineReader) patterns() (all [][]string, err error) {
	err = r.list("argv", func() error {
		var pattern []string
		err := r.list("a command in argv", func() error {
			s, err := r.text("argv")
			pattern = append(pattern, s)
			return err
		})
		if err == nil {
			err = checkPattern(pattern)
		}
		all = append(all, pattern)
		return err
	})
	return all, err
}

func checkPattern(pattern []string) error {
	if pattern[0] == "" {
		return problem("name the program", "a command in argv has no program")
	}
	for i, s := range pattern {
		if s == anyArgs && (i == 0 || i < len(pattern)-1) {
			return problem("put it last, after the program", `"*" in argv stands for all further arguments and nothing else`)
		}
	}
	return nil
}

func (r *lineReader) prefixes() (all []netip.Prefix, err error) {
	err = r.list("from", func() error {
		s, err := r.text("from")
		if err != nil {
			return err
		}
		p, err := parsePrefix(s)
		all = append(all, p)
		return err
	})
	return all, err
}

// parsePrefix takes a network or one address.
func parsePrefix(s string) (netip.Prefix, error) {
	const fix = "write a network like 10.0.0.0/8 or an address"
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, problem(fix, "an element of from is not a network")
	case p.Addr().Is4In6():
		return p, problem(fix, "an element of from is an IPv4 network in IPv6 form")
	case p != p.Masked():
		return p, problem("write "+p.Masked().String(), "%s in from is an address inside a network", p)
	}
	return p, nil
}
