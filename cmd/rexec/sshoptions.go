package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"rexec/internal/proto"
)

// sshOptions is what rexec is told in ssh's words only: by its letters, and by -o.
type sshOptions struct {
	config    first // -F
	subsystem bool
	show      bool   // -G
	control   string // -O
	ttys      int    // how often -t was given
	counted   int    // of that, in this scan
	noTTY     bool
	escape    escapeOption // -e
	family    first        // inet or inet6

	hostName       first
	hostKeyAlias   first
	identitiesOnly first
	requestTTY     first
	remoteCommand  first
	connectTimeout time.Duration
	attempts       first
	sendEnv        []string // patterns
	setEnv         []string

	noForwards bool     // whatever asks for a forwarding does not mean it
	refused    []string // what this program must not pass over
	notes      []string // what it does pass over
	warnings   []string // likewise, where that is seldom meant
}

// unsupportedError says which option asks for something that rexec does not do, and that matters.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string { return e.what + " is not supported" }

// define adds the letters that rexec has from ssh. What has a long name here has a function; the other
// letters are only taken, or refused.
func (s *sshOptions) define(set *pflag.FlagSet, o *options) {
	s.counted = 0
	set.VarP(&s.config, "config", "F", "")
	set.BoolVarP(&s.subsystem, "subsystem", "s", s.subsystem, "")
	set.BoolVarP(&s.show, "show-config", "G", s.show, "")
	set.VarP(sshOption{o}, "option", "o", "")
	set.CountVarP(&s.counted, "tty", "t", "")
	set.BoolVarP(&s.noTTY, "no-tty", "T", s.noTTY, "")
	letter := func(c rune, f func(string) error) {
		set.BoolFuncP(string(c), string(c), "", f)
	}
	letter('4', func(string) error { return s.family.Set("inet") })
	letter('6', func(string) error { return s.family.Set("inet6") })
	letter('f', s.refuse("-f (going to the background)"))
	for _, c := range "AXY" {
		letter(c, func(string) error { s.notes = append(s.notes, "-"+string(c)+": nothing is forwarded"); return nil })
	}
	for _, c := range "12CKMZagkxy" {
		letter(c, func(string) error { return nil })
	}
	set.VarP(&s.escape, "escape", "e", "")
	for _, c := range "EIPSm" {
		set.FuncP(string(c), string(c), "", func(string) error { return nil })
	}
	for c, what := range map[string]string{
		"b": "choosing the address to connect from", "B": "choosing the interface to connect from",
		"J": "a jump host", "Q": "listing algorithms",
		"W": "forwarding stdin and stdout to a port", "w": "a tunnel",
	} {
		set.FuncP(c, c, "", s.refuse("-"+c+" ("+what+")"))
	}
	set.VarP(controlOption{s}, "control", "O", "")
	for _, c := range "DLR" {
		set.FuncP(string(c), string(c), "", func(string) error { return s.forward("-" + string(c)) })
	}
}

// isCipherList tells what ssh's -c has, and scp and rsync pass on to it, from a command.
func isCipherList(text string) bool {
	for name := range strings.SplitSeq(strings.TrimLeft(text, "+-^"), ",") {
		known := false
		for _, cipher := range []string{"aes", "chacha20-", "3des", "arcfour", "blowfish", "cast128-"} {
			known = known || strings.HasPrefix(name, cipher)
		}
		if !known || strings.ContainsAny(name, " \t") {
			return false
		}
	}
	return true
}

func (s *sshOptions) refuse(what string) func(string) error {
	return func(string) error {
		s.refused = append(s.refused, what)
		return nil
	}
}

// forward refuses to forward a port, unless -o ClearAllForwardings came before.
func (s *sshOptions) forward(option string) error {
	if s.noForwards {
		return nil
	}
	return s.refuse(option + " (forwarding a port)")("")
}

// tty is the RequestTTY that -t, -T and -o come to.
func (s *sshOptions) tty() string {
	switch {
	case s.noTTY:
		return "no"
	case s.ttys > 1:
		return "force"
	case s.ttys == 1:
		return "yes"
	}
	return cmp.Or(s.requestTTY.value, "auto")
}

// wantsTTY reports whether ssh would give the command a terminal: for -t if stdin is one.
func (s *sshOptions) wantsTTY(stdin bool) bool {
	asked := s.tty()
	return asked == "force" || asked == "yes" && stdin
}

// wish adds the variables of SendEnv and SetEnv, which ssh offers and a server may leave out.
func (o *options) wish(getenv func(string) (string, bool), c *charsets, r *proto.Run) error {
	seen := map[string]bool{}
	add := func(name, value string) error {
		if seen[name] || strings.IndexByte(value, 0) >= 0 {
			return nil
		}
		seen[name] = true
		converted, err := c.remote("variable "+name, value)
		r.Wishes = append(r.Wishes, proto.EnvVar{Name: []byte(name), Value: converted})
		return err
	}
	for _, e := range o.ssh.setEnv {
		name, value, _ := strings.Cut(e, "=")
		if err := add(name, value); err != nil {
			return err
		}
	}
	for _, pattern := range o.ssh.sendEnv {
		for _, name := range environmentNames(pattern) {
			if value, ok := getenv(name); ok {
				if err := add(name, value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
