package job

import (
	"time"

	"rexec/internal/proto"
)

// Info is a running job at one moment.
type Info struct {
	ID       proto.ExecID
	KeyID    string
	Account  string // that it runs as; empty: unknown
	Name     string // that its client chose for it, or empty
	PID      int
	Started  time.Time
	Bytes    [3]uint64 // that it took from stdin, and wrote to stdout and stderr
	Attached bool      // a client is there
	Ending   bool      // the daemon is ending it
	Shell    []byte    // the request's, as are the following; not to be changed
	Argv     [][]byte
	Script   bool
	Terminal bool // it runs on one
	// Subsystem is what was asked for by its name; empty: it is a command.
	Subsystem string
}

// Jobs returns what runs now, in no order. No lock is held when it returns.
func (t *Table) Jobs() []Info {
	var all []Info
	for _, j := range t.running() {
		if info, ok := j.info(); ok {
			all = append(all, info)
		}
	}
	return all
}

// info is false for a job that does not run yet, or not any more.
func (j *Job) info() (Info, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.exit != nil || j.proc == nil {
		return Info{}, false
	}
	return Info{
		ID: j.ID, KeyID: j.KeyID, Account: j.proc.Account, Name: j.Run.Name, PID: j.proc.PID, Started: j.started,
		Bytes: j.moved(), Attached: j.att != nil, Ending: j.verdict != nil,
		Shell: j.Run.Shell, Argv: j.Run.Argv, Script: j.Run.Script, Subsystem: j.Run.Subsystem,
		Terminal: j.proc.Terminal != nil,
	}, true
}

// moved is how many bytes of each stream went through the daemon: stdin, stdout, stderr. Called with the lock
// held.
func (j *Job) moved() [3]uint64 {
	if j.exit != nil { // what the command did not take was thrown away, and may count no longer
		return streamBytes(j.exit)
	}
	return [3]uint64{j.in.log.Base(), j.out[0].log.Head(), j.out[1].log.Head()}
}

func streamBytes(x *proto.Exit) [3]uint64 {
	return [3]uint64{x.StdinBytes, x.StdoutBytes, x.StderrBytes}
}

// Totals are a table's counts at one moment.
type Totals struct {
	Running int       // jobs
	Bytes   [3]uint64 // stdin, stdout and stderr of all jobs so far, ended or not; never less than before
}

// Totals counts without holding up what runs for longer than a look at each running job takes.
func (t *Table) Totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := Totals{Running: len(t.live), Bytes: t.bytes}
	for j := range t.live {
		j.mu.Lock()
		for i, n := range j.moved() {
			all.Bytes[i] += n
		}
		j.mu.Unlock()
	}
	return all
}
