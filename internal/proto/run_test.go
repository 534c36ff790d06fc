package proto

import (
	"bytes"
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
	const badTerminal = "terminal type: want at most 128 letters, digits and signs, and no slash"
	tests := []struct {
		name string
		run  Run
		want string // "" if the request makes sense
	}{
		{"shell", Run{ID: id, Shell: sh}, ""},
		{"argv", Run{ID: id, Argv: [][]byte{[]byte("a"), {}, []byte("\xff\n'")}}, ""},
		{"script", Run{ID: id, Script: true}, ""},
		{"nothing", Run{ID: id}, "empty command"},
		{"shell and argv", Run{ID: id, Shell: sh, Argv: [][]byte{sh}}, "more than one of command, argument vector, script and subsystem"},
		{"shell and script", Run{ID: id, Shell: sh, Script: true}, "more than one of command, argument vector, script and subsystem"},
		{"argv and script", Run{ID: id, Argv: [][]byte{sh}, Script: true}, "more than one of command, argument vector, script and subsystem"},
		{"subsystem", Run{ID: id, Subsystem: "sftp"}, ""},
		{"shell and subsystem", Run{ID: id, Shell: sh, Subsystem: "sftp"}, "more than one of command, argument vector, script and subsystem"},
		{"NUL in subsystem", Run{ID: id, Subsystem: "a\x00"}, "NUL in subsystem"},
		{"NUL in a wish", Run{ID: id, Shell: sh, Wishes: []EnvVar{{[]byte("A"), []byte("\x00")}}}, `NUL in environment variable "A"`},
		{"too many variables", Run{ID: id, Shell: sh, Env: make([]EnvVar, 2048), Wishes: make([]EnvVar, 2049)},
			"4097 environment variables, limit 4096"},
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
		{"terminal", Run{ID: id, Script: true, Pty: []byte("xterm-256color"), Window: Window{Rows: 1}, Modes: []Mode{{1, 3}}}, ""},
		{"longest terminal type", Run{ID: id, Shell: sh, Pty: bytes.Repeat([]byte("x"), 128)}, ""},
		{"terminal type too long", Run{ID: id, Shell: sh, Pty: bytes.Repeat([]byte("x"), 129)}, badTerminal},
		{"path as terminal type", Run{ID: id, Shell: sh, Pty: []byte("x/y")}, badTerminal},
		{"hidden terminal type", Run{ID: id, Shell: sh, Pty: []byte(".x")}, badTerminal},
		{"space in terminal type", Run{ID: id, Shell: sh, Pty: []byte("x y")}, badTerminal},
		{"NUL in terminal type", Run{ID: id, Shell: sh, Pty: []byte("x\x00")}, badTerminal},
		{"non-ASCII terminal type", Run{ID: id, Shell: sh, Pty: []byte("x\x7f")}, badTerminal},
		{"size without a terminal", Run{ID: id, Shell: sh, Window: Window{Rows: 24}}, "size or modes of a terminal, but no terminal"},
		{"modes without a terminal", Run{ID: id, Shell: sh, Modes: []Mode{{1, 3}}}, "size or modes of a terminal, but no terminal"},
		{"lasting", Run{ID: id, Shell: sh, Lasting: true, State: []byte("/\x00A=b=\x00C=\x00")}, ""},
		{"lasting argv", Run{ID: id, Argv: [][]byte{sh}, Lasting: true}, "only what a command line ends with can last"},
		{"lasting script", Run{ID: id, Script: true, Lasting: true}, "only what a command line ends with can last"},
		{"state of a subsystem", Run{ID: id, Subsystem: "complete", State: []byte("/\x00")}, ""},
		{"state of a command", Run{ID: id, Shell: sh, State: []byte("/\x00")}, "a state for a command that is not one of a prompt's"},
		{"state and directory", Run{ID: id, Shell: sh, Lasting: true, State: []byte("/\x00"), Dir: []byte("/")},
			"a working directory beside a state that has one"},
		{"malformed state", Run{ID: id, Shell: sh, Lasting: true, State: []byte("/")}, "state: it does not end with NUL"},
		{"named", Run{ID: NamedID("deploy 42"), Name: "deploy 42", Shell: sh}, ""},
		{"longest name", Run{ID: NamedID(strings.Repeat("n", 1024)), Name: strings.Repeat("n", 1024), Shell: sh}, ""},
		{"name too long", Run{ID: NamedID(strings.Repeat("n", 1025)), Name: strings.Repeat("n", 1025), Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"control character in name", Run{ID: NamedID("a\x1b"), Name: "a\x1b", Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"name of another ID", Run{ID: id, Name: "deploy 42", Shell: sh},
			"execution name: want 1 to 1024 bytes without control characters"},
		{"unknown optional field", Run{ID: id, Shell: sh, Extra: []Field{{0x0016, []byte("x")}, {0x7fff, nil}}}, ""},
		{"unknown charsets", Run{ID: id, Shell: sh, Charset: "koi8-r", Source: "ebcdic"}, ""},
		{"state without a charset", Run{ID: id, Shell: sh, StdoutState: ConverterState{1}}, ""},
		{"unknown critical field", Run{ID: id, Shell: sh, Extra: []Field{{0x0016, nil}, {0x8010, nil}, {0x8011, nil}}},
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
		"StartBy":     func(m *Run) { m.StartBy = 1 },
		"StdoutFrom":  func(m *Run) { m.StdoutFrom = FromRetained },
		"StderrFrom":  func(m *Run) { m.StderrFrom = 1 },
		"Charset":     func(m *Run) { m.Charset = "gbk" },
		"Source":      func(m *Run) { m.Source = "auto" },
		"StdoutState": func(m *Run) { m.StdoutState = ConverterState{1} },
		"StderrState": func(m *Run) { m.StderrState = ConverterState{15: 1} },
		"RawStdout":   func(m *Run) { m.RawStdout = true },
		"RawStderr":   func(m *Run) { m.RawStderr = true },
		"Window":      func(m *Run) { m.Window = Window{Height: 1} },
		"Caller":      func(m *Run) { m.Caller = Caller{1, 2} },
		"Extra":       func(m *Run) { m.Extra = []Field{{0x4001, []byte("a")}, {0x5fff, nil}} },
		"Modes":       func(m *Run) { m.Modes = []Mode{{1, 3}} },
	}
	for name, change := range same {
		m := base
		change(&m)
		asked := m.Append(nil)
		if m.Digest() != want {
			t.Errorf("%s changes the digest", name)
		}
		if !bytes.Equal(m.Append(nil), asked) {
			t.Errorf("%s: Digest changed the request", name)
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
		"Subsystem":    func(m *Run) { m.Shell, m.Subsystem = nil, "true" },
		"Lasting":      func(m *Run) { m.Lasting = true },
		"State":        func(m *Run) { m.State = []byte("/\x00") },
		"Wishes":       func(m *Run) { m.Wishes = []EnvVar{{[]byte("A"), []byte("BC")}} },
		"Extra":        func(m *Run) { m.Extra = []Field{{0x16, []byte("x")}} },
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

func TestCauseNames(t *testing.T) {
	seen := map[string]bool{}
	for c := CauseNone; c <= CauseMemory; c++ {
		if name := c.String(); seen[name] || strings.Contains(name, " ") {
			t.Errorf("cause %d is called %q", uint8(c), name)
		}
		seen[c.String()] = true
	}
	if got := (CauseMemory + 1).String(); got != "cause 16" {
		t.Errorf("an unknown cause is called %q", got)
	}
}
