package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commented matches a key that is shown at its default; prose has a space
// after the #.
var commented = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

func readShipped(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../rexecd.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestShippedFileIsDefault(t *testing.T) {
	text := readShipped(t)
	for name, text := range map[string]string{
		"as shipped":         text,
		"with all keys live": commented.ReplaceAllString(text, "$1"),
	} {
		got, err := Parse("rexecd.toml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, Default()) {
			t.Errorf("%s: %+v, want the defaults", name, got)
		}
	}
}

// TestShippedFileIsComplete: each key once, in the order of the schema, live
// nowhere, and explained just above.
func TestShippedFileIsComplete(t *testing.T) {
	var got []string
	section, previous := "", ""
	for line := range strings.Lines(readShipped(t)) {
		line = strings.TrimSuffix(line, "\n")
		switch m := commented.FindStringSubmatch(line); {
		case m != nil:
			got = append(got, section+strings.TrimSuffix(m[1], " = "))
			if !strings.HasPrefix(previous, "# ") {
				t.Errorf("no explanation above %q", line)
			}
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]") + "."
		case line != "" && !strings.HasPrefix(line, "# "):
			t.Errorf("neither prose nor a key at its default: %q", line)
		}
		previous = line
	}
	c := Default()
	if want := names(schema(&c)); !slices.Equal(got, want) {
		t.Errorf("keys in rexecd.toml:\n%q\nknown keys:\n%q", got, want)
	}
}
