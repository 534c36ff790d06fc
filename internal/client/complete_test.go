package client

import (
	"strings"
	"testing"

	"rexec/internal/proto"
)

// TestAnswer: only a subsystem that ended well has said something, and only what can be typed is passed on.
func TestAnswer(t *testing.T) {
	ended := func(state proto.State, code uint8, reason string) *Result {
		return &Result{Exit: proto.Exit{State: state, Code: code, Reason: reason}}
	}
	const said = "start 1\nfile\ta\ta\nfile\tb\ufffd\tb\nfile\t\xc4\xe3\tc\nfile\tw?\tw\n"
	for _, tt := range []struct {
		result  *Result
		out     string
		charset string
		want    string
		problem string
	}{
		{ended(proto.StateExited, 0, ""), said, "", "a w?", ""},
		{ended(proto.StateExited, 0, ""), said, "utf-8", "a w?", ""},
		{ended(proto.StateExited, 0, ""), said, "gbk", "a b\ufffd \xc4\xe3", ""},
		{ended(proto.StateExited, 1, ""), said, "", "", "completion: exited, code 1: oops"},
		{ended(proto.StateTimeout, 124, "time limit reached"), "", "", "", "context deadline exceeded"},
		{ended(proto.StateRefused, 255, "no subsystem"), "", "", "", "no subsystem"},
		{ended(proto.StateExited, 0, ""), "start 9\n", "", "", "malformed message: completion without a start"},
	} {
		var out, words limitedBuffer
		_, _ = out.Write([]byte(tt.out))
		_, _ = words.Write([]byte("oops\n"))
		m, err := answer(tt.result, &out, &words, 3, tt.charset)
		if err != nil {
			if err.Error() != tt.problem {
				t.Errorf("error %v, want %q", err, tt.problem)
			}
			continue
		}
		var texts []string
		for _, c := range m.Candidates {
			texts = append(texts, c.Text)
		}
		if got := strings.Join(texts, " "); got != tt.want || tt.problem != "" || m.Start != 1 {
			t.Errorf("%s: %q, want %q %q", tt.charset, got, tt.want, tt.problem)
		}
	}
}

func TestLimitedBuffer(t *testing.T) {
	var b limitedBuffer
	if _, err := b.Write(make([]byte, maxCompletion)); err != nil || b.full {
		t.Error(err)
	}
	if _, err := b.Write([]byte{1}); err == nil || !b.full || b.Len() != maxCompletion {
		t.Errorf("%v, %d bytes", err, b.Len())
	}
}
