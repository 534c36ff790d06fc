package internal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// source is one Go file of the module.
type source struct {
	path  string // from the root of the module, with slashes
	text  string
	fset  *token.FileSet
	file  *ast.File
	found []string
}

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s *source) report(at token.Pos, format string, args ...any) {
	s.found = append(s.found, fmt.Sprintf("%s:%d: ", s.path, s.fset.Position(at).Line)+fmt.Sprintf(format, args...))
}

// houseRule is one rule; check reports what breaks it.
type houseRule struct {
	why   string
	check func(*source)
}

// houseRules hold what can be counted and the linter does not count.
func houseRules() map[string]houseRule {
	return map[string]houseRule{
		"length":     {"a file is read in one sitting", checkLength},
		"parameters": {"a longer list is a struct", checkParameters},
		"wording":    {"an error says what was being done: reading hello: ...", checkWording},
		"exit":       {"what ends the process skips every deferred clean-up", checkExit},
		"panic":      {"a panic is for a programmer's mistake and says internal error", checkPanic},
		"sleep":      {"a sleep is too short on a slow machine; poll in a loop with a deadline", checkSleep},
		"compare":    {"a comparison of secrets must take the same time for all: use crypto/hmac or crypto/subtle", checkCompare},
		"name":       {"a package is named after what it owns", checkName},
	}
}

func TestHouseRules(t *testing.T) {
	for _, s := range sources(t) {
		for name, rule := range houseRules() {
			s.found = nil
			rule.check(s)
			for _, found := range s.found {
				t.Errorf("%s (%s: %s)", found, name, rule.why)
			}
		}
	}
}

// TestHouseRulesBite breaks each rule once, and comes close once.
func TestHouseRulesBite(t *testing.T) {
	const banned = "failed" + " to"
	tests := []struct {
		rule, path, bad, good string
	}{
		{"length", "a.go", strings.Repeat("\n", 401), strings.Repeat("\n", 398)},
		{"length", "a_test.go", strings.Repeat("\n", 901), strings.Repeat("\n", 898)},
		{"parameters", "a.go", "func f(a, b, c int, d, e, f string) {}", "func (r x) f(a, b, c, d, e int) (f, g int) {}"},
		{"wording", "a.go", "var x = `Failed" + " to y`", "// " + banned + "\nvar x = 1"},
		{"exit", "internal/a/a.go", "func f() { os.Exit(1) }", "func f() { os.Exit }"},
		{"exit", "cmd/a/b.go", "func f() { defer log.Fatalf(``) }", "func f() { log.Print(``) }"},
		{"panic", "a.go", "func f() { panic(err) }", "func f() { panic(`internal error: ` + err) }"},
		{"sleep", "a_test.go", "func f() { time.Sleep(1) }", "func f() { for { if x { time.Sleep(1) } } }"},
		{"compare", "internal/auth/a.go", "func f() bool { return bytes.Equal(a, b) }", "func f() bool { return hmac.Equal(a, b) }"},
		{"name", "a.go", "", "var x = 1"},
	}
	for _, tt := range tests {
		name := "p"
		if tt.rule == "name" {
			name = "util"
		}
		bad := fstest.MapFS{tt.path: {Data: []byte("package " + name + "\n" + tt.bad)}}
		good := fstest.MapFS{tt.path: {Data: []byte("package p\n" + tt.good)}}
		for root, want := range map[*fstest.MapFS]int{&bad: 1, &good: 0} {
			s, err := parse(root, tt.path)
			if err != nil {
				t.Fatal(err)
			}
			houseRules()[tt.rule].check(s)
			if len(s.found) != want {
				t.Errorf("%s: %q in %q, want %d", tt.rule, s.found, s.text, want)
			}
		}
	}
}

func checkLength(s *source) {
	limit := 400
	if s.isTest() {
		limit = 900
	}
	if n := strings.Count(s.text, "\n"); n > limit {
		s.report(s.file.Package, "%d lines, at most %d", n, limit)
	}
}

func checkParameters(s *source) {
	const limit = 5
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Type.Params.NumFields() > limit {
			s.report(f.Pos(), "%s has %d parameters, at most %d", f.Name, f.Type.Params.NumFields(), limit)
		}
	}
}

func checkWording(s *source) {
	const banned = "failed" + " to"
	ast.Inspect(s.file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.Contains(strings.ToLower(lit.Value), banned) {
			s.report(lit.Pos(), "%q", banned)
		}
		return true
	})
}

func checkExit(s *source) {
	if main, _ := path.Match("cmd/*/main.go", s.path); main || s.path == "internal/bench/main.go" || s.isTest() {
		return
	}
	for _, c := range calls(s.file) {
		if c.name == "os.Exit" || strings.HasPrefix(c.name, "log.Fatal") || strings.HasPrefix(c.name, "log.Panic") {
			s.report(c.Pos(), "%s outside cmd/*/main.go", c.name)
		}
	}
}

func checkPanic(s *source) {
	if s.isTest() {
		return
	}
	for _, c := range calls(s.file) {
		if c.name == "panic" && !strings.Contains(s.between(c.Pos(), c.End()), "internal error") {
			s.report(c.Pos(), "panic without the words internal error")
		}
	}
}

// checkSleep lets a test sleep between two looks in a loop, and nowhere else.
func checkSleep(s *source) {
	if !s.isTest() {
		return
	}
	polls := func(c call) bool {
		return slices.ContainsFunc(c.inside, func(n ast.Node) bool { _, ok := n.(*ast.ForStmt); return ok })
	}
	for _, c := range calls(s.file) {
		if c.name == "time.Sleep" && !polls(c) {
			s.report(c.Pos(), "time.Sleep outside a loop")
		}
	}
}

func checkCompare(s *source) {
	if !strings.HasPrefix(s.path, "internal/auth/") || s.isTest() {
		return
	}
	for _, c := range calls(s.file) {
		if c.name == "bytes.Equal" || c.name == "bytes.Compare" || c.name == "reflect.DeepEqual" {
			s.report(c.Pos(), "%s", c.name)
		}
	}
}

func checkName(s *source) {
	switch name := strings.TrimSuffix(s.file.Name.Name, "_test"); name {
	case "util", "utils", "common", "helper", "helpers", "misc":
		s.report(s.file.Name.Pos(), "package %s", name)
	}
}

// TestPackageComments wants one comment of 3 to 10 lines for every package:
// what it owns, what it does not, what it must not import.
func TestPackageComments(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		dir := path.Dir(s.path)
		comments[dir] = append(comments[dir], "")
		if s.file.Doc != nil {
			comments[dir] = append(comments[dir], strings.TrimSpace(s.file.Doc.Text()))
		}
	}
	for dir, texts := range comments {
		texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
		if len(texts) != 1 {
			t.Errorf("%s: %d package comments, want 1", dir, len(texts))
			continue
		}
		if n := strings.Count(texts[0], "\n") + 1; n < 3 || n > 10 {
			t.Errorf("%s: package comment of %d lines, want 3 to 10", dir, n)
		}
	}
}

// call is a call of a function by a plain name or by package and name.
type call struct {
	*ast.CallExpr
	name   string
	inside []ast.Node // what it stands in, outermost first
}

// calls returns the calls in file. Packages that are imported under another
// name escape it, which the eye does not.
func calls(file *ast.File) []call {
	var out []call
	var stack []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if c, ok := n.(*ast.CallExpr); ok {
			if name := calledName(c.Fun); name != "" {
				out = append(out, call{c, name, slices.Clone(stack)})
			}
		}
		stack = append(stack, n)
		return true
	})
	return out
}

func calledName(f ast.Expr) string {
	switch f := f.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
	}
	return ""
}

func (s *source) between(from, to token.Pos) string {
	return s.text[s.fset.Position(from).Offset:s.fset.Position(to).Offset]
}

// sources returns all Go files of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var out []*source
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		s, err := parse(root, name)
		out = append(out, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("%d Go files found: not at the root of the module?", len(out))
	}
	return out
}

func parse(root fs.FS, name string) (*source, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	s := &source{path: name, text: string(text), fset: token.NewFileSet()}
	s.file, err = parser.ParseFile(s.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return s, err
}
