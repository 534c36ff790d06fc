package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap/zapcore"

	"rexec/internal/systemd"
)

// journal is a zapcore.Core that gives each field of a log line to the journal as a field, so that
// journalctl can select by key, peer, job and outcome. The message has them, too, for people.
type journal struct {
	zapcore.LevelEnabler
	fields []zapcore.Field
}

func (j journal) With(fields []zapcore.Field) zapcore.Core {
	j.fields = slices.Concat(j.fields, fields)
	return j
}

func (j journal) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if j.Enabled(e.Level) {
		return ce.AddCore(e, j)
	}
	return ce
}

func (j journal) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return systemd.Journal(priority(e.Level), j.text(e, fields), j.entry(e, fields))
}

func (journal) Sync() error { return nil }

// text is the message with all fields.
func (j journal) text(e zapcore.Entry, fields []zapcore.Field) string {
	var b strings.Builder
	b.WriteString(e.Message)
	separator := ": "
	for _, f := range slices.Concat(j.fields, fields) {
		b.WriteString(separator + f.Key + "=" + word(valueOf(f)))
		separator = ", "
	}
	return b.String()
}

// fieldPrefix keeps our fields apart from those of others (systemd.journal-fields(7)).
const fieldPrefix = "REXEC_"

func (j journal) entry(e zapcore.Entry, fields []zapcore.Field) map[string]string {
	all := map[string]string{"SYSLOG_IDENTIFIER": "rexecd"}
	for _, f := range slices.Concat(j.fields, fields) {
		all[systemd.FieldName(fieldPrefix, f.Key)] = valueOf(f)
	}
	if e.Stack != "" {
		all[fieldPrefix+"STACK"] = e.Stack
	}
	return all
}

// valueOf is a field's value as text.
func valueOf(f zapcore.Field) string {
	m := zapcore.NewMapObjectEncoder()
	f.AddTo(m)
	return fmt.Sprint(m.Fields[f.Key])
}

// word puts a value that people might misread between quotes.
func word(s string) string {
	if q := strconv.Quote(s); strings.ContainsAny(s, " ,=") || q != `"`+s+`"` || s == "" {
		return q
	}
	return s
}

func priority(l zapcore.Level) systemd.Priority {
	switch {
	case l >= zapcore.ErrorLevel:
		return systemd.Error
	case l == zapcore.WarnLevel:
		return systemd.Warning
	case l == zapcore.InfoLevel:
		return systemd.Info
	}
	return systemd.Debug
}
