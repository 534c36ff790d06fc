package main

import (
	"time"

	"rexec/internal/auth"
)

// changeKey dispatches the verbs that alter a key.
func (c *common) changeKey(verb string, args []string, io streams) error {
	switch verb {
	case "key rotate":
		return keyRotate(c, args, io)
	case "key expire":
		return keyExpire(c, args, io)
	case "key revoke":
		return keyRevoke(c, args, io)
	}
	return misuse("unknown verb %q", verb)
}

// editError is the error of a change to a key file, marked if it is the file that cannot be used.
func editError(path string, err error) error {
	if _, bad := auth.OpenStore(path); bad != nil {
		return unusable(err)
	}
	return err
}

// oneKey parses the arguments of a verb that takes the name of a key and nothing else.
func (c *common) oneKey(verb string, args []string) (string, error) {
	names, err := c.parse(c.flags(verb), args)
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		return "", misuse("%s needs exactly one name; rexecd key list shows them", verb)
	}
	return names[0], nil
}

// keyRotate gives a key a new secret and prints what enrolls it.
func keyRotate(c *common, args []string, io streams) error {
	set := c.flags("key rotate")
	keepText := set.String("keep", "7d", "")
	given := set.String("address", "", "")
	names, err := c.parse(set, args)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return misuse("key rotate needs exactly one name; rexecd key list shows them")
	}
	keep, ok := span(*keepText)
	if !ok {
		return misuse("--keep %q: want a span (7d, 12h), or 0 to end the old secret at once", *keepText)
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := serverID(dir)
	if err != nil {
		return err
	}
	key, err := rotate(c, keysPath(dir), names[0], *given, keep)
	if err != nil {
		return editError(keysPath(dir), err)
	}
	if err := printToken(id, key, io); err != nil {
		return err
	}
	if key.Old == nil {
		notef(io.err, "the old secret of key %s is not valid any more; paste the line on the client", key.ID)
		return nil
	}
	notef(io.err, "the old secret of key %s is good until %s; paste the line on the client before then; "+
		"whether it still uses the old one: rexecd key show %s", key.ID, key.Old.Until.Format(time.RFC3339), key.ID)
	return nil
}

// rotate settles the token's address first: nothing may fail once the secret is another one.
func rotate(c *common, path, name, given string, keep time.Duration) (auth.Key, error) {
	cfg, _, err := c.load()
	if err != nil {
		return auth.Key{}, err
	}
	return auth.RotateKey(path, name, auth.Rotation{Now: time.Now(), Keep: keep, Address: func(known string) (string, error) {
		if given == "" && known != "" {
			return known, nil
		}
		return reach(given, cfg)
	}})
}

// keyExpire moves the end of a key.
func keyExpire(c *common, args []string, io streams) error {
	words, err := c.parse(c.flags("key expire"), args)
	if err != nil {
		return err
	}
	if len(words) != 2 {
		return misuse("key expire needs a name and a time: a date, a span such as 90d, now, or never")
	}
	var end time.Time
	switch name, when := words[0], words[1]; when {
	case "never":
	case "now":
		end = time.Now().UTC().Truncate(time.Second)
	default:
		if end, err = moment("key expire "+name, when, time.Now()); err != nil {
			return err
		}
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	key, err := auth.ChangeKey(keysPath(dir), words[0], func(k *auth.Key) error {
		k.NotAfter = end
		return nil
	})
	if err != nil {
		return editError(keysPath(dir), err)
	}
	if end.IsZero() {
		notef(io.err, "key %s has no end", key.ID)
		return nil
	}
	notef(io.err, "key %s ends on %s", key.ID, instant(end, ""))
	return nil
}

func keyRevoke(c *common, args []string, io streams) error {
	name, err := c.oneKey("key revoke", args)
	if err != nil {
		return err
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	if err := auth.RevokeKey(keysPath(dir), name); err != nil {
		return editError(keysPath(dir), err)
	}
	notef(io.err, "key %s is not valid any more", name)
	return nil
}
