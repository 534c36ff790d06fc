package main

import (
	"errors"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rexec/internal/systemd"
)

// TestJournal: what a line of the log is for programs, and for people.
func TestJournal(t *testing.T) {
	j := journal{LevelEnabler: zapcore.InfoLevel}.With([]zapcore.Field{zap.String("key", "alice")}).(journal)
	e := zapcore.Entry{Level: zapcore.InfoLevel, Message: "command ended"}
	fields := []zapcore.Field{zap.String("outcome", "exited"), zap.Uint8("code", 7), zap.String("reason", `no "such" thing`),
		zap.Error(errors.New("x")), zap.Bool("udp", true)}
	const want = `command ended: key=alice, outcome=exited, code=7, reason="no \"such\" thing", error=x, udp=true`
	if got := j.text(e, fields); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	got := j.entry(e, fields)
	for name, want := range map[string]string{
		"REXEC_KEY": "alice", "REXEC_OUTCOME": "exited", "REXEC_CODE": "7", "REXEC_REASON": `no "such" thing`,
		"REXEC_ERROR": "x", "REXEC_UDP": "true", "SYSLOG_IDENTIFIER": "rexecd",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if j.Check(zapcore.Entry{Level: zapcore.DebugLevel}, nil) != nil {
		t.Error("the level has no effect")
	}
	for level, want := range map[zapcore.Level]systemd.Priority{zapcore.DebugLevel: 7, zapcore.InfoLevel: 6,
		zapcore.WarnLevel: 4, zapcore.ErrorLevel: 3, zapcore.PanicLevel: 3} {
		if got := priority(level); got != want {
			t.Errorf("%v has priority %d, want %d", level, got, want)
		}
	}
}
