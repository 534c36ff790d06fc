package complete

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rexec/internal/proto"
)

// tree is a System of these files: directories end with a slash, programs with an asterisk.
type tree struct {
	files []string
	env   map[string]string
}

func (s tree) absolute(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = "/work/" + path
	}
	return filepath.Clean(path)
}

func (s tree) Names(dir string) []string {
	dir = strings.TrimSuffix(s.absolute(dir), "/") + "/"
	var names []string
	for _, f := range s.files {
		if rest, ok := strings.CutPrefix(f, dir); ok && rest != "" {
			name, _, _ := strings.Cut(rest, "/")
			if name = strings.TrimSuffix(name, "*"); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func (s tree) IsDir(path string) bool {
	path = s.absolute(path)
	return slices.ContainsFunc(s.files, func(f string) bool { return strings.HasPrefix(f, path+"/") })
}

func (s tree) IsExecutable(path string) bool { return slices.Contains(s.files, s.absolute(path)+"*") }

func (s tree) Variable(name string) (string, bool) {
	value, ok := s.env[name]
	return value, ok
}

func (s tree) Variables() []string {
	var names []string
	for name := range s.env {
		names = append(names, name)
	}
	return names
}

func (s tree) Home(user string) (string, bool) {
	home, ok := map[string]string{"": "/home/ann", "ann": "/home/ann", "bob": "/home/bob"}[user]
	return home, ok
}

func (s tree) Users() []string { return []string{"ann", "bob", "x y"} }

func example() tree {
	return tree{
		files: []string{
			"/bin/cat*", "/bin/ls*", "/bin/lsblk*", "/bin/notes", "/opt/bin/list all*", "/opt/bin/ls*",
			"/work/file", "/work/find me", "/work/firm/run*", "/work/firm/sub/", "/work/it's", "/work/$dollar", "/work/.hidden",
			"/work/a\\b", "/work/tab\there", "/work/-rf", "/work/~x", "/work/中文", "/work/q\"u`o",
			"/home/ann/doc/", "/home/ann/note", "/home/bob/box",
		},
		env: map[string]string{"PATH": "/bin:/opt/bin", "HOME": "/home/ann", "HOMER": "x y", "BASH_FUNC_f%%": "() {", "N1": "1"},
	}
}

// TestComplete: what a line may become. Candidates are KIND:TEXT, with what is before the word left out.
func TestComplete(t *testing.T) {
	const firm, file, find = "dir:firm/", "file:file", `file:find\ me`
	for _, tt := range []struct{ line, start, want string }{
		{"ls", "ls", "command:ls command:lsblk"},
		{"l", "l", `command:list\ all builtin:local command:ls command:lsblk`},
		{"ca", "ca", "builtin:case command:cat"},
		{"no", "no", ""},
		{"ls fi", "fi", file + " " + find + " " + firm},
		{"ls | ls", "ls", "command:ls command:lsblk"},
		{"true;ls", "ls", "command:ls command:lsblk"},
		{"a && ls", "ls", "command:ls command:lsblk"},
		{"a || ls", "ls", "command:ls command:lsblk"},
		{"a & ls", "ls", "command:ls command:lsblk"},
		{"(ls", "ls", "command:ls command:lsblk"},
		{"{ ls", "ls", "command:ls command:lsblk"},
		{"echo $(ls", "ls", "command:ls command:lsblk"},
		{"echo \"$(ls", "ls", "command:ls command:lsblk"},
		{"echo `ls", "ls", "command:ls command:lsblk"},
		{"echo `ls` fil", "fil", file},
		{"echo $(ls) fil", "fil", file},
		{"echo $(ls)fil", "$(ls)fil", ""},
		{"diff <(ls", "ls", "command:ls command:lsblk"},
		{"f() { ls", "ls", "command:ls command:lsblk"},
		{"case x in x) ls", "ls", "command:ls command:lsblk"},
		{"if ls", "ls", "command:ls command:lsblk"},
		{"if x; then ls", "ls", "command:ls command:lsblk"},
		{"while ! ls", "ls", "command:ls command:lsblk"},
		{"for x in a; do\nls", "ls", "command:ls command:lsblk"},
		{"for x in fil", "fil", file},
		{"sudo ls", "ls", "command:ls command:lsblk"},
		{"sudo -u ann ls", "ls", "command:ls command:lsblk"},
		{"sudo -n env A=b ls", "ls", "command:ls command:lsblk"},
		{"A=b ls", "ls", "command:ls command:lsblk"},
		{"time -p ls", "ls", "command:ls command:lsblk"},
		{"nohup ls", "ls", "command:ls command:lsblk"},
		{"exec ls", "ls", "command:ls command:lsblk"},
		{"timeout 5 ls", "ls", "command:ls command:lsblk"},
		{"timeout fil", "fil", file},
		{"sudo ls fil", "fil", file},
		{"./fi", "./fi", "dir:./firm/"},
		{"firm/", "firm/", "file:firm/run dir:firm/sub/"},
		{"/bin/l", "/bin/l", "file:/bin/ls file:/bin/lsblk"},
		{"cd fi", "fi", firm},
		{"x; cd ", "", firm},
		{"rmdir f", "f", firm},
		{"ls ..", "..", "dir:../"},
		{"ls .", ".", "file:.hidden"},
		{"ls firm/s", "firm/s", "dir:firm/sub/"},
		{"ls it", "it", `file:it\'s`},
		{"ls $d", "$d", ""},
		{`ls \$d`, `\$d`, `file:\$dollar`},
		{`ls 'fi`, `'fi`, `file:'file' file:'find me' dir:'firm/`},
		{`ls "fi`, `"fi`, `file:"file" file:"find me" dir:"firm/`},
		{`ls "fi"`, `"fi"`, `file:"file" file:"find me" dir:"firm/`},
		{`ls 'it`, `'it`, `file:'it'\''s'`},
		{`ls "\$d`, `"\$d`, `file:"\$dollar"`},
		{`ls find\ `, `find\ `, find},
		{`ls fi\n`, `fi\n`, find},
		{`ls "q`, `"q`, `file:"q\"u` + "\\`o\""},
		{`ls a\\`, `a\\`, `file:a\\b`},
		{`ls a\`, `a\`, `file:a\\b`},
		{`ls "firm/s`, `"firm/s`, `dir:"firm/sub/`},
		{`ls "firm"/s`, `"firm"/s`, `dir:"firm"/sub/`},
		{`ls firm/"s`, `firm/"s`, `dir:firm/"sub/`},
		{"ls tab", "tab", ""},
		{"ls -", "-", "file:-rf"},
		{"ls 中", "中", "file:中文"},
		{"ls \\~", "\\~", `file:\~x`},
		{"ls ~/", "~/", "dir:~/doc/ file:~/note"},
		{"ls ~/n", "~/n", "file:~/note"},
		{"ls '~/", "'~/", ""},
		{"ls ~bob/", "~bob/", "file:~bob/box"},
		{"ls ~nobody/", "~nobody/", ""},
		{"ls ~b", "~b", "dir:~bob/"},
		{"ls ~", "~", "dir:~/ dir:~ann/ dir:~bob/"},
		{"echo $HOM", "$HOM", "variable:$HOME variable:$HOMER"},
		{"echo ${HOM", "${HOM", "variable:${HOMER} variable:${HOME}"},
		{`echo "a$HOM`, `"a$HOM`, `variable:"a$HOME variable:"a$HOMER`},
		{"echo $", "$", "variable:$HOME variable:$HOMER variable:$N1 variable:$PATH"},
		{"echo '$HOM", "'$HOM", ""},
		{"$HOM", "$HOM", "variable:$HOME variable:$HOMER"},
		{"ls $HOME/n", "$HOME/n", "file:$HOME/note"},
		{`ls "${HOME}/n`, `"${HOME}/n`, `file:"${HOME}/note"`},
		{"ls $NOPE/n", "$NOPE/n", ""},
		{"ls $HOMER/n", "$HOMER/n", ""},
		{"ls *", "*", ""},
		{"ls */r", "*/r", ""},
		{"ls $'fi", "$'fi", ""},
		{"cat <fi", "fi", file + " " + find + " " + firm},
		{"cat >>fil", "fil", file},
		{"cat 2>fil", "fil", file},
		{"cat &>fil", "fil", file},
		{"cat 2>&1 fil", "fil", file},
		{">fil", "fil", file},
		{"cat >x; ls", "ls", "command:ls command:lsblk"},
		{"ls --dir=fir", "--dir=fir", "dir:--dir=firm/"},
		{"A=fir", "A=fir", "dir:A=firm/"},
		{"export A=/bin:/home/b", "A=/bin:/home/b", "dir:A=/bin:/home/bob/"},
		{"A=~/n", "A=~/n", "file:A=~/note"},
		{"dd if=fil", "if=fil", "file:if=file"},
		{"ls # fi", "", ""},
		{"ls a#fi", "a#fi", ""},
		{"# x\nls fil", "fil", file},
		{"ls \\\nfil", "fil", file},
		{"ls 'a\nfi", "'a\nfi", ""},
		{"ls \tfil", "fil", file},
	} {
		m := Complete(example(), "/bin/sh", tt.line)
		if got := tt.line[m.Start:]; got != tt.start {
			t.Errorf("%q: the word is %q, want %q", tt.line, got, tt.start)
		}
		if got := brief(m); got != tt.want {
			t.Errorf("%q: %s\nwant %s", tt.line, got, tt.want)
		}
		parses(t, m, tt.line)
	}
}

func brief(m *proto.Completion) string {
	var all []string
	for _, c := range m.Candidates {
		all = append(all, c.Kind+":"+c.Text)
	}
	return strings.Join(all, " ")
}

func parses(t *testing.T, m *proto.Completion, line string) {
	t.Helper()
	got, err := proto.ParseCompletion(m.Append(nil), len(line))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(m) {
		t.Fatalf("%q: %+v is read as %+v, %v", line, m, got, err)
	}
}

func TestShown(t *testing.T) {
	m := Complete(example(), "/bin/sh", `ls firm/`)
	m.Candidates = append(m.Candidates, Complete(example(), "/bin/sh", `ls 'it`).Candidates...)
	var shown []string
	for _, c := range m.Candidates {
		shown = append(shown, c.Shown)
	}
	if got := strings.Join(shown, " "); got != "run sub/ it's" {
		t.Error(got)
	}
}

func TestFish(t *testing.T) {
	for line, want := range map[string]string{
		"and ls":     "command:ls command:lsblk",
		"echo (ls":   "command:ls command:lsblk",
		"ls 'it":     `file:'it\'s'`,
		`ls "q`:      "file:\"q\\\"u`o\"",
		`ls 'a\\`:    `file:'a\\b'`,
		`ls fi\n`:    "",
		"string":     "builtin:string",
		"begin; cat": "command:cat",
	} {
		m := Complete(example(), "/usr/bin/fish", line)
		if got := brief(m); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
		parses(t, m, line)
	}
}

func TestMany(t *testing.T) {
	var s tree
	for i := range 1500 {
		s.files = append(s.files, fmt.Sprintf("/work/f%04d", 1499-i))
	}
	m := Complete(s, "/bin/sh", "ls f")
	if len(m.Candidates) != 1000 || m.More != 500 || m.Candidates[0].Text != "f0000" || m.Candidates[999].Text != "f0999" {
		t.Errorf("%d candidates, %d more", len(m.Candidates), m.More)
	}
	parses(t, m, "ls f")
	s.files = nil
	for i := range 900 {
		s.files = append(s.files, fmt.Sprintf("/work/f%04d%s", i, strings.Repeat(" ", 1000)))
	}
	if m = Complete(s, "/bin/sh", "ls f"); m.More == 0 || len(m.Candidates)+m.More != 900 || len(m.Append(nil)) > 1<<20 {
		t.Errorf("%d candidates, %d more, %d bytes", len(m.Candidates), m.More, len(m.Append(nil)))
	}
}

// TestShellsAgree: what is proposed means the file to the shell, however the word was begun.
func TestShellsAgree(t *testing.T) {
	dir := t.TempDir()
	for c := byte(' '); c < 0x7f; c++ {
		if c != '/' {
			names := []string{"x" + string(c) + "y", "x" + string(c)}
			for _, name := range names {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Chdir(dir)
	for _, sh := range []string{"sh", "bash", "zsh", "fish", "ksh", "mksh"} {
		file, err := exec.LookPath(sh)
		if err != nil {
			continue
		}
		for _, begun := range []string{"x", "'x", `"x`, "./x", `"./"x`} {
			m := Complete(Process{}, file, "ls "+begun)
			if len(m.Candidates) < 180 {
				t.Errorf("%s, %s: %d candidates", sh, begun, len(m.Candidates))
			}
			var words, want strings.Builder
			for _, c := range m.Candidates {
				words.WriteString(" " + c.Text)
				if c.Kind != proto.KindFile {
					t.Errorf("%+v", c)
				}
				prefix := ""
				if strings.Contains(begun, "/") {
					prefix = "./"
				}
				want.WriteString(prefix + c.Shown + "\n")
			}
			out, err := exec.Command(file, "-c", `printf '%s\n'`+words.String()).Output()
			if err != nil || string(out) != want.String() {
				t.Errorf("%s, %s: %v: %q, want %q", sh, begun, err, out, want.String())
			}
		}
	}
}

// FuzzComplete: no line makes it panic or say what cannot be read.
func FuzzComplete(f *testing.F) {
	for _, line := range []string{"ls 'a", "a=$(b `c \"${d", "cd ~x/\\", "> <( { ! x)", "# \n ) ` \" \\", "sudo -u A=~:/b=$'"} {
		f.Add(line, false)
		f.Add(line, true)
	}
	s := example()
	f.Fuzz(func(t *testing.T, line string, fish bool) {
		shell := "/bin/bash"
		if fish {
			shell = "/bin/fish"
		}
		m := Complete(s, shell, line)
		parses(t, m, line)
	})
}
