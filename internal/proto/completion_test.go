package proto

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	full := &Completion{Start: 3, More: 12, Candidates: []Candidate{
		{KindDir, "/usr/", "usr/"}, {KindFile, `a\ b`, "a b"}, {KindCommand, "\xc4\xe3", "\xc4\xe3"}, {KindVariable, "$A", "A"}, {KindBuiltin, "cd", "cd"}}}
	const text = "start 3\ndir\t/usr/\tusr/\nfile\ta\\ b\ta b\ncommand\t\xc4\xe3\t\xc4\xe3\nvariable\t$A\tA\nbuiltin\tcd\tcd\nmore 12\n"
	if got := string(full.Append(nil)); got != text {
		t.Errorf("%q", got)
	}
	if got, err := ParseCompletion([]byte(text), 3); err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseCompletion([]byte("start 0\n"), 0); err != nil || !reflect.DeepEqual(got, &Completion{}) {
		t.Errorf("%+v, %v", got, err)
	}
	const line = "file\ta\ta\n"
	for _, bad := range []string{
		"", "start 3", "start 4\n", "start -1\n", "start 03\n", "start\n", "begin 3\n" + line, "start 3\nfile\ta\ta", "start 3\n\n",
		"start 3\nfile\ta\n", "start 3\nfile\ta\ta\ta\n", "start 3\nlink\ta\ta\n", "start 3\nfile\t\ta\n", "start 3\nfile\ta\t\n",
		"start 3\nfile\ta\x1b\ta\n", "start 3\nfile\ta\ta\x7f\n", "start 3\nfile\ta\ta\r\n", "start 3\nmore 0\n", "start 3\nmore 01\n",
		"start 3\nmore 1\n" + line, "start 3\n" + strings.Repeat(line, MaxCandidates+1), "start 99999999999999999999\n",
	} {
		if m, err := ParseCompletion([]byte(bad), 3); err == nil {
			t.Errorf("%.30q: %+v", bad, m)
		}
	}
}

// FuzzCompletion: what is accepted is written again as it came.
func FuzzCompletion(f *testing.F) {
	f.Add([]byte("start 3\ndir\t/usr/\tusr/\nmore 12\n"), 3)
	f.Add([]byte("start 0\n"), 0)
	f.Fuzz(func(t *testing.T, b []byte, line int) {
		m, err := ParseCompletion(b, line)
		if err == nil && (!bytes.Equal(m.Append(nil), b) || m.Start > line) {
			t.Fatalf("%q: %+v", b, m)
		}
	})
}
