package main

import (
	"errors"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"rexec/internal/config"
	"rexec/internal/runner"
	"rexec/internal/systemd"
)

// newLogger logs to w: to the journal with its fields if that is behind w, for people at a terminal, else one
// JSON object a line.
func newLogger(c config.Log, w io.Writer) (*zap.Logger, zap.AtomicLevel) {
	level := zap.NewAtomicLevel()
	setLevel(level, c.Level)
	if c.Format == "auto" && w == io.Writer(os.Stderr) && systemd.StderrIsJournal() {
		return zap.New(journal{LevelEnabler: level}), level
	}
	e := zap.NewProductionEncoderConfig()
	e.EncodeTime = zapcore.TimeEncoderOfLayout(time.RFC3339Nano)
	e.EncodeDuration = zapcore.StringDurationEncoder
	e.TimeKey = "time"
	encoder := zapcore.NewJSONEncoder(e)
	if c.Format == "console" || c.Format == "auto" && atTerminal(w) {
		e.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		e.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(e)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), level
}

// keyProblem logs what is wrong with the key file.
func (d *daemon) keyProblem(err error) {
	if errors.Is(err, runner.ErrNoKeys) {
		d.log.Warn("the key file is gone or empty", zap.String("file", d.store.Path()), zap.Error(err))
		return
	}
	d.log.Error("the key file cannot be used; the keys read before stay in force", zap.Error(err))
}

// setLevel takes a level that the configuration has checked.
func setLevel(l zap.AtomicLevel, name string) {
	if level, err := zapcore.ParseLevel(name); err == nil {
		l.SetLevel(level)
	}
}

func atTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
