// Package job keeps executions: each a command with an execution ID, its state, an append-only log of
// its output with offsets, and at the end one exit record.
//
// It owns what happens between a process and whoever is attached to it: buffering, credit, the grace
// period after a lost client, deadlines, and the promise that an ID starts at most once. It does not
// speak to the network, does not decide who may run what and does not start processes: a start
// function is handed in. Nothing here sees decoded text: logs hold raw bytes, and what charset they are
// in is only passed on. It must not import server, transport or config.
package job

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"rexec/internal/bytelog"
	"rexec/internal/charset"
	"rexec/internal/exec"
	"rexec/internal/proto"
)

// Process is a started command as the privileged half hands it over: open files, which the job reads,
// writes and closes, and a handle. Stdin is nil if the command has none, Stderr if it is on a terminal.
type Process struct {
	PID                   int
	Account               string // that it runs as, for people
	Stdin, Stdout, Stderr *os.File
	Handle                Handle
	Terminal              Terminal // nil: the files are pipes

	Charset  charset.Mode // what its output is in, by the key or the configuration
	GBLocale bool         // its locale prints GBK or GB 18030; a hint where Charset is Auto

	Report *Report // of a shell on how it ended; nil: it gives none
	Banner string  // the operator's words for the client's user; empty: none
}

// Handle reaches a process that another part, perhaps another program, started.
type Handle interface {
	// Wait blocks until the main process has ended; any number of callers may wait.
	Wait() exec.Status
	// Signal sends a signal, by its name without SIG, to the whole tree.
	Signal(name string) error
	// Stop ends the whole tree, first politely, and returns the PIDs that it could not end.
	Stop(grace time.Duration) []int
}

// Terminal is what a command runs on instead of pipes. Its output ends with EIO.
type Terminal interface {
	Resize(proto.Window) error
	// EndOfFile is the character that ends the input, typed at the begin of a line, or twice inside of one.
	EndOfFile() byte
	// Unread takes what was typed and nobody has read. It is lost at the main process's end.
	Unread() []byte
}

// The window of a stream: what is held beyond the last acknowledged byte. It starts small, for
// memory's sake, and grows while it is what keeps the command waiting.
const (
	minWindow = 1 << 20
	maxWindow = 32 << 20
)

// lateOutput bounds how long an exit record waits for output of processes that outlive the command:
// quietOutput without a byte, and lateOutput in all.
const (
	quietOutput = 50 * time.Millisecond
	lateOutput  = time.Second
)

// Job is one execution.
type Job struct {
	ID     proto.ExecID
	KeyID  string
	Peer   string // where the first request for it came from
	Run    *proto.Run
	digest [32]byte
	table  *Table

	ready chan struct{} // closed once the job runs or has an exit record
	ended chan struct{} // closed once it has its exit record

	mu        sync.Mutex
	valid     func() error // that of the last client (Client.Valid)
	changed   sync.Cond    // broadcast on every change that an attachment or a pump may wait for
	proc      *Process
	printed   charset.Mode // the Process's Charset and GBLocale, which outlast it
	gbLocale  bool
	started   time.Time
	out       [2]output // stdout, stderr
	in        input
	report    *Report
	banner    string
	att       *Attachment
	calls     calls
	verdict   *verdict      // why the daemon is ending it
	stopped   chan struct{} // closed once its tree was ended for the verdict; nil: it is not being ended
	survivors int           // processes that could not be ended; valid once stopped is closed
	exit      *proto.Exit
	began     bool        // the command was started
	over      bool        // its main process has ended
	known     bool        // a client has the exit record and all output
	orphan    *time.Timer // runs out when the client stays away
	timeout   *time.Timer
	pumps     sync.WaitGroup
}

// verdict is the daemon's decision to end a job. The first one stands.
type verdict struct {
	state  proto.State
	cause  proto.Cause
	reason string
}

type output struct {
	stream   proto.Stream
	log      bytelog.Log
	window   int  // bytes that may be held
	starved  bool // the command waits for room
	done     bool // no more output will be appended
	unwanted bool // the client's end is closed; the command is to see a closed pipe
	file     *os.File
	terminal bool
	late     bool // a process in the background still holds the pipe
}

// wake ends a read of the stream that waits.
func (o *output) wake() {
	if o.file != nil {
		_ = o.file.SetReadDeadline(past)
	}
}

func newJob(t *Table, g Grant, run *proto.Run) *Job {
	j := &Job{
		ID: run.ID, KeyID: g.KeyID, Peer: g.Peer, Run: run, digest: run.Digest(), table: t, valid: g.Valid,
		ready: make(chan struct{}), ended: make(chan struct{}),
	}
	if j.valid == nil {
		j.valid = func() error { return nil }
	}
	j.changed.L = &j.mu
	for i := range j.out {
		j.out[i].stream, j.out[i].window = proto.Stream(i+1), minWindow
	}
	j.in.window = minWindow
	return j
}

// begin takes over a started process.
func (j *Job) begin(p *Process) {
	j.mu.Lock()
	j.proc, j.started, j.began = p, time.Now(), true
	j.printed, j.gbLocale = p.Charset, p.GBLocale
	j.report, j.banner = p.Report, p.Banner
	j.out[0].file, j.out[1].file, j.in.file = p.Stdout, p.Stderr, p.Stdin
	if p.Stdin == nil {
		j.in.closed = true
	}
	j.out[0].terminal, j.out[1].done = p.Terminal != nil, p.Stderr == nil
	if j.Run.Timeout > 0 {
		limit := time.Duration(min(j.Run.Timeout, uint64(maxTimeout/time.Millisecond))) * time.Millisecond
		j.timeout = time.AfterFunc(limit, func() {
			j.End(proto.StateTimeout, proto.CauseNone, "time limit of "+limit.String()+" reached")
		})
	}
	if j.verdict != nil { // it was to end before it had begun
		j.stop()
	}
	j.mu.Unlock()
	for i := range j.out {
		if j.out[i].file != nil {
			j.pumps.Go(func() { j.pump(&j.out[i]) })
		}
	}
	fed := make(chan struct{})
	if p.Stdin != nil {
		j.pumps.Go(func() { defer close(fed); j.feed() })
	}
	if p.Report != nil {
		if p.Terminal != nil && p.Stdin != nil {
			p.Report.whole = func() { j.takeBack(fed) }
		}
		j.pumps.Go(p.Report.collect)
	}
	j.table.serving.Go(j.wait)
	close(j.ready)
}

// Printed returns what the command's output is in, and whether its locale prints GBK or GB 18030. Valid
// once the job is ready, as those are that Open returns, and for as long as anybody holds it.
func (j *Job) Printed() (m charset.Mode, gbLocale bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.printed, j.gbLocale
}

// maxTimeout keeps a deadline inside time.Duration's range.
const maxTimeout = 100 * 365 * 24 * time.Hour

// wait sees the main process off and makes the exit record once its output is in the log.
func (j *Job) wait() {
	status := j.proc.Handle.Wait()
	j.mu.Lock()
	j.over = true
	stopped := j.stopped
	j.mu.Unlock()
	if stopped != nil {
		<-stopped // the record of an execution that was ended says that its whole tree has ended
	}
	j.mu.Lock()
	for i := range j.out {
		// Wakes a pump that waits for output; it then empties the pipe and looks who still holds it.
		j.out[i].wake()
	}
	j.in.close()
	if j.in.file != nil {
		_ = j.in.file.SetWriteDeadline(past) // a background child may hold the other end
	}
	j.changed.Broadcast()
	j.mu.Unlock()
	j.report.wake()
	j.pumps.Wait()

	j.mu.Lock()
	if j.timeout != nil {
		j.timeout.Stop()
	}
	x := j.record(status)
	x.ShellState, x.ShellStateTooLarge = j.report.state()
	x.Unread, j.in.unread = j.in.unread, nil
	j.mu.Unlock()
	j.table.finish(j, x)
}

var past = time.Unix(1, 0) //nolint:gochecknoglobals // a constant that Go cannot express as one

// record is called with the lock held.
func (j *Job) record(s exec.Status) *proto.Exit {
	x := &proto.Exit{
		State: proto.StateExited, Code: uint8(s.Code),
		Start: j.started.UnixNano(), End: s.Ended.UnixNano(),
		UserTime: uint64(s.UserTime.Microseconds()), SystemTime: uint64(s.SystemTime.Microseconds()),
		MaxRSS: uint64(s.MaxRSS), CoreDumped: s.CoreDumped,
		StdinBytes:  j.in.log.Base() - uint64(len(j.in.unread)),
		StdoutBytes: j.out[0].log.Head(), StderrBytes: j.out[1].log.Head(),
		Background: j.out[0].late || j.out[1].late,
	}
	if s.Signal != 0 {
		x.State, x.Signal, x.Code = proto.StateSignaled, exec.SignalName(s.Signal), uint8(128+int(s.Signal))
	}
	if s.OOMKills > 0 {
		x.Cause, x.Reason = proto.CauseMemory, outOfMemory(s)
	}
	if v := j.verdict; v != nil {
		x.State, x.Cause, x.Reason = v.state, v.cause, v.reason
		if j.survivors > 0 {
			x.Reason += fmt.Sprintf("; %d of its processes could not be ended", j.survivors)
		}
		if v.state == proto.StateTimeout {
			x.Code = codeTimeout
		} else if x.Code == 0 {
			x.Code = codeOurs
		}
	}
	return x
}

// outOfMemory words what the state and the code alone do not tell: whether it was the main process that
// the kernel ended is seen by them.
func outOfMemory(s exec.Status) string {
	why := "memory was short on the server"
	if s.OOMLimit {
		why = "it reached its limit"
	}
	return fmt.Sprintf("the kernel ended %d of its processes for lack of memory: %s", s.OOMKills, why)
}

// Exit codes of ours, as in timeout(1) and ssh(1).
const (
	codeTimeout = 124
	codeOurs    = 255
)

// End ends a running job's whole tree for a reason that its exit record will state. It does not wait.
// Once the command has ended by itself its outcome stands.
func (j *Job) End(state proto.State, cause proto.Cause, reason string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(&verdict{state, cause, reason})
}

// end is End with the lock held.
func (j *Job) end(v *verdict) {
	if j.over || j.exit != nil || j.verdict != nil {
		return
	}
	j.verdict = v
	for i := range j.out {
		j.out[i].window = maxWindow // a command that waits for a reader could not end politely
	}
	j.changed.Broadcast()
	if j.proc != nil {
		j.stop()
	} // else begin does
}

// stop is called with the lock held.
func (j *Job) stop() {
	handle := j.proc.Handle
	j.stopped = make(chan struct{})
	j.table.serving.Go(func() {
		defer close(j.stopped)
		j.survivors = len(handle.Stop(j.table.options.StopGrace))
	})
}

// Signal sends a signal to the job's tree; after its end nothing happens.
func (j *Job) Signal(name string) error {
	j.mu.Lock()
	p, over := j.proc, j.exit != nil
	j.mu.Unlock()
	if p == nil || over {
		return nil
	}
	return p.Handle.Signal(name)
}

// ErrNoTerminal is returned for a size of what runs on pipes.
var ErrNoTerminal = errors.New("no terminal")

// Resize gives the job's terminal another size; after its end nothing happens.
func (j *Job) Resize(w proto.Window) error {
	j.mu.Lock()
	p, over := j.proc, j.exit != nil
	j.mu.Unlock()
	switch {
	case p == nil || over:
		return nil
	case p.Terminal == nil:
		return ErrNoTerminal
	}
	return p.Terminal.Resize(w)
}
