package lineedit

import "testing"

func TestUnfinished(t *testing.T) {
	for _, text := range []string{
		"", " ", "ls", "ls -l | wc", "echo 'a b'", `echo "a'b"`, `echo a\ b`, "echo it\\'s", "a; b && c || d &", "(cd /; ls)", "{ a; }",
		"for i in 1 2; do echo $i; done", "if true; then a; elif b; then c; else d; fi", "while read x; do echo; done <f",
		"case $x in a) b;; (c) d;; esac", "cat <<E\nx\nE", "cat <<-'E' | wc\n\tx\n\tE\n", "cat <<<word", "echo `date`", "echo $(date)",
		`echo "$(echo ")")"`, "echo ${x:-'}", "echo $((1+2))", "f() { a; }", "echo # 'x", "# it's", "echo a#b", "echo if", "echo done fi",
		"a\nb\n", "echo \\\nb", "if true; echo; end", "for x in a b; echo $x; end", "begin; a; end", "function f; a; end", "time ls", "! true",
		"echo ${x%\\}}", "find . -exec ls {} \\;", "a |\nb", "a &&\n\nb", "select x in a; do b; done", "function f { a; }", "echo }", "echo a >b",
		"cat <<A <<B\n1\nA\n2\nB", `printf '%s\n' "x"`, "echo $", "echo \"`date`\"", "awk '{ print \"x\" }'", "echo $'a'", "echo \"a\nb\"",
	} {
		if Unfinished(text) {
			t.Errorf("%q is taken for unfinished", text)
		}
	}
	for _, text := range []string{
		"echo 'a", `echo "a`, "echo `a", "echo a\\", "a |", "a &&", "a ||", "a && ", "a | # c", "(a", "{ a", "{ a; ", "for i in 1 2", "for i in 1; do",
		"for i in 1; do a", "if true", "if true; then", "if true; then a; else", "while x", "until x; do y", "case x in", "case x in a) b;;",
		"cat <<E", "cat <<E\nx", "cat <<E\nx\n", "cat <<-E\n x\n E", "cat <<", "echo $(date", "echo ${x", `echo "$(date"`, "f() {", "f() {\na",
		"if true; then for x in 1; do a; done", "begin; a", "function f\na", "echo 'a\nb", "cat <<A <<B\n1\nA\n2", "a |\n", "echo $((1+2)",
	} {
		if !Unfinished(text) {
			t.Errorf("%q is taken for finished", text)
		}
	}
}

// FuzzUnfinished only demands an answer.
func FuzzUnfinished(f *testing.F) {
	f.Add("case $x in (a) cat <<-E;; esac\nx\n\tE\n")
	f.Add("echo \"${x:-$(echo `date`)}\" \\")
	f.Fuzz(func(_ *testing.T, text string) { Unfinished(text) })
}
