//go:build linux

package rexectest

import (
	"fmt"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logLines shows every line in the test's log and keeps it.
type logLines struct {
	t     testing.TB
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(b []byte) (int, error) {
	l.t.Logf("rexecd: %s", b[:len(b)-1])
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b[:len(b)-1]))
	return len(b), nil
}

func (l *logLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

func (l *logLines) clientLog(format string, args ...any) {
	l.t.Logf("rexec: %s", fmt.Sprintf(format, args...))
}

func (l *logLines) logger() *zap.Logger {
	e := zap.NewProductionEncoderConfig()
	e.TimeKey = zapcore.OmitKey
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(e), zapcore.AddSync(l), zapcore.DebugLevel))
}
