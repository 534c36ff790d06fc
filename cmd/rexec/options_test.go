package main

import (
	"strings"
	"testing"
	"time"

	"rexec/internal/charset"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// TestGrammar: options stand before and after the host, bundled and glued, as ssh takes them.
func TestGrammar(t *testing.T) {
	tests := []struct {
		args string // words, separated by single spaces
		want options
		run  string // the command text
	}{
		{"h true", options{destination: "h"}, "true"},
		{"-nqv h true", options{destination: "h", noStdin: true, quiet: true, verbose: 1}, "true"},
		{"-v h -v -v uname -v", options{destination: "h", verbose: 3}, "uname -v"},
		{"-p8001 -lbob h x", options{destination: "h", port: first{"8001", true}, user: first{"bob", true}}, "x"},
		{"-l bob h -l eve x", options{destination: "h", user: first{"bob", true}}, "x"},
		{"h -p 8001 x -p 1", options{destination: "h", port: first{"8001", true}}, "x -p 1"},
		{"h -- -x", options{destination: "h"}, "-x"},
		{"-- h -x", options{destination: "h"}, "-x"},
		{"h -- -- x", options{destination: "h"}, "-- x"},
		{"-c id h", options{destination: "h", command: first{"id", true}}, "id"},
		{"--timeout 1.5 h x", options{destination: "h", timeout: 1500 * time.Millisecond}, "x"},
		{"--timeout=2m h x", options{destination: "h", timeout: 2 * time.Minute}, "x"},
		{"--on-disconnect keep h x", options{destination: "h", onDisconnect: proto.DisconnectKeep}, "x"},
		{"--env A=1 h --env B=2 x", options{destination: "h", env: []string{"A=1", "B=2"}}, "x"},
	}
	for _, tt := range tests {
		o, err := parseOptions(strings.Split(tt.args, " "))
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
			continue
		}
		r, err := o.request(func(string) (string, bool) { return "", false }, &charsets{local: charset.UTF8, cmd: charset.UTF8})
		if err != nil || string(r.Shell) != tt.run {
			t.Errorf("%s: runs %q, want %q (%v)", tt.args, r.Shell, tt.run, err)
		}
		got := *o
		same := got.destination == tt.want.destination && got.noStdin == tt.want.noStdin && got.quiet == tt.want.quiet &&
			got.verbose == tt.want.verbose && got.port == tt.want.port && got.user == tt.want.user &&
			got.command == tt.want.command && got.timeout == tt.want.timeout &&
			got.onDisconnect == tt.want.onDisconnect && strings.Join(got.env, ",") == strings.Join(tt.want.env, ",")
		if !same {
			t.Errorf("%s: %+v, want %+v", tt.args, got, tt.want)
		}
	}
}

func TestMisuse(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "no host given",
		"-z h":                     "unknown shorthand",
		"--nope h":                 "unknown flag",
		"-c x h y":                 "both give a command",
		"--argv h":                 "needs a program",
		"--argv -c x h":            "not -c",
		"-N h x":                   "runs nothing",
		"--timeout 0 h x":          "want a time",
		"--timeout -5s h x":        "want a time",
		"--on-disconnect maybe h":  "want grace, kill or keep",
		"-- -oProxyCommand=x true": "begins with a dash",
	} {
		var words []string
		if args != "" {
			words = strings.Split(args, " ")
		}
		if _, err := parseOptions(words); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestSplitDestination(t *testing.T) {
	for in, want := range map[string][2]string{
		"h":                {"", "h"},
		"bob@h:1":          {"bob", "h:1"},
		"a@b@h":            {"a@b", "h"},
		"ssh://bob@h:22/":  {"bob", "h:22"},
		"ssh://[::1]:8000": {"", "[::1]:8000"},
		"bob@::1":          {"bob", "::1"},
	} {
		if user, host := splitDestination(in); user != want[0] || host != want[1] {
			t.Errorf("%s: %q, %q", in, user, host)
		}
	}
}

// TestExitCode: 0 is never made up.
func TestExitCode(t *testing.T) {
	exit := func(state proto.State, code uint8) *client.Result {
		return &client.Result{Exit: proto.Exit{State: state, Code: code}}
	}
	missing, replayed := exit(proto.StateExited, 0), exit(proto.StateExited, 0)
	missing.Missing[0] = 1
	replayed.Missing[0], replayed.Replayed = 1, true
	cameBack := &client.Result{Exit: replayed.Exit, Missing: replayed.Missing, Resumed: 1}
	for _, tt := range []struct {
		r    *client.Result
		want int
	}{
		{nil, 255}, {exit(proto.StateExited, 0), 0}, {exit(proto.StateExited, 7), 7}, {exit(proto.StateSignaled, 137), 137},
		{exit(proto.StateTimeout, 124), 124}, {exit(proto.StateRefused, 127), 127}, {missing, 255}, {replayed, 0},
		{cameBack, 255},
	} {
		if got, err := exitCode(tt.r, nil); got != tt.want || err != nil {
			t.Errorf("%+v: %d, %v; want %d", tt.r, got, err, tt.want)
		}
	}
}

// TestPrintable: a server's words cannot drive the terminal.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain 中文":       "plain 中文",
		"\x1b]52;c;x\a":  "^[]52;c;x^G",
		"\x1b[2J":        "^[[2J",
		"a\nb\tc":        "a b c",
		"\u009b31m":      "<U+009B>31m",
		"\u202eevil":     "<U+202E>evil",
		"bad \xff\xfe":   "bad \uFFFD",
		"\x7f":           "^?",
		"\u200bzero":     "<U+200B>zero",
		"\r\x00overlaid": "^M^@overlaid",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
