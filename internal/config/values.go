package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// typeError says that v has the wrong TOML type. It names the type and not
// the value, which may be a secret in a key such as exec.env.
func typeError(want string, v any) error {
	return fmt.Errorf("must be %s, not %s", want, typeName(v))
}

// typeName names the TOML type of v as its users call it.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "text in quotes"
	case int64:
		return "an integer"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "a list"
	default:
		return "a table"
	}
}

// quoted is s as errors show it.
func quoted(s string) string { return quote(clip(s)) }

// text is a string that check accepts.
type text struct {
	p     *string
	check func(string) error
}

func (t *text) set(v any) error {
	s, ok := v.(string)
	if !ok {
		return typeError("text in quotes", v)
	}
	if err := t.check(s); err != nil {
		return err
	}
	*t.p = s
	return nil
}

func (t *text) toml() string { return quote(*t.p) }

// integer is a whole number from min to max, both included.
type integer struct {
	p        *int
	min, max int64
}

func (i *integer) set(v any) error {
	n, ok := v.(int64)
	if !ok {
		return typeError("an integer without quotes", v)
	}
	if n < i.min || n > i.max {
		return fmt.Errorf("must be from %d to %d, not %d", i.min, i.max, n)
	}
	*i.p = int(n)
	return nil
}

func (i *integer) toml() string { return strconv.Itoa(*i.p) }

// boolean is true or false.
type boolean struct{ p *bool }

func (b *boolean) set(v any) error {
	on, ok := v.(bool)
	if !ok {
		return typeError("true or false without quotes", v)
	}
	*b.p = on
	return nil
}

func (b *boolean) toml() string { return strconv.FormatBool(*b.p) }

// duration is a time from min to max, both included, in the form of
// [time.ParseDuration].
type duration struct {
	p        *time.Duration
	min, max time.Duration
}

func (d *duration) set(v any) error {
	s, ok := v.(string)
	if !ok {
		return typeError(`a duration in quotes such as "60s" (units ms, s, m, h)`, v)
	}
	n, err := time.ParseDuration(s)
	if err != nil {
		// The cause would only repeat the text.
		return fmt.Errorf(`%s is not a duration such as "60s" (units ms, s, m, h)`, quoted(s))
	}
	if n < d.min || n > d.max {
		return fmt.Errorf("must be from %s to %s, not %s", short(d.min), short(d.max), short(n))
	}
	*d.p = n
	return nil
}

func (d *duration) toml() string { return quote(short(*d.p)) }

// short is d without the zero units that [time.Duration.String] adds.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// umask is an octal number in quotes: without them TOML reads 022 as an error
// and 22 as a decimal number.
type umask struct{ p *uint32 }

func (u *umask) set(v any) error {
	const want = `an octal number in quotes from "000" to "777", such as "022"`
	s, ok := v.(string)
	if !ok {
		return typeError(want, v)
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || len(s) < 3 || n > 0o777 {
		return fmt.Errorf("must be %s, not %s", want, quoted(s))
	}
	*u.p = uint32(n)
	return nil
}

func (u *umask) toml() string { return quote(fmt.Sprintf("%03o", *u.p)) }

var (
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	envPattern = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\*?|\*)$`)
)

// patterns is a list of names of environment variables, each with an optional
// trailing *.
type patterns struct{ p *[]string }

func (l *patterns) set(v any) error {
	list, ok := v.([]any)
	if !ok {
		return typeError(`a list of names such as ["LANG", "LC_*"]`, v)
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return fmt.Errorf("must hold names in quotes, not %s", typeName(item))
		}
		if !envPattern.MatchString(s) {
			return fmt.Errorf("%s is not the name of a variable (letters, digits and _, at the end perhaps *)", quoted(s))
		}
		out = append(out, s)
	}
	*l.p = out
	return nil
}

func (l *patterns) toml() string { return "[" + strings.Join(quoteAll(*l.p), ", ") + "]" }

// inTableError is a mistake in one key of a table whose keys are free.
type inTableError struct {
	name string
	err  error
}

func (e *inTableError) Error() string { return e.err.Error() }
func (e *inTableError) Unwrap() error { return e.err }

// environment is a table of variables. Its values may be secrets, so no error
// repeats them.
type environment struct{ p *map[string]string }

func (e *environment) set(v any) error {
	t, ok := v.(map[string]any)
	if !ok {
		return typeError(`a table such as { NAME = "value" }`, v)
	}
	out := make(map[string]string, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		s, err := variable(name, t[name])
		if err != nil {
			return &inTableError{name, err}
		}
		out[name] = s
	}
	*e.p = out
	return nil
}

func variable(name string, v any) (string, error) {
	s, ok := v.(string)
	switch {
	case name == "PATH":
		return "", errors.New("is set by exec.path; write path under [exec] instead")
	case name == "LANG":
		return "", errors.New("is set by exec.lang; write lang under [exec] instead")
	case slices.Contains([]string{"HOME", "USER", "LOGNAME", "SHELL"}, name):
		return "", errors.New("comes from the account that the command runs as; remove it")
	case !envName.MatchString(name):
		return "", errors.New("is not the name of a variable (letters, digits and _)")
	case !ok:
		return "", typeError("text in quotes", v)
	case strings.ContainsRune(s, 0):
		return "", errors.New("must not contain a zero byte")
	}
	return s, nil
}

func (e *environment) toml() string {
	return inlineTable(*e.p, quote)
}

// inlineTable writes m in the order of its keys, which need no quoting.
func inlineTable[V any](m map[string]V, value func(V) string) string {
	if len(m) == 0 {
		return "{}"
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, name+" = "+value(m[name]))
	}
	return "{ " + strings.Join(pairs, ", ") + " }"
}
