//go:build linux

package internal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestCompletionsParse(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			for program := range commandLines(t) {
				run(t, shell, "-n", "../packaging/completions/"+program+"."+shell)
			}
		})
	}
}

// completer is a home with keys and settings, and a program to complete with.
type completer struct {
	t   *testing.T
	dir string
	env []string
}

// newCompleter makes one. What key files hold is nobody's business: these are directories and empty files.
func newCompleter(t *testing.T) *completer {
	t.Helper()
	dir := t.TempDir()
	for _, key := range []string{"db_1_8000/laptop", "db2_9000/ops", "[fe80__1%eth0]_8000/six"} {
		path := filepath.Join(dir, "rexec/keys", key)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const settings = `# match = "commented"
[[host]]
match = [ 'dock', # a comment
	"*.example", "web?", "db2:9000", "$(touch ran)", "a b" ]
`
	if err := os.WriteFile(filepath.Join(dir, "rexec/config.toml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "rexec/cmd/rexec").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	functions := filepath.Join(dir, "functions") // zsh looks for the function in a file of its name
	if err := os.Mkdir(functions, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(functions, "_rexec"), []byte(shipped(t, "packaging/completions/rexec.zsh")), 0o600); err != nil {
		t.Fatal(err)
	}
	return &completer{t, dir, append(os.Environ(), "XDG_CONFIG_HOME="+dir, "HOME="+dir, "LC_ALL=C", "TERM=dumb", "PATH="+bin+":"+os.Getenv("PATH"))}
}

// complete asks a shell what it completes a line with.
func (c *completer) complete(shell, line string) []string {
	c.t.Helper()
	path, err := exec.LookPath(shell)
	if err != nil {
		c.t.Skipf("%s is not installed", shell)
	}
	source, err := filepath.Abs("../packaging/completions/rexec." + shell)
	if err != nil {
		c.t.Fatal(err)
	}
	args := map[string][]string{
		"bash": {"-c", `. "$1"; COMP_LINE=$2; COMP_POINT=${#2}; COMP_WORDBREAKS=$' \t\n"><=;|&(:@'; _rexec; printf '%s\n' "${COMPREPLY[@]}"`, "-", source, line},
		"fish": {"--no-config", "-c", "source $argv[1]; complete -C $argv[2]", source, line},
		"zsh":  {"-f", "testdata/complete.zsh", filepath.Join(c.dir, "functions"), line},
	}[shell]
	cmd := exec.CommandContext(c.t.Context(), path, args...)
	cmd.Env = c.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Errorf("%s: %q: %v: %s", shell, line, err, out)
	}
	var found []string
	for text := range strings.Lines(string(out)) {
		if word, _, _ := strings.Cut(strings.TrimSpace(text), "\t"); word != "" { // fish describes it behind a tab
			found = append(found, word)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestComplete asks the shells for hosts with keys and hosts of config.toml, for verbs, keys, options and their values.
func TestComplete(t *testing.T) {
	c := newCompleter(t)
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			c := &completer{t, c.dir, c.env}
			for _, tt := range []struct{ line, want string }{
				{"rexec ", "[fe80::1%eth0] charset db2:9000 db_1 dock enroll ping"},
				{"rexec -v d", "db2:9000 db_1 dock"},
				{"rexec ping d", "db2:9000 db_1 dock"},
				{"rexec -i ", "laptop ops six"},
				{"rexec db2 --on", "--on-disconnect"},
				{"rexec --list", "--list-hosts"},
				{"rexec --on-disconnect k", "keep kill"},
				{"rexec --charset g", "gb18030 gbk"},
				{"rexec charset --to u", "utf-8"},
				{"rexec enroll --", "--help --name --replace"},
				{"rexec ping --i", "--identity --interval"},
				{"rexec charset --f", "--from"},
				{"rexec --tcp p", ""},
			} {
				if got := c.complete(shell, tt.line); strings.Join(got, " ") != tt.want {
					t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
				}
			}
		})
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("a name in config.toml was run")
	}
}

// TestBashWordBreaks: bash splits words at colons and equals signs, and must not be given again what stands before.
func TestBashWordBreaks(t *testing.T) {
	c := newCompleter(t)
	for line, want := range map[string]string{
		"rexec al@db2:9": "9000", "rexec --identity=l": "laptop", "rexec --charset=g": "gb18030 gbk", "rexec al@do": "dock",
	} {
		if got := c.complete("bash", line); strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// lettered are the long names of a program's options by their letters, as its source defines them.
func lettered(t *testing.T, program string) map[string]string {
	t.Helper()
	letters := map[string]string{}
	for _, s := range sources(t) {
		if filepath.Dir(s.path) != "cmd/"+program || s.isTest() {
			continue
		}
		for _, c := range calls(s.file) {
			if !defines.MatchString(c.name) || !strings.HasSuffix(c.name, "P") {
				continue
			}
			long := firstText(c.Args)
			for i := range c.Args[:len(c.Args)-1] { // the letter stands behind the name
				if firstText(c.Args[i:i+1]) == long {
					letters[long] += firstText(c.Args[i+1 : i+2])
				}
			}
		}
	}
	return letters
}

// TestLetters: an option that has a letter has it in the manual page and each completion, and the one or the other in
// the usage.
func TestLetters(t *testing.T) {
	for program, page := range map[string]string{"rexec": shipped(t, "doc/rexec.1"), "rexecd": shipped(t, "doc/rexecd.8")} {
		letters := lettered(t, program)
		if len(letters) < 2 {
			t.Fatalf("%s: letters %v", program, letters)
		}
		places := map[string]string{"page": page}
		for _, shell := range shells {
			places[shell] = shipped(t, "packaging/completions/"+program+"."+shell)
		}
		for _, s := range sources(t) {
			if text := usageText(s.file); text != "" && filepath.Dir(s.path) == "cmd/"+program {
				places["usage"] = text
			}
		}
		for long, some := range letters {
			for _, letter := range some {
				forms := map[string]string{
					"page": `(?m)^\.It Fl %c , Fl -` + long + `( |$)`, "usage": `[ [|]-(%[1]c|[a-z]*%[1]c|-` + long + `)\b`,
					"bash": `-%c\b`, "zsh": `\{-%c,--` + long + `\}`, "fish": `-s %c -l ` + long + ` `,
				}
				for place, form := range forms {
					if !regexp.MustCompile(fmt.Sprintf(form, letter)).MatchString(places[place]) {
						t.Errorf("%s: -%c, --%s is not in %s", program, letter, long, place)
					}
				}
			}
		}
	}
}

// TestNoOtherOptions: what a manual page or a completion has is an option of the program.
func TestNoOtherOptions(t *testing.T) {
	for program, line := range commandLines(t) {
		page := map[string]string{"rexec": "doc/rexec.1", "rexecd": "doc/rexecd.8"}[program]
		for name, form := range map[string]string{
			page: `Fl -([a-z][a-z-]*)`, "packaging/completions/" + program + ".bash": `--([a-z][a-z-]*)`,
			"packaging/completions/" + program + ".zsh": `--([a-z][a-z-]*)`, "packaging/completions/" + program + ".fish": ` -l ([a-z][a-z-]*)`,
		} {
			text := shipped(t, name)
			if begin := map[string]string{".8": ".It ", ".1": ".It ", ".fish": "complete "}[filepath.Ext(name)]; begin != "" {
				text = strings.Join(regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(begin)+`.*$`).FindAllString(text, -1), "\n")
			}
			found := regexp.MustCompile(form).FindAllStringSubmatch(text, -1)
			if len(found) < 5 {
				t.Errorf("%s has only %q", name, found)
			}
			for _, m := range found {
				if !slices.Contains(line.options, m[1]) {
					t.Errorf("%s has --%s, which %s does not know", name, m[1], program)
				}
			}
		}
	}
}
