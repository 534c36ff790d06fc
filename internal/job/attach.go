package job

import (
	"errors"
	"fmt"

	"rexec/internal/bytelog"
	"rexec/internal/proto"
)

// Attachment is one client's connection to a job: how far it was sent the output and what it has
// acknowledged. A job has at most one; a second one takes it over.
//
// Two goroutines use it: one calls Next and writes what it returns, one passes on what the client says.
type Attachment struct {
	job    *Job
	caller proto.Caller
	kick   func() // makes the connection's owner stop waiting for its peer
	left   chan struct{}

	// Guarded by job.mu.
	next    [2]uint64 // offset of the next byte to hand out
	acked   [2]uint64 // the client has all before it
	busy    [2]uint64 // bytes from here on may be in use by the caller of Next
	credit  bool      // stdin's credit changed
	creditN uint64    // offset of the last credit handed out
	turn    int       // stream to look at first
	woken   bool
	leaving bool // Next must return
	taken   bool // because another attachment wants the job
	final   bool // the exit record was handed out
	again   bool // a client had it, and all output, when this one came
}

// Event is what an attachment has to send next. At most one of its parts is set.
type Event struct {
	Ack    *proto.Ack
	Stream proto.Stream // of Data
	Offset uint64       // of Data
	Data   []byte       // valid until the next call of Next
	Exit   *proto.Exit
	Woken  bool // Wake was called
}

// What Next returns when there is nothing more to send.
var (
	ErrTakenOver = errors.New("another connection attached to the execution")
	ErrLeft      = errors.New("the attachment was left")
)

// Client is who attaches to a job.
type Client struct {
	From   [2]uint64    // offsets of stdout and stderr from which it wants them
	Caller proto.Caller // Run.Caller
	Valid  func() error // Grant.Valid of this client; nil: that of the one before goes on to count
	Kick   func()       // called when another one is to have its place
}

// Attach makes a client the job's reader. It waits for the one before to leave. The job must be ready and not refused.
// The error is ErrTakenOver if there was a later request of the same call, or a later call is attached.
func (j *Job) Attach(c Client) (*Attachment, *proto.Started, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for latest := j.calls.note(c.Caller); j.att != nil || !latest; latest = j.calls.note(c.Caller) {
		old := j.att
		if !latest || j.calls.before(c.Caller, old.caller) {
			return nil, nil, ErrTakenOver
		}
		old.leaving, old.taken = true, true
		j.changed.Broadcast()
		j.mu.Unlock()
		old.kick()
		<-old.left
		j.mu.Lock()
	}
	from := c.From
	if c.Valid != nil {
		j.valid = c.Valid // the secret that started it may end before that of who takes it up again
	}
	a := &Attachment{job: j, caller: c.Caller, kick: c.Kick, left: make(chan struct{}), again: j.known}
	for i := range j.out {
		o := &j.out[i]
		switch {
		case from[i] == proto.FromRetained || from[i] < o.log.Base():
			from[i] = o.log.Base()
		case from[i] > o.log.Head():
			j.orphaned()
			return nil, nil, fmt.Errorf("%w: %s from offset %d on, of %d bytes",
				ErrProtocol, proto.Stream(i+1), from[i], o.log.Head())
		}
		a.next[i], a.busy[i] = from[i], from[i]
	}
	for i := range j.out { // who asks from an offset on has what is before it
		j.out[i].log.Release(from[i])
	}
	j.changed.Broadcast()
	if j.orphan != nil {
		j.orphan.Stop()
		j.orphan = nil
	}
	j.att = a
	return a, j.startedMessage(from), nil
}

func (j *Job) startedMessage(from [2]uint64) *proto.Started {
	m := &proto.Started{StdoutFrom: from[0], StderrFrom: from[1], Uptime: j.table.Uptime(), Banner: j.banner}
	if j.exit == nil {
		m.PID = uint64(j.proc.PID)
	}
	m.StdinFrom = j.in.log.Head()
	if j.in.closed {
		m.StdinFrom = proto.Closed
	} else {
		m.StdinWindow = uint64(j.in.window - j.in.log.Len())
	}
	return m
}

// Next waits for something to send. After the exit record it must not be called again.
func (a *Attachment) Next() (Event, error) {
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.out { // what was handed out before is written now
		a.busy[i] = a.next[i]
		a.release(&j.out[i])
	}
	for {
		if a.taken {
			return Event{}, ErrTakenOver
		}
		if a.leaving {
			return Event{}, ErrLeft
		}
		if e, ok := a.pending(); ok {
			return e, nil
		}
		j.changed.Wait()
	}
}

// pending is called with the lock held.
func (a *Attachment) pending() (Event, bool) {
	j := a.job
	if a.woken {
		a.woken = false
		return Event{Woken: true}, true
	}
	if a.credit && j.exit == nil {
		if ack, ok := a.stdinCredit(); ok {
			return Event{Ack: &ack}, true
		}
	}
	for k := range j.out {
		i := (k + a.turn) % len(j.out)
		if b := j.out[i].log.View(a.next[i], bytelog.LargeSegment); len(b) > 0 && !j.out[i].unwanted {
			e := Event{Stream: proto.Stream(i + 1), Offset: a.next[i], Data: b}
			a.busy[i] = a.next[i]
			a.next[i] += uint64(len(b))
			a.turn = i + 1        // the other stream first, the next time
			j.changed.Broadcast() // the pump may read on
			return e, true
		}
	}
	if j.exit != nil {
		a.final = true
		x := *j.exit
		x.Replayed = a.again
		return Event{Exit: &x}, true
	}
	return Event{}, false
}

// stdinCredit tells the client how far stdin got, but not for every few bytes.
func (a *Attachment) stdinCredit() (proto.Ack, bool) {
	a.credit = false
	ack := a.job.inputAck()
	const worthTelling = minWindow / 8
	if ack.Offset != proto.Closed && ack.Offset-a.creditN < worthTelling && a.job.in.log.Len() > 0 {
		return ack, false
	}
	a.creditN = ack.Offset
	return ack, true
}

// Ack takes the client's credit of an output stream: it has all bytes before offset for good and is
// ready for window more. An offset that was never sent is an error.
func (a *Attachment) Ack(m proto.Ack) error {
	if m.Stream == proto.Stdin {
		return fmt.Errorf("%w: ack of stdin from the side that sends it", ErrProtocol)
	}
	i := m.Stream - proto.Stdout
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.att != a && (j.att != nil || !a.final) {
		return nil // this client has nothing to say any more
	}
	o := &j.out[i]
	if m.Offset == proto.Closed {
		j.unwant(o)
		return nil
	}
	if m.Offset > a.next[i] {
		return fmt.Errorf("%w: ack of %s up to %d, sent %d", ErrProtocol, m.Stream, m.Offset, a.next[i])
	}
	a.acked[i] = max(a.acked[i], m.Offset)
	a.release(o)
	// Not that of a terminal: who interrupts a flood of output there must not have to look at much more of it.
	if o.starved && a.next[i] == o.log.Head() && o.window < maxWindow && !o.terminal {
		o.window *= 2 // everything was sent and the command still waits: the window is what limits
	}
	o.window = min(o.window, max(minWindow, int(m.Window)))
	j.changed.Broadcast()
	if a.final && j.out[0].log.Len() == 0 && j.out[1].log.Len() == 0 {
		j.received()
	}
	return nil
}

// release frees what the client has acknowledged. What is being written right now stays until Next is
// called, whatever the client claims. Called with the lock held.
func (a *Attachment) release(o *output) {
	i := o.stream - proto.Stdout
	base := o.log.Base()
	if o.log.Release(min(a.acked[i], a.busy[i])); o.log.Base() > base {
		a.job.changed.Broadcast()
	}
}

// unwant makes the command see a closed pipe on a stream. Called with the lock held.
func (j *Job) unwant(o *output) {
	if o.unwanted || j.exit != nil {
		return
	}
	o.unwanted = true
	o.wake()
	if o.terminal { // it hangs up once nothing holds this side of it
		j.in.close()
		if j.in.file != nil {
			_ = j.in.file.SetWriteDeadline(past)
		}
	}
	j.changed.Broadcast()
}

// Wake makes Next return, so that the caller's own messages get their turn.
func (a *Attachment) Wake() {
	a.job.mu.Lock()
	a.woken = true
	a.job.changed.Broadcast()
	a.job.mu.Unlock()
}

// Leave makes Next return for good.
func (a *Attachment) Leave() {
	a.job.mu.Lock()
	a.leaving = true
	a.job.changed.Broadcast()
	a.job.mu.Unlock()
}

// Final reports whether the exit record was handed out by Next.
func (a *Attachment) Final() bool {
	a.job.mu.Lock()
	defer a.job.mu.Unlock()
	return a.final
}

// Job is what the attachment is to.
func (a *Attachment) Job() *Job { return a.job }

// Detach ends the attachment once Next and Input are not running any more; after the exit record was
// handed out Input may be, for it only drops what comes. A command that still runs waits for a client.
func (a *Attachment) Detach() {
	j := a.job
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.att != a {
		return
	}
	j.att = nil
	close(a.left)
	j.changed.Broadcast() // the pumps need not wait for the sender any more
	if !a.taken {
		j.orphaned()
	}
}

// Received says that the client has the exit record and all output, so that neither needs to be kept
// for its return.
func (a *Attachment) Received() {
	a.job.mu.Lock()
	defer a.job.mu.Unlock()
	if a.final {
		a.job.received()
		a.job.exit.ShellState, a.job.exit.Unread = nil, nil
	}
}

// received is called with the lock held, after the end.
func (j *Job) received() {
	j.known = true
	if j.att == nil || j.att.final {
		j.forgetOutput()
	}
}

// forgetOutput frees all memory but the exit record. Called with the lock held, after the end.
func (j *Job) forgetOutput() {
	for i := range j.out {
		j.out[i].log.Discard()
	}
	if !j.in.filling {
		j.in.log.Discard()
	}
	j.proc = nil
	j.Run = &proto.Run{ID: j.Run.ID, Name: j.Run.Name}
}
