package job

import (
	"context"
	"crypto/rand"
	"os"
	"runtime"
	"sync"
	"time"

	"rexec/internal/proto"
)

// Options are a table's settings. The zero value works.
type Options struct {
	Grace     time.Duration // how long a command waits for a client that vanished; default 60 s
	Retain    time.Duration // how long an ended execution is remembered; default 2 min, at least Grace
	StopGrace time.Duration // between the polite signals and KILL; default 5 s
	// RetainBytes bounds the output of ended jobs whose clients have not got all of it; default 256 MiB.
	RetainBytes int
	Ledger      *Ledger // of named executions; nil refuses names
	// Started is told how long it took from the request for a job until it ran, Ended of its end. They must
	// not block; nil: nobody is told.
	Started func(took time.Duration)
	Ended   func(*Job, *proto.Exit)
}

func (o Options) withDefaults() Options {
	if o.Grace == 0 {
		o.Grace = 60 * time.Second
	}
	if o.Retain == 0 {
		o.Retain = 2 * time.Minute
	}
	o.Retain = max(o.Retain, o.Grace)
	if o.StopGrace == 0 {
		o.StopGrace = 5 * time.Second
	}
	if o.RetainBytes == 0 {
		o.RetainBytes = 256 << 20
	}
	return o
}

// Table holds the jobs of one daemon instance.
type Table struct {
	Instance [proto.IDLen]byte
	started  time.Time
	options  Options
	serving  sync.WaitGroup // of goroutines that serve running jobs
	discards sync.WaitGroup

	mu       sync.Mutex
	jobs     map[tableKey]*Job
	live     map[*Job]struct{} // without an exit record that is accounted for
	bytes    [3]uint64         // of the others: stdin, stdout, stderr
	unread   []*Job            // ended, with output that its client may still want; oldest first
	held     map[*os.File]struct{}
	draining bool
	idle     chan struct{} // closed when draining and nothing lives
}

// tableKey scopes an execution ID to the key that used it.
type tableKey struct {
	keyID string
	id    proto.ExecID
}

// NewTable returns an empty table with a new instance ID.
func NewTable(o Options) *Table {
	t := &Table{
		started: time.Now(), options: o.withDefaults(),
		jobs: map[tableKey]*Job{}, live: map[*Job]struct{}{}, held: map[*os.File]struct{}{}, idle: make(chan struct{}),
	}
	_, _ = rand.Read(t.Instance[:]) // never fails (crypto/rand)
	return t
}

// Uptime is the age of this instance in milliseconds. It starts at 2, so that a request with StartBy 1
// is never started.
func (t *Table) Uptime() uint64 { return uint64(time.Since(t.started).Milliseconds()) + 2 }

// Retain is how long an ended execution is remembered, in milliseconds.
func (t *Table) Retain() uint64 { return uint64(t.options.Retain.Milliseconds()) }

// StartFunc starts the command of a request. Its error is an *exec.StartError, or another one whose
// text may be shown to the client.
type StartFunc func(*proto.Run) (*Process, error)

// Grant is what the owner of an execution may do.
type Grant struct {
	KeyID string
	Peer  string // where a request comes from, for the log
	Start StartFunc
	Valid func() error // whether what was started may still run, in words for the client; nil: always
}

// Open finds the execution that a validated request means or starts it, and returns it together with
// whether it existed before. If there is nothing to attach to it returns an exit record instead: the
// request was refused, or it is the stored outcome of an execution that this instance did not run.
func (t *Table) Open(g Grant, run *proto.Run) (j *Job, existed bool, x *proto.Exit) {
	asked := time.Now()
	j, existed, x = t.claim(g, run)
	if x != nil {
		return nil, false, x
	}
	if existed {
		<-j.ready
		j.mu.Lock()
		defer j.mu.Unlock()
		if !j.began {
			return nil, false, j.exit
		}
		return j, true, nil
	}
	if x = t.launch(j, g.Start); x != nil {
		return nil, false, x
	}
	if t.options.Started != nil {
		t.options.Started(time.Since(asked))
	}
	return j, false, nil
}

// claim looks the ID up and reserves it if it is new.
func (t *Table) claim(g Grant, run *proto.Run) (j *Job, existed bool, x *proto.Exit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := tableKey{g.KeyID, run.ID}
	if j, ok := t.jobs[key]; ok {
		if j.digest != run.Digest() {
			return nil, false, conflict(run)
		}
		return j, true, nil
	}
	switch {
	case run.StartBy != 0 && t.Uptime() > run.StartBy:
		if x := t.options.Ledger.recall(newJob(t, g, run)); x != nil {
			return nil, false, x
		}
		return nil, false, Lost(proto.CauseUnknown,
			"the server knows nothing of this execution any more; it may have run")
	case run.StdoutFrom-1 < proto.FromRetained-1, run.StderrFrom-1 < proto.FromRetained-1:
		return nil, false, Lost(proto.CauseUnknown,
			"the server knows nothing of this execution, of which the client has output")
	case t.draining:
		return nil, false, Refused(proto.CauseShutdown, "the daemon is shutting down")
	}
	j = newJob(t, g, run)
	t.jobs[key] = j
	t.live[j] = struct{}{}
	return j, false, nil
}

// launch starts a reserved job. The intent of a named one is on disk before anything runs.
func (t *Table) launch(j *Job, start StartFunc) *proto.Exit {
	if j.Run.Name != "" {
		if x := t.options.Ledger.begin(j); x != nil {
			t.drop(j, x)
			return x
		}
	}
	returned := false
	defer func() {
		if !returned { // it panicked, and the ID must not stay reserved for ever
			t.drop(j, Refused(proto.CauseInternal, "internal error"))
		}
	}()
	p, err := start(j.Run)
	returned = true
	if err != nil {
		x := refusal(err)
		if j.Run.Name != "" {
			t.options.Ledger.cancel(j)
		}
		t.drop(j, x)
		return x
	}
	j.begin(p)
	return nil
}

// drop frees the ID of a job that was never started, for another try.
func (t *Table) drop(j *Job, x *proto.Exit) {
	t.mu.Lock()
	delete(t.jobs, tableKey{j.KeyID, j.ID})
	t.ended(j)
	t.mu.Unlock()
	j.mu.Lock()
	j.exit = x
	j.mu.Unlock()
	close(j.ready)
	close(j.ended)
}

// finish stores an ended job's record and keeps the job for as long as its client may ask for it.
func (t *Table) finish(j *Job, x *proto.Exit) {
	if j.Run.Name != "" {
		t.options.Ledger.end(j, x)
	}
	j.mu.Lock()
	j.exit = x
	if j.orphan != nil {
		j.orphan.Stop()
		j.orphan = nil
	}
	if !j.in.filling {
		j.in.log.Discard()
	}
	j.changed.Broadcast()
	j.mu.Unlock()
	runtime.Gosched() // the client's answer first, the bookkeeping after it
	close(j.ended)
	if t.options.Ended != nil {
		t.options.Ended(j, x)
	}
	t.mu.Lock()
	t.ended(j)
	for i, n := range streamBytes(x) {
		t.bytes[i] += n
	}
	t.unread = append(t.unread, j)
	t.mu.Unlock()
	t.evict()
	time.AfterFunc(t.options.Retain, func() { t.forget(j) })
}

// ended is called with the lock held.
func (t *Table) ended(j *Job) {
	delete(t.live, j)
	if t.draining && len(t.live) == 0 {
		close(t.idle)
	}
}

// orphaned starts what the request wants to happen without a client. Called with the job's lock held.
func (j *Job) orphaned() {
	if j.exit != nil || j.proc == nil {
		return
	}
	wait := j.table.options.Grace
	switch j.Run.OnDisconnect {
	case proto.DisconnectKeep:
		return
	case proto.DisconnectKill:
		wait = 0
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.orphan == timer { // else a client came back while this one was firing
			j.end(&verdict{proto.StateKilled, proto.CauseClientGone, "the client was gone for " + wait.String()})
		}
	})
	j.orphan = timer
}

// Find returns a job by its ID; nil if there is none.
func (t *Table) Find(keyID string, id proto.ExecID) *Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.jobs[tableKey{keyID, id}]
}

// Shutdown refuses new executions, waits for the running ones until ctx ends, then ends them and waits
// for that. When it returns, nothing of the table's runs any more.
func (t *Table) Shutdown(ctx context.Context) {
	t.mu.Lock()
	if !t.draining {
		t.draining = true
		if len(t.live) == 0 {
			close(t.idle)
		}
	}
	t.mu.Unlock()
	select {
	case <-t.idle:
	case <-ctx.Done():
		t.endAll(proto.CauseShutdown, "the daemon is shutting down")
		<-t.idle
	}
	t.serving.Wait()
	t.mu.Lock()
	for f := range t.held {
		f.Close()
	}
	t.mu.Unlock()
	t.discards.Wait()
}

func (t *Table) endAll(cause proto.Cause, reason string) {
	for _, j := range t.running() {
		j.End(proto.StateKilled, cause, reason)
	}
}

// Review ends the jobs whose grants are not valid any more.
func (t *Table) Review() {
	for _, j := range t.running() {
		if err := j.allowed(); err != nil {
			j.End(proto.StateKilled, proto.CauseRevoked, err.Error())
		}
	}
}

// running are the jobs without an exit record.
func (t *Table) running() []*Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	var live []*Job
	for j := range t.live {
		select {
		case <-j.ended:
		default:
			live = append(live, j)
		}
	}
	return live
}

// allowed asks the last grant that the job was taken up with whether it may go on.
func (j *Job) allowed() error {
	j.mu.Lock()
	valid := j.valid
	j.mu.Unlock()
	return valid()
}
