//go:build linux

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"rexec/internal/auth"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
	"rexec/internal/runner"
)

// acceptAll is a server that accepts every name of a variable.
func acceptAll(o *runner.Options) { o.AcceptEnv = []string{"*"} }

// bypasses are ways to make a shell read more than one command, or another one, from a text that looks
// like "echo hello". MARK stands for the command that must not run.
func bypasses() []string {
	return []string{
		"; MARK", ";MARK", "\nMARK", "\n MARK\n", "\r\nMARK", "\rMARK", "& MARK", "&MARK&", "&& MARK", "|| MARK", "| MARK",
		"|& MARK", "$(MARK)", " $(MARK)", "`MARK`", " `MARK`", "${x:-$(MARK)}", "$((`MARK`))", " <(MARK)", " >(MARK)",
		" < <(MARK)", " <<< $(MARK)", " <<X\n$(MARK)\nX", ";\tMARK", "\t;MARK", "\vMARK", "\fMARK", "${IFS};MARK",
		";${IFS}MARK", ";{ MARK; }", ";(MARK)", ";!MARK", ";:\nMARK", "\\\nMARK", " \\; MARK", "'; MARK; '", "\"; MARK; \"",
		"$'\\nMARK'", ";eval MARK", ";exec MARK", ";sh -c 'MARK'", ";. /dev/stdin", " # \nMARK", "; #\n MARK", "%0aMARK",
		"%0a; MARK", "\u037e MARK", "\uff1b MARK", "\u2028MARK", "\u2029MARK", "\u0085MARK", "\u00a0; MARK", "\u200b;MARK",
		"\uff06\uff06 MARK", "\uff5c MARK", "\u202e;MARK", "\xc0\xbbMARK", "\xff;MARK", "\x1b;MARK", "\x01;MARK", "~; MARK",
		"{,;MARK}", "*;MARK", "$IFS$(MARK)", "=$(MARK)", " >/dev/null;MARK", " 2>&1;MARK", "^MARK", "!MARK",
		" --upload-pack=MARK", " --checkpoint-action=exec=MARK", " -exec MARK ;", " -oProxyCommand=MARK",
	}
}

// TestBypasses runs all of them against a list of allowed vectors: refused, or an argument to echo.
func TestBypasses(t *testing.T) {
	x := &target{Daemon: rexectest.New(t, rexectest.Options{Runner: acceptAll}), marker: filepath.Join(t.TempDir(), "ran")}
	exact := x.AddKey(auth.Key{ID: "exact", Argv: [][]string{{"echo", "hello"}}})
	open := x.AddKey(auth.Key{ID: "any", Argv: [][]string{{"echo", "*"}}})
	peers := map[string]*rexectest.Peer{}
	for _, k := range []auth.ClientKey{exact, open} {
		p := rexectest.Connect(t, x.Address())
		if err := p.Prove(k); err != nil {
			t.Fatal(err)
		}
		peers[k.KeyID] = p
	}
	if n := len(bypasses()); n < 60 {
		t.Fatalf("%d bypasses, want 60", n)
	}
	for i, s := range bypasses() {
		s = strings.ReplaceAll(s, "MARK", "touch "+x.marker)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			text := "echo hello" + s
			for _, m := range []proto.Run{
				{Shell: []byte(text), NoStdin: true},
				{Shell: []byte(strings.TrimSpace(s) + " echo hello"), NoStdin: true},
				argv("echo", "hello"+s), argv("echo", "hello", s), argv("echo"+s, "hello"), argv("sh", "-c", text), argv(text),
				argv("/bin/echo", "hello"), argv("./echo", "hello"),
			} {
				if o := peers["exact"].Run(m); o.Exit.State != proto.StateRefused || o.Exit.Cause != proto.CausePolicy {
					t.Errorf("%q %q: %+v, want a refusal by policy", m.Shell, m.Argv, o.Exit)
				}
			}
			if o := peers["any"].Run(argv("echo", s)); string(o.Out[0]) != s+"\n" || o.Exit.Code != 0 {
				t.Errorf("echo %q prints %q (%+v)", s, o.Out[0], o.Exit)
			}
			for _, m := range []proto.Run{
				{Shell: []byte("echo " + s), NoStdin: true}, {Shell: []byte("echo *" + s), NoStdin: true}, argv("sh", "-c", text),
			} {
				if o := peers["any"].Run(m); o.Exit.State != proto.StateRefused {
					t.Errorf("%q %q: %+v, want a refusal", m.Shell, m.Argv, o.Exit)
				}
			}
		})
	}
	for _, m := range []proto.Run{argv("echo", "hello"), {Shell: []byte("echo hello"), NoStdin: true}} {
		if o := peers["exact"].Run(m); string(o.Out[0]) != "hello\n" {
			t.Errorf("what is allowed: %q %+v", o.Out[0], o.Exit)
		}
	}
	x.unharmed(t)
}

// TestOtherWays reach a shell or the environment past the list of allowed vectors.
func TestOtherWays(t *testing.T) {
	x := &target{Daemon: rexectest.New(t, rexectest.Options{Runner: acceptAll}), marker: filepath.Join(t.TempDir(), "ran")}
	words := x.AddKey(auth.Key{ID: "words", Argv: [][]string{{"touch", x.marker + " b"}, {"env"}}})
	p := rexectest.Connect(t, x.Address())
	if err := p.Prove(words); err != nil {
		t.Fatal(err)
	}
	script := proto.Run{Script: true}
	for name, m := range map[string]proto.Run{
		"an allowed argument with a space, as text": {Shell: []byte("touch " + x.marker + " b"), NoStdin: true},
		"a script":              script,
		"fewer words":           argv("touch"),
		"more words":            argv("env", "touch", x.marker),
		"more words, as a text": {Shell: []byte("env touch " + x.marker), NoStdin: true},
		"a trailing line end":   {Shell: []byte("env\n"), NoStdin: true},
	} {
		t.Run(name, func(t *testing.T) {
			if o := p.Run(m); o.Exit.State != proto.StateRefused || o.Exit.Cause != proto.CausePolicy {
				t.Errorf("%+v, want a refusal by policy", o.Exit)
			}
		})
	}
	x.unharmed(t)
}
