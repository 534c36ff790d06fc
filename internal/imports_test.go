package internal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// own is what the paths of this module's packages begin with.
const own = "rexec/"

// onlyIn names the packages that alone may import another one directly. Test
// files are free.
func onlyIn() []importRule {
	return []importRule{
		{"github.com/BurntSushi/toml", []string{"internal/config", "internal/hosts"},
			"the format of a file is the decision of who reads it"},
		{"github.com/ergochat/readline", []string{"internal/lineedit"},
			"what it cannot do is added in one place, and another library could take its"},
		{"github.com/quic-go/quic-go", []string{"internal/transport"},
			"above transport a connection is a net.Conn, whatever carries it"},
		{"crypto/tls", []string{"internal/transport"},
			"TLS versions, curves and certificates are decided in one place"},
		{"github.com/coreos/go-systemd", []string{"internal/systemd"},
			"only systemd knows who started the daemon"},
		{"go.uber.org/zap", []string{"internal/server", "internal/classic", "internal/audit", "cmd/rexecd", "internal/rexectest"},
			"leaves return errors and do not log, and the client must start without it"},
		{"github.com/prometheus", []string{"internal/metrics"},
			"what is counted is decided where it happens, how it is shown in one place"},
		{"net/http", []string{"internal/metrics"},
			"it is a whole server of its own, which faces this machine only"},
		{"golang.org/x/text", []string{"internal/bench"},
			"its tables of GBK are wrong in 2067 codes; it is what we compare with"},
		{"os/exec", []string{"internal/exec", "internal/bench"},
			"a plain Cmd leaves grandchildren behind; bench is no part of the product"},
	}
}

// mayNotImport names what a package may not import directly; "rexec" is every
// package of ours.
func mayNotImport() []importRule {
	return []importRule{
		{"internal/proto", []string{"rexec", "net", "os"},
			"messages are pure functions over bytes, which any test or tool can call"},
		{"internal/exec", []string{"rexec"}, "it can be read and tested without the network"},
		{"internal/charset", []string{"rexec"}, "it converts bytes and knows no job"},
		{"internal/transport", []string{"rexec"}, "it carries bytes and knows neither keys nor commands"},
		{"internal/config", []string{"rexec"}, "plain values go from it to every package, so it may depend on none"},
		{"internal/systemd", []string{"rexec"}, "it hides one dependency and decides nothing"},
		{"internal/ttymode", []string{"net", "os"}, "it translates settings, and opens no terminal"},
		{"internal/unixsock", []string{"rexec"}, "a socket does not know what is said over it"},
		{"internal/complete", []string{"net", "syscall", "os/exec"}, "it looks at files and runs nothing"},
		{"internal/lineedit", []string{"rexec", "net"}, "it edits lines, whatever they are for"},
		{"internal/client", []string{"internal/persist"}, "who holds the connection comes to it as a function"},
		{"internal/persist", []string{"crypto/tls", "internal/hosts"}, "it copies a conversation, and is told what to hold"},
		{"internal/sftp", []string{"rexec"}, "it runs as the account in a process of its own, and knows no network and no key"},
	}
}

// mayNotReach names what a package may not import, directly or through others.
func mayNotReach() []importRule {
	daemonOnly := []string{"go.uber.org/zap", "github.com/coreos/go-systemd", "github.com/prometheus",
		"internal/server", "internal/config", "internal/exec", "internal/sftp",
		"internal/complete"}
	// A user's config.toml is the client program's: reading TOML costs 0.1 ms, and only if there is one.
	return []importRule{
		{"internal/client", []string{"github.com/BurntSushi/toml"}, "settings come to it as values"},
		{"internal/client", daemonOnly, "every dependency of the client costs time at each start"},
		{"internal/persist", daemonOnly, "every dependency of the client costs time at each start"},
		{"cmd/rexec", daemonOnly, "every dependency of the client costs time at each start"},
		{"internal/server", []string{"internal/transport", "internal/config", "internal/systemd"},
			"the server is given listeners and options, so it runs over anything in a test"},
		{"internal/classic", []string{"internal/transport", "internal/config", "internal/systemd"},
			"it is given listeners and options, as the server is"},
		{"internal/classic", []string{"internal/runner"},
			"there is one way to a command: a job, and the privileged half behind an interface"},
		{"internal/metrics", []string{"internal/server", "internal/job", "internal/config"},
			"it is given numbers, and whatever has some can be counted by it"},
		{"internal/server", []string{"github.com/prometheus"}, "they tell what happens and do not know who counts"},
		{"internal/classic", []string{"github.com/prometheus"}, "they tell what happens and do not know who counts"},
		{"internal/server", []string{"internal/classic"}, "who does not want plain text must be able to leave it out"},
	}
}

// later are packages that the rules name although they are not written yet.
func later() []string {
	return []string{"internal/systemd", "internal/audit", "internal/bench"}
}

// importRule relates one package to others; the functions above say how. Paths
// that begin with internal/ or cmd/ are ours. A path covers what lies below it.
type importRule struct {
	pkg    string
	others []string
	why    string
}

// listed is the part of the output of go list that matters here.
type listed struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			graph := imports(t, goos)
			if !slices.Contains(graph[full("internal/config")], "github.com/BurntSushi/toml") {
				t.Fatal("the list of imports is not complete: is the module cache?")
			}
			var broken []string
			for _, r := range onlyIn() {
				broken = append(broken, violationsOnlyIn(graph, r)...)
			}
			for _, r := range mayNotImport() {
				broken = append(broken, violations(r, graph[full(r.pkg)])...)
			}
			for _, r := range mayNotReach() {
				broken = append(broken, violations(r, reach(graph, full(r.pkg)))...)
			}
			for _, text := range broken {
				t.Error(text)
			}
		})
	}
}

func violationsOnlyIn(graph map[string][]string, r importRule) []string {
	var out []string
	for _, pkg := range slices.Sorted(maps.Keys(graph)) {
		if !strings.HasPrefix(pkg, own) || slices.Contains(r.others, strings.TrimPrefix(pkg, own)) {
			continue
		}
		for _, imported := range graph[pkg] {
			if covers(r.pkg, imported) {
				out = append(out, fmt.Sprintf("%s imports %s, which only %s may: %s",
					pkg, imported, strings.Join(r.others, ", "), r.why))
			}
		}
	}
	return out
}

func violations(r importRule, imported []string) []string {
	var out []string
	for _, path := range imported {
		for _, not := range r.others {
			if covers(full(not), path) {
				out = append(out, fmt.Sprintf("%s imports %s: %s", r.pkg, path, r.why))
			}
		}
	}
	return out
}

// TestImportRulesNameRealPackages fails for a rule that can never be broken.
func TestImportRulesNameRealPackages(t *testing.T) {
	for _, r := range slices.Concat(onlyIn(), mayNotImport(), mayNotReach()) {
		for _, path := range append([]string{r.pkg}, r.others...) {
			if full(path) == path || slices.Contains(later(), path) {
				continue // not ours, or not written
			}
			if _, err := os.Stat("../" + path); err != nil {
				t.Errorf("a rule names %s, which does not exist: %v", path, err)
			}
		}
	}
}

// TestImportRulesBite breaks one rule of each kind.
func TestImportRulesBite(t *testing.T) {
	graph := map[string][]string{
		"rexec/internal/a":   {"rexec/internal/b"},
		"rexec/internal/b":   {"example.org/x/v2", "rexec/internal/a"},
		"rexec/internal/bad": {},
	}
	for name, broken := range map[string][]string{
		"only in":   violationsOnlyIn(graph, importRule{"example.org/x", []string{"internal/bad"}, ""}),
		"not":       violations(importRule{"internal/b", []string{"rexec"}, ""}, graph["rexec/internal/b"]),
		"not reach": violations(importRule{"internal/a", []string{"example.org/x"}, ""}, reach(graph, "rexec/internal/a")),
	} {
		if len(broken) != 1 {
			t.Errorf("%s: %q, want one violation", name, broken)
		}
	}
	if got := violations(importRule{"internal/a", []string{"internal/ba", "exam"}, ""}, reach(graph, "rexec/internal/a")); len(got) != 0 {
		t.Errorf("half a name counts as the package: %q", got)
	}
}

// full returns the import path of a package of ours, and any other path as it is.
func full(path string) string {
	if strings.HasPrefix(path, "internal/") || strings.HasPrefix(path, "cmd/") {
		return own + path
	}
	return path
}

func covers(rule, path string) bool {
	return path == rule || strings.HasPrefix(path, rule+"/")
}

// reach returns the packages that pkg imports, directly or through others.
func reach(graph map[string][]string, pkg string) []string {
	seen := map[string]bool{}
	todo := slices.Clone(graph[pkg])
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		if !seen[next] {
			seen[next] = true
			todo = append(todo, graph[next]...)
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// imports returns what every package of the module and of its dependencies
// imports when built for goos.
func imports(t *testing.T, goos string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var diagnostics strings.Builder
	cmd.Stderr = &diagnostics
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, diagnostics.String())
	}
	graph := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return graph
		}
		if err != nil {
			t.Fatal(err)
		}
		graph[p.ImportPath] = p.Imports
	}
}
