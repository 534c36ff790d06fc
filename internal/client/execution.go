package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rexec/internal/bytelog"
	"rexec/internal/proto"
)

// execution is one command's state on this side, which outlives its connections: what was received of
// the output and what was acknowledged of stdin.
type execution struct {
	cmd *Command
	run proto.Run

	// Of the goroutine that calls Run.
	mayHaveStarted bool // the request was handed to a connection
	started        bool // a daemon said that it exists
	attached       bool
	instance       [proto.IDLen]byte // of the daemon that got the request first; zero: it never said
	startBy        uint64            // latest uptime at which that daemon surely knows the ID; 0: unknown
	retain         time.Duration
	resumed        int
	out            [2]outStream
	outErr         *OutputError
	mark           [4]uint64 // what had been achieved at the last call of progress
	begun          uint64    // times that a daemon answered with the execution
	exit           *proto.Exit
	move           move
	buf            []byte

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	link    *link // nil while there is none that the command runs on
	over    bool
	in      stdin
	wg      sync.WaitGroup

	requested   bool   // a connection carries the request
	interrupted bool   // a signal came before that
	signals     []sent // for the command, oldest first
	window      proto.Window
	lastHeard   time.Time // over the connection that was lost last
}

type outStream struct {
	w        io.Writer
	received uint64               // bytes as the command wrote them
	state    proto.ConverterState // of the server's converter behind them
	acked    uint64
	missing  uint64
	closed   bool // the writer failed; the server was told
}

// window is the credit for output: this side buffers nothing, so it is ready for as much as the
// network holds, and the server's own bound decides.
const window = 32 << 20

// ackEvery is how much output may be received before the server is told.
const ackEvery = 128 << 10

func newExecution(cmd *Command) *execution {
	x := &execution{cmd: cmd, run: cmd.Run, window: cmd.Run.Window}
	if x.run.ID == (proto.ExecID{}) {
		x.run.ID = NewID()
	}
	x.run.NoStdin = cmd.Stdin == nil
	x.run.Caller = proto.Caller{Call: newCall(), Attempt: 1}
	x.out[0].w, x.out[1].w = cmd.Stdout, cmd.Stderr
	for i := range x.out {
		if x.out[i].w == nil {
			x.out[i].w = io.Discard
		}
	}
	x.changed.L = &x.mu
	return x
}

// stop ends the goroutines that serve the execution, but for a blocked Read of the caller's stdin.
func (x *execution) stop() {
	x.mu.Lock()
	x.over, x.link = true, nil
	x.changed.Broadcast()
	x.mu.Unlock()
	x.wg.Wait()
	if l := x.next(); l != nil { // the command ended before it could be moved
		l.close()
	}
}

// sending notes that the request goes out now: from here on it may have been run. It reports false if
// it must not any more, as somebody was told that nothing will be.
func (x *execution) sending() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.interrupted {
		return false
	}
	x.mayHaveStarted, x.requested = true, true
	return true
}

// sentOver notes which daemon got the request, and when by its own clock.
func (x *execution) sentOver(l *link) {
	x.instance = l.choice.Instance
	x.retain = time.Duration(l.choice.Retain) * time.Millisecond
	x.startBy = l.uptime.Load() + l.choice.Retain
	// The first request carries it, too: the network may deliver that one long after a second one.
	if !x.mayHaveStarted {
		x.run.StartBy = x.startBy
	}
}

// again prepares the request for being sent again: the daemon starts it only while it would still
// know an earlier one.
func (x *execution) again(l *link) error {
	if x.instance != ([proto.IDLen]byte{}) && x.instance != l.choice.Instance {
		return ErrRestarted
	}
	x.run.Caller.Attempt++
	x.run.StartBy = max(x.startBy, 1)
	if x.started {
		x.run.StartBy = 1 // it exists, so there is nothing to start
	}
	x.mu.Lock()
	x.run.Window = x.window
	x.mu.Unlock()
	x.run.StdoutFrom, x.run.StderrFrom = x.out[0].received, x.out[1].received
	x.run.StdoutState, x.run.StderrState = x.out[0].state, x.out[1].state
	return nil
}

// patience is how long coming back makes sense: as long as the daemon remembers.
func (x *execution) patience() time.Duration { return max(x.retain, 30*time.Second) }

// progress reports whether a connection has led to the execution since the last call, and whether bytes arrived here
// or there.
func (x *execution) progress() (met, moved bool) {
	x.mu.Lock()
	taken := x.in.log.Base()
	x.mu.Unlock()
	now := [4]uint64{x.out[0].received, x.out[1].received, taken, x.begun}
	met = now[3] != x.mark[3]
	x.mark[3] = now[3]
	moved = now != x.mark
	x.mark = now
	return met, moved
}

func (x *execution) lost(cause error) error {
	var lost *LostError
	if errors.As(cause, &lost) {
		return lost
	}
	return &LostError{ID: x.run.ID, Cause: cause}
}

// serve reads what a connection says of the execution until its exit record.
func (x *execution) serve(ctx context.Context, l *link) error {
	stop := context.AfterFunc(ctx, l.abort)
	defer stop()
	defer x.unlink(l)
	for {
		t, err := l.next()
		if err != nil {
			return err
		}
		switch t {
		case proto.TypeStdout, proto.TypeStderr:
			err = x.output(l, int(t-proto.TypeStdout))
		case proto.TypeStdoutText, proto.TypeStderrText:
			err = x.text(l, int(t-proto.TypeStdoutText))
		case proto.TypeStarted:
			err = x.begin(l)
		case proto.TypeAck:
			err = x.credit(l)
		case proto.TypeExit:
			return x.end(l)
		default:
			if t.Known() || t&proto.Ignorable == 0 {
				err = unexpected(t)
			}
		}
		if err != nil {
			return err
		}
		x.considerMove(l, time.Now())
	}
}

func (x *execution) begin(l *link) error {
	payload, err := l.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParseStarted(payload)
	if err != nil {
		return err
	}
	if !x.started {
		x.attached = m.Attached
		if x.cmd.Banner != nil && m.Banner != "" {
			x.cmd.Banner(m.Banner)
		}
		if x.cmd.Started != nil {
			x.cmd.Started()
		}
	}
	x.started = true
	x.begun++
	l.hearUptime(m.Uptime)
	l.log("execution %s, process %d", x.run.ID, m.PID)
	for i, from := range []uint64{m.StdoutFrom, m.StderrFrom} {
		o := &x.out[i]
		if from < o.received {
			return fmt.Errorf("%w: output from %d again, have %d", errProtocol, from, o.received)
		}
		o.missing += from - o.received
		if from > o.received {
			o.state = proto.ConverterState{}
		}
		o.received, o.acked = from, from
		if o.closed {
			x.ack(l, i, proto.Closed)
		}
	}
	err = x.beginStdin(l, m)
	x.resendWindow(l)
	x.resendSignals(l)
	return err
}

// output writes one data frame to where the caller wants it.
func (x *execution) output(l *link, i int) error {
	offset, err := l.in.Offset()
	if err != nil {
		return err
	}
	o, err := x.follows(i, offset)
	if err != nil {
		return err
	}
	for {
		n, err := l.in.Fill(x.buffer(l.in.Left()))
		if n > 0 {
			x.deliver(l, i, x.buf[:n])
			o.received += uint64(n)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	x.ackOutput(l, i)
	return nil
}

// text writes one frame of converted output. It is taken whole or not at all: what a part of it stands
// for, nobody could say to the server.
func (x *execution) text(l *link, i int) error {
	if x.run.Charset == "" {
		return unexpected(proto.TypeStdoutText + proto.Type(i))
	}
	h, err := l.in.TextHeader()
	if err != nil {
		return err
	}
	o, err := x.follows(i, h.Offset)
	if err != nil {
		return err
	}
	n, err := l.in.Fill(x.buffer(l.in.Left())) // which holds the largest frame
	if !errors.Is(err, io.EOF) {
		return err
	}
	x.deliver(l, i, x.buf[:n])
	o.received, o.state = o.received+uint64(h.Length), h.State
	x.ackOutput(l, i)
	return nil
}

// follows returns the stream of a frame at offset, which must be where the last one ended.
func (x *execution) follows(i int, offset uint64) (*outStream, error) {
	o := &x.out[i]
	if offset != o.received {
		return nil, fmt.Errorf("%w: %s at offset %d, want %d", errProtocol, proto.Stream(i+1), offset, o.received)
	}
	return o, nil
}

// ackOutput acknowledges what was received if it is worth a message.
func (x *execution) ackOutput(l *link, i int) {
	if o := &x.out[i]; o.received-o.acked >= ackEvery && !o.closed {
		o.acked = o.received
		x.ack(l, i, o.received)
	}
}

// ack gives credit. A write that fails is not the end: the server may have said why it closes, and the
// next read finds either.
func (x *execution) ack(l *link, i int, offset uint64) {
	_ = l.write(&proto.Ack{Stream: proto.Stream(i + 1), Offset: offset, Window: window})
}

// buffer is as large as what is about to come, within bounds; a command that prints little needs
// little.
func (x *execution) buffer(want int) []byte {
	if want > len(x.buf) && len(x.buf) < bytelog.LargeSegment {
		x.buf = make([]byte, min(max(want, 4<<10), bytelog.LargeSegment))
	}
	return x.buf
}

// deliver writes output on this side. When that fails the command gets to see a closed pipe, as it
// would without a network between.
func (x *execution) deliver(l *link, i int, b []byte) {
	o := &x.out[i]
	if o.closed {
		return
	}
	if _, err := o.w.Write(b); err != nil {
		o.closed = true
		if x.outErr == nil {
			x.outErr = &OutputError{Stream: proto.Stream(i + 1), Err: err}
		}
		x.ack(l, i, proto.Closed)
	}
}

// end takes the exit record and holds it against what was received.
func (x *execution) end(l *link) error {
	payload, err := l.in.Payload()
	if err != nil {
		return err
	}
	m, err := proto.ParseExit(payload)
	if err != nil {
		return err
	}
	if m.State == proto.StateRefused && x.started { // who is told of a refusal may run the command another way
		return &LostError{ID: x.run.ID, Cause: fmt.Errorf("the server has begun to run it, and refuses to say more: %s", m.Reason)}
	}
	counted := [2]uint64{m.StdoutBytes, m.StderrBytes}
	if m.State != proto.StateRefused && m.State != proto.StateLost && !m.Replayed {
		for i := range x.out {
			if !x.out[i].closed && x.out[i].received != counted[i] {
				return &LostError{ID: x.run.ID, Cause: ErrIncomplete}
			}
		}
	}
	x.exit = m
	// The connection may be used for a long time; the server need not keep the output for as long.
	for i := range x.out {
		if o := &x.out[i]; o.received > o.acked {
			x.ack(l, i, o.received)
		}
	}
	return nil
}

func (x *execution) result() (*Result, error) {
	r := &Result{
		Exit: *x.exit, ID: x.run.ID, Attached: x.attached, Resumed: x.resumed,
		Missing: [2]uint64{x.out[0].missing, x.out[1].missing},
	}
	if x.outErr != nil {
		return r, x.outErr
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.in.err != nil {
		return r, x.in.err
	}
	return r, nil
}

// unlink notes that the execution has lost a connection.
func (x *execution) unlink(l *link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.link == l {
		x.lastHeard = l.born.Add(time.Duration(l.heard.Load()))
		x.link = nil
		x.changed.Broadcast()
	}
}
