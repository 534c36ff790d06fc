package config

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
)

// FuzzParse: a file is either refused with an *Error that names it, or gives a
// Config that survives being written and read again. No key is passed over.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", everything, mergedServer, Default().TOML(),
		"sever.grace = '1s'", "[[log]]\n[log.x]", "\uFEFF", "a = [[[{}]]]", "listen = \"\xff",
		"x = '''\n'''\ny = \"\"\"\n\\\n\"\"\"", "server = {\n a.b = 1 }", "'' = 1\n[\"\"]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Beyond this the library takes time without learning anything new.
		if len(data) > 4096 {
			return
		}
		c, err := Parse("f.toml", data)
		if err != nil {
			bad, ok := errors.AsType[*Error](err)
			if !ok || bad.File != "f.toml" || bad.Msg == "" || bad.Line < 1 || bad.Line > 1+bytes.Count(data, []byte("\n")) {
				t.Fatalf("%#v is not a located *Error", err)
			}
			return
		}
		checkNoKeyIgnored(t, data)
		again, err := Parse("again", []byte(c.TOML()))
		if err != nil {
			t.Fatalf("%v in\n%s", err, c.TOML())
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("got  %+v\nwant %+v", again, c)
		}
	})
}

// checkNoKeyIgnored checks that every key of an accepted file is in the schema.
func checkNoKeyIgnored(t *testing.T, data []byte) {
	t.Helper()
	doc, bad := parseDocument(data)
	if bad != nil {
		t.Fatal(bad)
	}
	var c Config
	known := names(schema(&c))
	for name, v := range doc.root {
		if section, ok := doc.table(v); ok {
			for sub := range section {
				if !slices.Contains(known, name+"."+sub) {
					t.Errorf("%s.%s was ignored", name, sub)
				}
			}
		} else if !slices.Contains(known, name) {
			t.Errorf("%s was ignored", name)
		}
	}
}
