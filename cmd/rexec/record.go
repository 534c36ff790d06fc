package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"rexec/internal/client"
	"rexec/internal/proto"
)

// record is the outcome of a run for programs: one line of JSON. Fields that do not apply are absent.
type record struct {
	ID     string `json:"id"`
	Host   string `json:"host"`
	State  string `json:"state"` // exited, signaled, timeout, killed, lost, refused
	Code   int    `json:"code"`  // what rexec exits with
	Signal string `json:"signal,omitempty"`
	Reason string `json:"reason,omitempty"`

	Start         string  `json:"start,omitempty"` // RFC 3339, by the server's clock
	End           string  `json:"end,omitempty"`
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`
	MaxRSS        uint64  `json:"max_rss_bytes"`
	StdinBytes    uint64  `json:"stdin_bytes"`
	StdoutBytes   uint64  `json:"stdout_bytes"`
	StderrBytes   uint64  `json:"stderr_bytes"`

	Charset        string `json:"charset,omitempty"` // what converted output was taken for
	ConvertedLines uint64 `json:"converted_lines,omitempty"`

	CoreDumped    bool   `json:"core_dumped,omitempty"`
	Truncated     bool   `json:"truncated"`
	MissingStdout uint64 `json:"missing_stdout_bytes,omitempty"`
	MissingStderr uint64 `json:"missing_stderr_bytes,omitempty"`
	Background    bool   `json:"background,omitempty"`
	Replayed      bool   `json:"replayed,omitempty"`
	Attached      bool   `json:"attached,omitempty"`
	Resumed       int    `json:"resumed,omitempty"`
}

// writeRecord writes the record to where the command line wants it, if it wants one.
func (p *program) writeRecord(id proto.ExecID, r *client.Result, err error) error {
	if p.status == nil {
		return nil
	}
	line, jsonErr := json.Marshal(p.newRecord(id, r, err))
	if jsonErr != nil {
		return jsonErr
	}
	var w io.Writer = p.status
	if term.IsTerminal(int(p.status.Fd())) {
		w = &rawWriter{p.status, &p.raw}
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the status record: %w", err)
	}
	return nil
}

// openStatus finds out where records go, before anything runs whose outcome could not be told.
func (p *program) openStatus() error {
	switch {
	case p.options.statusFD >= 0:
		if !canWrite(p.options.statusFD) {
			return misuse("--status-fd %d is not open for writing", p.options.statusFD)
		}
		p.status = os.NewFile(uintptr(p.options.statusFD), "status")
	case p.options.json:
		p.status = p.err
	}
	return nil
}

func (p *program) newRecord(id proto.ExecID, r *client.Result, err error) *record {
	rec := &record{ID: id.String(), Host: p.options.destination, Code: exitOurs}
	if p.target != nil {
		rec.Host = p.target.address
	}
	if r == nil {
		rec.State, rec.Reason = proto.StateRefused.String(), printable(err.Error())
		var lost *client.LostError
		if errors.As(err, &lost) {
			rec.State = proto.StateLost.String()
		}
		return rec
	}
	rec.State, rec.Signal, rec.Reason = r.State.String(), r.Signal, printable(r.Reason)
	rec.Start, rec.End = stamp(r.Start), stamp(r.End)
	rec.UserSeconds, rec.SystemSeconds = float64(r.UserTime)/1e6, float64(r.SystemTime)/1e6
	rec.MaxRSS = r.MaxRSS
	rec.StdinBytes, rec.StdoutBytes, rec.StderrBytes = r.StdinBytes, r.StdoutBytes, r.StderrBytes
	rec.Charset, rec.ConvertedLines = r.Charset, r.ConvertedLines
	rec.CoreDumped, rec.Background, rec.Replayed = r.CoreDumped, r.Background, r.Replayed
	rec.Truncated = r.Truncated || r.Missing != [2]uint64{}
	rec.MissingStdout, rec.MissingStderr = r.Missing[0], r.Missing[1]
	rec.Attached, rec.Resumed = r.Attached, r.Resumed
	if code, fatal := exitCode(r, err); fatal == nil {
		rec.Code = code
	} else {
		rec.Reason = printable(fatal.Error())
	}
	return rec
}

func stamp(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
