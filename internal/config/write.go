package config

import (
	"fmt"
	"io"
	"strings"
)

// TOML returns the configuration as a complete file: every key, in the order
// of the shipped one, such that [Parse] of it gives the same Config.
func (c Config) TOML() string {
	var b strings.Builder
	current := ""
	for _, k := range schema(&c) {
		section, last := split(k.name)
		if section != current {
			fmt.Fprintf(&b, "\n[%s]\n", section)
			current = section
		}
		fmt.Fprintf(&b, "%s = %s\n", last, k.value.toml())
	}
	return b.String()
}

// Write writes [Config.TOML] to w.
func (c Config) Write(w io.Writer) error {
	if _, err := io.WriteString(w, c.TOML()); err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	return nil
}

// quote returns s as a TOML basic string. Every character that is not
// printable ASCII is escaped, so that the result is safe on a terminal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func quoteAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quote(s)
	}
	return out
}
