package proto

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

func TestRunValidate(t *testing.T) {
	id := ExecID{1}
	sh := []byte("true")
	tests := []struct {
		name string
		run  Run
		want string // "" if the request makes sense
	}{
		{"shell", Run{ID: id, Shell: sh}, ""},
		{"argv", Run{ID: id, Argv: [][]byte{[]byte("a"), {}, []byte("\xff\n'")}}, ""},
		{"script", Run{ID: id, Script: true}, ""},
		{"nothing", Run{ID: id}, "empty command"},
		{"shell and argv", Run{ID: id, Shell: sh, Argv: [][]byte{sh}}, "more than one of command, argument vector and script"},
		{"shell and script", Run{ID: id, Shell: sh, Script: true}, "more than one of command, argument vector and script"},
		{"argv and script", Run{ID: id, Argv: [][]byte{sh}, Script: true}, "more than one of command, argument vector and script"},
		{"no program", Run{ID: id, Argv: [][]byte{{}, sh}}, "the argument vector's first element, the program, is empty"},
		{"NUL in program", Run{ID: id, Argv: [][]byte{[]byte("a\x00b")}}, "NUL in argument 0"},
		{"NUL in argument", Run{ID: id, Argv: [][]byte{sh, sh, {0}}}, "NUL in argument 2"},
		{"NUL in command", Run{ID: id, Shell: []byte("a\x00")}, "NUL in command"},
		{"NUL in directory", Run{ID: id, Shell: sh, Dir: []byte("\x00")}, "NUL in working directory"},
		{"NUL in user", Run{ID: id, Shell: sh, User: "root\x00"}, "NUL in user"},
		{"NUL in variable", Run{ID: id, Shell: sh, Env: []EnvVar{{[]byte("A"), []byte("a")}, {[]byte("B\n"), []byte("\x00")}}},
			`NUL in environment variable "B\n"`},
		{"NUL in variable's name", Run{ID: id, Shell: sh, Env: []EnvVar{{[]byte("A\x00"), nil}}},
			`NUL in environment variable "A\x00"`},
		{"named", Run{ID: NamedID("deploy 42"), Name: "deploy 42", Shell: sh}, ""},
		{"longest name", Run{ID: NamedID(strings.Repeat("n", 1024)), Name: strings.Repeat("n", 1024), Shell: sh}, ""},
		{"name too long", Run{ID: NamedID(strings.Repeat("n", 1025)), Name: strings.Repeat("n", 1025), Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"control character in name", Run{ID: NamedID("a\x1b"), Name: "a\x1b", Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"name of another ID", Run{ID: id, Name: "deploy 42", Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"unknown optional field", Run{ID: id, Shell: sh, Extra: []Field{{0x0011, []byte("x")}, {0x7fff, nil}}}, ""},
		{"unknown critical field", Run{ID: id, Shell: sh, Extra: []Field{{0x0011, nil}, {0x8010, nil}, {0x8011, nil}}},
			"this server does not know request field 0x8010; it is older than the client"},
		{"unknown critical field in nonsense", Run{ID: id, Extra: []Field{{0xffff, nil}}},
			"this server does not know request field 0xffff; it is older than the client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run, err := ParseRun(tt.run.Append(nil)[1:])
			if err != nil {
				t.Fatal(err)
			}
			switch err := run.Validate(); {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || err.Error() != tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, " ": true, "a b": true, "\xff": true, "部署": true, strings.Repeat("a", 1024): true,
		"": false, "\x00": false, "a\n": false, "a\x1f": false, "a\x7f": false, strings.Repeat("a", 1025): false,
	} {
		if got := ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
	}
}

// TestNamedID holds names to their IDs: a later client must find what an earlier one started.
func TestNamedID(t *testing.T) {
	// printf 'rexec/1 execution name\0deploy-42' | sha256sum | cut -c1-32
	const want = "673a3ef3c5a6be02ea82389fb7c3ffb6"
	if got := NamedID("deploy-42").String(); got != want {
		t.Errorf("NamedID is %s, want %s", got, want)
	}
}

// TestDigest: what says how to attach leaves the digest alone, all else changes it.
func TestDigest(t *testing.T) {
	base := Run{ID: ExecID{1}, Shell: []byte("true")}
	want := base.Digest()
	same := map[string]func(*Run){
		"StartBy":    func(m *Run) { m.StartBy = 1 },
		"StdoutFrom": func(m *Run) { m.StdoutFrom = FromRetained },
		"StderrFrom": func(m *Run) { m.StderrFrom = 1 },
		"Charset":    func(m *Run) { m.Charset = "gbk" },
	}
	for name, change := range same {
		m := base
		if change(&m); m.Digest() != want {
			t.Errorf("%s changes the digest", name)
		}
	}
	changes := map[string]func(*Run){
		"ID":           func(m *Run) { m.ID[15] = 1 },
		"Shell":        func(m *Run) { m.Shell = []byte("false") },
		"Argv":         func(m *Run) { m.Shell, m.Argv = nil, [][]byte{[]byte("true")} },
		"Argv, split":  func(m *Run) { m.Shell, m.Argv = nil, [][]byte{[]byte("tr"), []byte("ue")} },
		"Argv, empty":  func(m *Run) { m.Shell, m.Argv = nil, [][]byte{[]byte("true"), {}} },
		"Script":       func(m *Run) { m.Shell, m.Script = nil, true },
		"Env":          func(m *Run) { m.Env = []EnvVar{{[]byte("A"), []byte("BC")}} },
		"Env, split":   func(m *Run) { m.Env = []EnvVar{{[]byte("AB"), []byte("C")}} },
		"Dir":          func(m *Run) { m.Dir = []byte("x") },
		"User":         func(m *Run) { m.User = "x" },
		"Name":         func(m *Run) { m.Name = "x" },
		"NoStdin":      func(m *Run) { m.NoStdin = true },
		"Pty":          func(m *Run) { m.Pty = []byte("x") },
		"Timeout":      func(m *Run) { m.Timeout = 1 },
		"OnDisconnect": func(m *Run) { m.OnDisconnect = DisconnectKeep },
		"Extra":        func(m *Run) { m.Extra = []Field{{0x11, []byte("x")}} },
	}
	seen := map[[32]byte]string{want: "the request itself"}
	for name, change := range changes {
		m := base
		change(&m)
		if other, ok := seen[m.Digest()]; ok {
			t.Errorf("%s: same digest as %s", name, other)
		}
		seen[m.Digest()] = name
	}
	if base.StartBy != 0 || base.Charset != "" {
		t.Error("Digest changed the request")
	}
}

// TestProofTranscript computes the MACs of the test vectors as PROTOCOL.md describes it.
func TestProofTranscript(t *testing.T) {
	secret := counter(0, 32)
	id := counter(0x40, 16)
	binding := counter(0x80, 32)
	pair, err := hkdf.Key(sha256.New, secret, []byte("rexec/1 per-server key"), string(id)+"\x05alice", 32)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(label string, parts ...[]byte) string {
		key, err := hkdf.Expand(sha256.New, pair, "rexec/1 "+label+" proof key", 32)
		if err != nil {
			t.Fatal(err)
		}
		h := hmac.New(sha256.New, key)
		h.Write([]byte("rexec/1 " + label + " proof\x00"))
		h.Write(binding)
		for _, p := range parts {
			h.Write(appendU32(nil, uint32(len(p))))
			h.Write(p)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	vectors := proofGoldens()
	find := func(name string) Message {
		return vectors[slices.IndexFunc(vectors, func(g golden) bool { return g.name == name })].value
	}
	client := find("ClientProof/vector").(*ClientProof)
	server := find("ServerProof/vector").(*ServerProof)
	if got := mac("client", client.AppendUnsigned(nil)); got != hex.EncodeToString(client.MAC[:]) {
		t.Errorf("client's MAC is %s, want %x", got, client.MAC)
	}
	if got := mac("server", client.Append(nil), server.AppendUnsigned(nil)); got != hex.EncodeToString(server.MAC[:]) {
		t.Errorf("server's MAC is %s, want %x", got, server.MAC)
	}
}
