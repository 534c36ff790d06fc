package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// limits is a table of resource limits. A value is a number, "unlimited", or
// "soft:hard" of either.
type limits struct{ p *map[string]Limit }

func (l *limits) set(v any) error {
	t, ok := v.(map[string]any)
	if !ok {
		return typeError(`a table such as { nofile = "1024:524288" }`, v)
	}
	out := make(map[string]Limit, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		one, err := limit(name, t[name])
		if err != nil {
			return &inTableError{name, err}
		}
		out[name] = one
	}
	*l.p = out
	return nil
}

func (l *limits) toml() string {
	return inlineTable(*l.p, Limit.toml)
}

// limitNames are the resources of setrlimit(2) on Linux.
func limitNames() []string {
	return []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
		"nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
}

func limit(name string, v any) (Limit, error) {
	if known := limitNames(); !slices.Contains(known, name) {
		if near := nearest(name, known); near != "" {
			return Limit{}, fmt.Errorf("no such limit (did you mean %s?)", near)
		}
		return Limit{}, fmt.Errorf("no such limit (known: %s)", strings.Join(known, ", "))
	}
	switch v := v.(type) {
	case int64:
		if v < 0 {
			return Limit{}, errors.New(`must not be negative; for no limit write "unlimited"`)
		}
		return Limit{uint64(v), uint64(v)}, nil
	case string:
		return parseLimit(v)
	default:
		return Limit{}, typeError(`a number, "unlimited" or "soft:hard"`, v)
	}
}

func parseLimit(s string) (Limit, error) {
	first, second, both := strings.Cut(s, ":")
	if !both {
		second = first
	}
	soft, ok := parseBound(first)
	hard, ok2 := parseBound(second)
	if !ok || !ok2 {
		return Limit{}, fmt.Errorf(`must be a number, "unlimited" or "soft:hard" of these, not %s`, quoted(s))
	}
	if soft > hard {
		return Limit{}, fmt.Errorf("soft limit is above the hard limit in %s", quoted(s))
	}
	return Limit{soft, hard}, nil
}

// parseBound reads one number. A number that TOML could not hold as an integer
// is refused, which also keeps [Unlimited] apart from every number.
func parseBound(s string) (uint64, bool) {
	if s == "unlimited" {
		return Unlimited, true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}

func (l Limit) toml() string {
	if l.Soft == l.Hard && l.Soft <= math.MaxInt64 {
		return strconv.FormatUint(l.Soft, 10)
	}
	if l.Soft == l.Hard {
		return quote("unlimited")
	}
	return quote(bound(l.Soft) + ":" + bound(l.Hard))
}

func bound(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}
