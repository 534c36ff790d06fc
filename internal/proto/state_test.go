package proto

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseState(t *testing.T) {
	for _, tt := range []struct {
		state string
		vars  int
		want  string // "" if it is well-formed
	}{
		{"/\x00", 0, ""},
		{"/a b\xff\x00A=\x00BASH_FUNC_f%%=() {  :\n}\x00", 2, ""},
		{"", 0, "state: it does not end with NUL"},
		{"/", 0, "state: it does not end with NUL"},
		{"\x00", 0, "state: the working directory is not an absolute path"},
		{"a\x00", 0, "state: the working directory is not an absolute path"},
		{"/\x00A\x00", 0, "state: entry 1 is not NAME=VALUE"},
		{"/\x00A=\x00\x00", 0, "state: entry 2 is not NAME=VALUE"},
		{"/\x00=a\x00", 0, "state: entry 1 is not NAME=VALUE"},
		{"/\x00" + strings.Repeat("A=\x00", MaxEnv), MaxEnv, ""},
		{"/\x00" + strings.Repeat("A=\x00", MaxEnv+1), 0, "state: more than 4096 variables"},
		{"/\x00A=" + strings.Repeat("x", MaxState-5) + "\x00", 1, ""},
		{"/\x00A=" + strings.Repeat("x", MaxState-4) + "\x00", 0, "state: 131073 bytes, limit 131072"},
	} {
		dir, env, err := ParseState([]byte(tt.state))
		switch {
		case tt.want != "" && (err == nil || err.Error() != tt.want):
			t.Errorf("%.20q: error %v, want %q", tt.state, err, tt.want)
		case tt.want == "" && (err != nil || len(env) != tt.vars || string(AppendState(nil, dir, env)) != tt.state):
			t.Errorf("%.20q: %q, %d variables, %v", tt.state, dir, len(env), err)
		}
	}
}

// FuzzState: what is accepted is put together again as it was.
func FuzzState(f *testing.F) {
	f.Add([]byte("/\x00"))
	f.Add([]byte("/a\x00A=b=c\x00D=\x00"))
	f.Add([]byte("/a\x00=\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir, env, err := ParseState(b)
		if err == nil && !bytes.Equal(AppendState(nil, dir, env), b) {
			t.Fatalf("%q: %q, %q", b, dir, env)
		}
	})
}
