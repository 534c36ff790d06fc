package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"rexec/internal/auth"
)

// readKeys reads the key file and what is known of the use of keys.
func (c *common) readKeys(io streams) (*known, error) {
	dir, err := c.state()
	if err != nil {
		return nil, err
	}
	k := &known{path: keysPath(dir)}
	store, err := auth.OpenStore(k.path)
	if err != nil {
		return nil, unusable(err)
	}
	k.keys = store.Keys()
	if k.uses, err = auth.OpenUses(usesPath(dir)); err != nil {
		notef(io.err, "when keys were last used is not known: %v", err)
	}
	if k.clock, err = auth.OpenClock(clockPath(dir)); err != nil {
		notef(io.err, "whether the clock was set back is not known: %v", err)
	}
	return k, nil
}

// known is what the state directory says of keys.
type known struct {
	path  string // of the key file
	keys  []auth.Key
	uses  *auth.Uses
	clock *auth.Clock // nil: it cannot be read
}

func keyList(c *common, io streams) error {
	all, err := c.readKeys(io)
	if err != nil {
		return err
	}
	if len(all.keys) == 0 {
		notef(io.err, "no keys; make one with: rexecd key add NAME")
		return nil
	}
	w := tabwriter.NewWriter(io.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tRUN AS\tMAY RUN\tFROM\tNOT AFTER\tLAST USED\tCHARSET")
	for _, k := range all.keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, orElse(k.RunAs, "daemon's account"), mayRun(k), sources(k), instant(k.NotAfter, "-"),
			instant(lastUse(all.uses, k).At, "-"), orElse(k.Charset, "as configured"))
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

func instant(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.UTC().Format(time.RFC3339)
}

// lastUse is the last use of a key, with whichever secret.
func lastUse(uses *auth.Uses, k auth.Key) auth.Use {
	use := uses.Last(k.Secret)
	if k.Old != nil {
		if old := uses.Last(k.Old.Secret); old.At.After(use.At) {
			return old
		}
	}
	return use
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// keyShow prints everything about one key but its secret.
func keyShow(c *common, args []string, io streams) error {
	name, err := c.oneKey("key show", args)
	if err != nil {
		return err
	}
	all, err := c.readKeys(io)
	if err != nil {
		return err
	}
	for _, k := range all.keys {
		if k.ID == name {
			return showKey(io.out, k, all)
		}
	}
	return fmt.Errorf("showing key %s: %w", name, auth.ErrUnknownKey)
}

func showKey(out io.Writer, k auth.Key, all *known) error {
	now, uses := time.Now(), all.uses
	latest := all.clock.Latest(now)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("key", k.ID)
	row("state", state(k, now, latest))
	row("runs as", orElse(k.RunAs, "daemon's account"))
	row("may run", mayRun(k))
	for _, argv := range k.Argv {
		text, _ := json.Marshal(argv) // of strings, which cannot fail
		row("", string(text))
	}
	row("from", sources(k))
	row("charset", orElse(k.Charset, "as configured"))
	row("terminals", map[bool]string{false: "yes", true: "no"}[k.NoPty])
	for _, l := range k.Limits {
		row("limit", l.Name+"="+l.String())
	}
	row("address", orElse(k.Address, "unknown"))
	row("created", instant(k.Created, "unknown"))
	row("not before", instant(k.NotBefore, "-"))
	row("not after", instant(k.NotAfter, "-"))
	row("rotated", instant(k.Rotated, "never"))
	row("last used", used(uses.Last(k.Secret)))
	if k.Old != nil {
		row("old secret", old(k.Old, latest))
		row("old last used", used(uses.Last(k.Old.Secret)))
	}
	row("stands in", all.path+":"+strconv.Itoa(k.Line))
	return w.Flush()
}

// state is what now and the latest time seen make of a key.
func state(k auth.Key, now, latest time.Time) string {
	switch {
	case k.Disabled:
		return "disabled"
	case !k.NotAfter.IsZero() && !latest.Before(k.NotAfter):
		return "expired"
	case now.Before(k.NotBefore):
		return "not valid yet"
	}
	return "valid"
}

func used(u auth.Use) string {
	if u.At.IsZero() {
		return "never, as far as is known"
	}
	return instant(u.At, "") + " from " + u.From.String()
}

func old(s *auth.OldSecret, now time.Time) string {
	if now.Before(s.Until) {
		return "good until " + instant(s.Until, "")
	}
	return "ended on " + instant(s.Until, "")
}
