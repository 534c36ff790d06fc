//go:build linux

package internal_test

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rexec/internal/config"
	"rexec/internal/hosts"
	"rexec/internal/proto"
)

// pages are the manual pages.
var pages = []string{"doc/rexec.1", "doc/rexecd.8", "doc/rexecd.toml.5"}

// shells have completions, each under its own suffix.
var shells = []string{"bash", "zsh", "fish"}

// shipped reads a file of the repository.
func shipped(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// commandLine is what a program takes, read from its source.
type commandLine struct {
	options []string // long ones, without dashes
	verbs   []string
}

// defines are the methods of a flag set that make an option.
var defines = regexp.MustCompile(`^set\.([A-Z][A-Za-z]*)?(Var|VarP|Bool|BoolP|String|StringP)$`)

// commandLines returns the command lines of both programs: the options that are defined, named in the
// usage or not, and the verbs of the usage.
func commandLines(t *testing.T) map[string]commandLine {
	t.Helper()
	found := map[string]commandLine{}
	for _, s := range sources(t) {
		program := filepath.Base(filepath.Dir(s.path))
		if !strings.HasPrefix(s.path, "cmd/") || s.isTest() {
			continue
		}
		line := found[program]
		for _, c := range calls(s.file) {
			if defines.MatchString(c.name) {
				line.options = append(line.options, firstText(c.Args))
			}
		}
		if usage := usageText(s.file); usage != "" {
			for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(usage, -1) {
				line.options = append(line.options, m[1])
			}
			usage, _, _ = strings.Cut(usage, "Options")
			for _, m := range regexp.MustCompile(`(?m)^  rexecd? ([a-z-]+( [a-z]+)?)`).FindAllStringSubmatch(usage, -1) {
				line.verbs = append(line.verbs, m[1])
			}
		}
		found[program] = line
	}
	for program, line := range found {
		slices.Sort(line.options)
		line.options = slices.Compact(line.options)
		if len(line.options) < 10 || len(line.verbs) < 3 {
			t.Fatalf("%s: only %q and %q found", program, line.options, line.verbs)
		}
		found[program] = line
	}
	return found
}

// firstText is the first argument that is a text.
func firstText(args []ast.Expr) string {
	for _, a := range args {
		if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, _ := strconv.Unquote(lit.Value)
			return s
		}
	}
	return ""
}

// usageText is the constant usage of a file, if it has one.
func usageText(file *ast.File) string {
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			if v := spec.(*ast.ValueSpec); v.Names[0].Name == "usage" {
				return firstText(v.Values)
			}
		}
	}
	return ""
}

func TestPagesHaveCommandLine(t *testing.T) {
	page := map[string]string{"rexec": shipped(t, "doc/rexec.1"), "rexecd": shipped(t, "doc/rexecd.8")}
	for program, line := range commandLines(t) {
		for _, option := range line.options {
			if !regexp.MustCompile(`(?m)^\.It .*Fl -` + option + `( |$)`).MatchString(page[program]) {
				t.Errorf("%s: its page has no item --%s", program, option)
			}
		}
		for _, verb := range line.verbs {
			if !regexp.MustCompile(`(?m)^\.(It )?Cm ` + verb + `( |$)`).MatchString(page[program]) {
				t.Errorf("%s: its page lacks the verb %s", program, verb)
			}
		}
	}
}

// TestPageHasVerbOptions looks for the options of each verb of rexec where that verb is described: several
// verbs have the same ones.
func TestPageHasVerbOptions(t *testing.T) {
	titles := map[string]string{
		"cmd/rexec/options.go": "Options", "cmd/rexec/sshoptions.go": "Options", "cmd/rexec/enroll.go": "Enrolling a key",
		"cmd/rexec/ping.go": "Measuring round trips", "cmd/rexec/convert.go": "Converting text",
	}
	page := shipped(t, "doc/rexec.1")
	for _, s := range sources(t) {
		_, section, _ := strings.Cut(page, "\n.Ss "+titles[s.path]+"\n")
		section, _, _ = regexpCut(section, `(?m)^\.S[sh] `)
		for _, c := range calls(s.file) {
			if titles[s.path] == "" || !defines.MatchString(c.name) {
				continue
			}
			option := firstText(c.Args)
			if !regexp.MustCompile(`(?m)^\.It .*Fl -` + option + `( |$)`).MatchString(section) {
				t.Errorf("rexec.1: no item --%s under %s", option, titles[s.path])
			}
		}
	}
}

func TestCompletionsHaveCommandLine(t *testing.T) {
	form := map[string]string{"bash": `--%s`, "zsh": `--%s`, "fish": `-l %s`}
	for program, line := range commandLines(t) {
		for _, shell := range shells {
			name := "packaging/completions/" + program + "." + shell
			text := shipped(t, name)
			for _, option := range line.options {
				want := fmt.Sprintf(form[shell], option)
				if shell == "bash" && program == "rexecd" {
					want = `[-(|]` + option // they stand in one pattern, too
				}
				if !regexp.MustCompile(want + `([^a-z-]|$)`).MatchString(text) {
					t.Errorf("%s lacks --%s", name, option)
				}
			}
			for _, verb := range line.verbs {
				for word := range strings.FieldsSeq(verb) {
					if !regexp.MustCompile(`\b` + word + `\b`).MatchString(text) {
						t.Errorf("%s lacks the verb %s", name, verb)
					}
				}
			}
		}
	}
}

// TestPageHasConfiguration wants every key with its default, in its section and in order.
func TestPageHasConfiguration(t *testing.T) {
	rest := shipped(t, "doc/rexecd.toml.5")
	for line := range strings.Lines(config.Default().TOML()) {
		line = strings.TrimSpace(line)
		want := ".It Ic " + strings.ReplaceAll(line, `"`, `\(dq`)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case strings.HasPrefix(line, "["):
			want = ".Ss " + line
		}
		_, after, found := regexpCut(rest, `(?m)^`+regexp.QuoteMeta(want)+`( No \+)?$`)
		if !found {
			t.Errorf("rexecd.toml.5 lacks, or has not in its place: %s", line)
			continue
		}
		rest = after
	}
}

func regexpCut(s, pattern string) (before, after string, found bool) {
	if at := regexp.MustCompile(pattern).FindStringIndex(s); at != nil {
		return s[:at[0]], s[at[1]:], true
	}
	return s, "", false
}

// TestPageHasRecord wants the settings of config.toml, and the fields and states of the record.
func TestPageHasRecord(t *testing.T) {
	_, page, _ := strings.Cut(shipped(t, "doc/rexec.1"), ".Sh THE RECORD")
	want := []string{"Ic match"}
	for f := range reflect.TypeFor[hosts.Settings]().Fields() {
		want = append(want, "Ic "+f.Tag.Get("toml"))
	}
	for s := proto.StateExited; s <= proto.StateRefused; s++ {
		want = append(want, "Cm "+s.String())
	}
	source, err := os.ReadFile("../cmd/rexec/record.go")
	if err != nil {
		t.Fatal(err)
	}
	fields := regexp.MustCompile(`json:"(\w+)`).FindAllStringSubmatch(string(source), -1)
	if len(fields) < 10 {
		t.Fatalf("%d fields found in record.go", len(fields))
	}
	for _, m := range fields {
		want = append(want, "Ic "+m[1])
	}
	for _, w := range want {
		kind, name, _ := strings.Cut(w, " ")
		if !regexp.MustCompile(`(?m)^\.It ` + kind + ` (\w+ , )*` + name + `( ,|$)`).MatchString(page) {
			t.Errorf("rexec.1 has no item %s", name)
		}
	}
}

// run runs a program that may not be there.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestPagesLint(t *testing.T) {
	for _, page := range pages {
		run(t, "mandoc", "-T", "lint", "-W", "warning", "../"+page)
	}
}
