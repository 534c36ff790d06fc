package auth

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Unlimited is the value of a Limit that sets no bound (RLIM_INFINITY).
const Unlimited = math.MaxUint64

// Limit is a bound on one resource of a key's commands.
type Limit struct {
	Name       string // as in setrlimit(2), in lower case and without RLIMIT_
	Soft, Hard uint64 // in the resource's own unit, or Unlimited
}

// String returns the value in the form that ParseLimit reads.
func (l Limit) String() string {
	if l.Soft == l.Hard {
		return bound(l.Soft)
	}
	return bound(l.Soft) + ":" + bound(l.Hard)
}

func bound(n uint64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// LimitNames are the resources that a key may limit: those of setrlimit(2) on Linux.
func LimitNames() []string {
	return []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice",
		"nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}
}

// ParseLimit reads a number, "unlimited" or "soft:hard" of these.
func ParseLimit(name, value string) (Limit, error) {
	if !slices.Contains(LimitNames(), name) {
		return Limit{}, fmt.Errorf("no such limit (known: %s)", strings.Join(LimitNames(), ", "))
	}
	first, second, both := strings.Cut(value, ":")
	if !both {
		second = first
	}
	soft, ok := parseBound(first)
	hard, ok2 := parseBound(second)
	switch {
	case !ok || !ok2:
		return Limit{}, errors.New(`want a number, "unlimited" or "soft:hard" of these`)
	case soft > hard:
		return Limit{}, errors.New("the soft limit is above the hard limit")
	}
	return Limit{name, soft, hard}, nil
}

func parseBound(s string) (uint64, bool) {
	if s == "unlimited" {
		return Unlimited, true
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil
}

func formatLimits(limits []Limit) map[string]string {
	m := map[string]string{}
	for _, l := range limits {
		m[l.Name] = l.String()
	}
	return m
}

// limits reads an object of limits, whose values may also be plain numbers.
func (r *lineReader) limits() (all []Limit, err error) {
	if err := r.delim('{'); err != nil {
		return nil, err
	}
	for r.dec.More() {
		name, err := r.text("a name in limits")
		if err != nil {
			return nil, err
		}
		t, err := r.token(shown(name))
		if err != nil {
			return nil, err
		}
		value, _ := t.(string) // an empty one, as of anything else, is refused
		if n, ok := t.(json.Number); ok {
			value = n.String()
		}
		l, err := ParseLimit(name, value)
		if err == nil && slices.ContainsFunc(all, func(o Limit) bool { return o.Name == name }) {
			err = errors.New("stands twice")
		}
		if err != nil {
			return nil, problem(`write limits like {"nofile":"1024:4096"}`, "%s in limits: %s", shown(name), err.Error())
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, problem("remove it", "limits is empty")
	}
	slices.SortFunc(all, func(a, b Limit) int { return cmp.Compare(a.Name, b.Name) })
	return all, r.delim('}')
}
