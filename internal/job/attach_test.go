package job

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rexec/internal/proto"
)

// source writes a known stream in pieces of random sizes.
type source struct {
	seed uint64
	size int
}

func (s source) at(i uint64) byte { return byte(i*7+s.seed) ^ byte(i>>9) }

func (s source) writeTo(w io.Writer) {
	r := rand.New(rand.NewPCG(s.seed, 3))
	for at := 0; at < s.size; {
		b := make([]byte, min(1+r.IntN(1<<(1+r.IntN(17))), s.size-at))
		for i := range b {
			b[i] = s.at(uint64(at + i))
		}
		if _, err := w.Write(b); err != nil {
			return
		}
		at += len(b)
	}
}

// reader is a client of both streams that comes and goes; it checks every byte where it arrives.
type reader struct {
	t       *testing.T
	r       *rand.Rand
	sources [2]source
	got     [2]uint64
	acked   [2]uint64
	visits  int
}

// visit attaches at the reader's offsets and stays for a while; true means that the end was seen.
func (c *reader) visit(j *Job, steps int) bool {
	c.t.Helper()
	c.visits++
	a, m, err := j.Attach(Client{From: c.got, Kick: func() {}})
	if err != nil {
		c.t.Fatal(err)
	}
	if m.StdoutFrom != c.got[0] || m.StderrFrom != c.got[1] {
		c.t.Fatalf("output goes on at %d and %d, want %d", m.StdoutFrom, m.StderrFrom, c.got)
	}
	c.acked = c.got // what a client does not ask for again it has for good
	defer func() { a.Detach() }()
	go a.Wake() // at any time
	for range steps {
		e, err := a.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if e.Exit != nil {
			counted := [2]uint64{e.Exit.StdoutBytes, e.Exit.StderrBytes}
			if counted != c.got || c.got != [2]uint64{uint64(c.sources[0].size), uint64(c.sources[1].size)} {
				c.t.Fatalf("the record counts %d, %d arrived", counted, c.got)
			}
			return true
		}
		if e.Data == nil {
			continue
		}
		if !c.take(a, e) {
			break
		}
	}
	a.Leave()
	return false
}

// take is the network: some of a frame may be lost with the connection, acknowledgements are late. It
// reports whether the connection still stands.
func (c *reader) take(a *Attachment, e Event) bool {
	c.t.Helper()
	i := int(e.Stream - proto.Stdout)
	if e.Offset != c.got[i] {
		c.t.Fatalf("%s at %d, have %d", e.Stream, e.Offset, c.got[i])
	}
	n := len(e.Data)
	if c.r.IntN(40) == 0 {
		n = c.r.IntN(n + 1)
	}
	for k, b := range e.Data[:n] {
		if b != c.sources[i].at(e.Offset+uint64(k)) {
			c.t.Fatalf("%s: wrong byte at %d", e.Stream, e.Offset+uint64(k))
		}
	}
	c.got[i] += uint64(n)
	late := c.got[i] - c.acked[i]
	if late > 128<<10 || c.r.IntN(4) == 0 {
		if late < 256<<10 {
			late = c.r.Uint64N(late + 1)
		}
		c.acked[i] += late
		if err := a.Ack(proto.Ack{Stream: e.Stream, Offset: c.acked[i], Window: maxWindow}); err != nil {
			c.t.Fatal(err)
		}
	}
	return n == len(e.Data)
}

// TestComingAndGoing is resume without a network: whatever a client saw of the output, and wherever it
// left, it gets each byte once.
func TestComingAndGoing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	table := newTable(t, Options{})
	for round := range 12 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		cmd := newCommand(t, false)
		j := cmd.open(t, table, proto.Run{ID: proto.ExecID{9, byte(round)}})
		c := &reader{t: t, r: r, sources: [2]source{{seed, r.IntN(3 << 20)}, {seed + 1, r.IntN(1 << 18)}}}
		var wg sync.WaitGroup
		wg.Go(func() { c.sources[0].writeTo(cmd.out) })
		wg.Go(func() { c.sources[1].writeTo(cmd.err) })
		go func() { wg.Wait(); cmd.exit(0) }()
		// The bound is generous: a lost wake-up is a hang.
		within(t, "reading one job", func() {
			for !c.visit(j, 1+r.IntN(60)) {
				// What is not acknowledged when a connection breaks may be asked for again; asking from
				// an offset on acknowledges what is before it.
				for i := range c.got {
					c.got[i] -= r.Uint64N(c.got[i] - c.acked[i] + 1)
					c.acked[i] = c.got[i]
				}
			}
		})
	}
}

// TestTakeovers lets many clients fight for one job. Each sees the stream from where it is still held,
// in order, and one sees its end.
func TestTakeovers(t *testing.T) {
	table := newTable(t, Options{})
	cmd := newCommand(t, false)
	j := cmd.open(t, table, proto.Run{})
	stream := source{11, 8 << 20}
	go func() { stream.writeTo(cmd.out); cmd.exit(0) }()
	var wg sync.WaitGroup
	ended := make(chan struct{}, 64)
	for range 6 {
		wg.Go(func() {
			for {
				over, err := contend(j, stream)
				if err != nil {
					t.Error(err)
					return
				}
				if over {
					ended <- struct{}{}
					return
				}
			}
		})
	}
	within(t, "six clients", wg.Wait)
	if len(ended) != 6 {
		t.Errorf("%d of 6 clients saw the exit record", len(ended))
	}
}

// contend attaches like a session does: one goroutine sends, another one takes what the client says.
func contend(j *Job, stream source) (over bool, err error) {
	acks := make(chan proto.Ack, 1<<16)
	kicked := make(chan struct{})
	var once sync.Once
	a, m, err := j.Attach(Client{From: [2]uint64{proto.FromRetained, proto.FromRetained}, Kick: func() { once.Do(func() { close(kicked) }) }})
	if err != nil {
		return false, err
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for m := range acks {
			_ = a.Ack(m)
		}
	})
	defer a.Detach()
	defer reading.Wait()
	defer close(acks)
	at := m.StdoutFrom
	for {
		e, err := a.Next()
		if errors.Is(err, ErrTakenOver) {
			<-kicked // promised to whoever is taken over
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if e.Exit != nil {
			return true, nil
		}
		if e.Data == nil {
			continue
		}
		if e.Offset != at {
			return false, errors.New("a gap in the stream")
		}
		for i, b := range e.Data {
			if b != stream.at(at+uint64(i)) {
				return false, errors.New("a wrong byte")
			}
		}
		at += uint64(len(e.Data))
		acks <- proto.Ack{Stream: proto.Stdout, Offset: at, Window: maxWindow}
	}
}

// TestWhoMayAttach: an earlier call does not take a job from a later one by coming back, and of one call only the latest
// request counts.
func TestWhoMayAttach(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	for i, step := range []struct {
		call, attempt uint64
		stay, refused bool
	}{
		{1, 1, true, false},
		{1, 3, true, false}, // its own earlier connection is still there
		{1, 2, false, true}, // late
		{2, 1, true, false},
		{1, 4, false, true},  // the later call is there
		{2, 2, false, false}, // takes it from its own connection, and leaves
		{1, 5, true, false},  // nobody is there
		{1, 6, true, false},
		{2, 1, false, true},
		{2, 3, true, false}, // is still the later one
		{1, 7, false, true},
		{0, 0, true, false}, // of a client that does not tell
		{1, 8, true, false},
		{3, 9, false, false},
	} {
		var a *Attachment
		var err error
		a, _, err = j.Attach(Client{Caller: proto.Caller{Call: step.call, Attempt: step.attempt}, Kick: func() { quit(a) }})
		if refused := errors.Is(err, ErrTakenOver); refused != step.refused || err != nil && !refused {
			t.Fatalf("step %d: %v", i, err)
		}
		if a != nil && !step.stay {
			quit(a)
		}
	}
	c.exit(0)
}

// TestRightOfWhoIsSentAway: the job goes on by the right of the client that has it.
func TestRightOfWhoIsSentAway(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	older := errors.New("the older secret has ended")
	var ended atomic.Bool
	open := func(call uint64, valid func() error) (a *Attachment, err error) {
		run := &proto.Run{ID: proto.ExecID{1}, Shell: []byte("x"), NoStdin: true}
		j, _, x := table.Open(Grant{KeyID: "key", Valid: valid, Start: c.start}, run)
		if x != nil {
			t.Fatalf("%+v", x)
		}
		a, _, err = j.Attach(Client{Caller: proto.Caller{Call: call}, Valid: valid, Kick: func() { quit(a) }})
		return a, err
	}
	byOlder := func() error {
		if ended.Load() {
			return older
		}
		return nil
	}
	if _, err := open(1, byOlder); err != nil {
		t.Fatal(err)
	}
	a, err := open(2, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(1, byOlder); !errors.Is(err, ErrTakenOver) {
		t.Errorf("the older one comes back: %v", err)
	}
	ended.Store(true)
	table.Review()
	c.exit(0)
	for {
		e, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Exit != nil {
			if e.Exit.State != proto.StateExited {
				t.Errorf("%+v", e.Exit)
			}
			a.Detach()
			return
		}
	}
}

func TestAckRules(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	_, _ = c.out.WriteString("12345")
	if e, err := a.Next(); err != nil || string(e.Data) != "12345" {
		t.Fatalf("%q, %v", e.Data, err)
	}
	for _, m := range []proto.Ack{
		{Stream: proto.Stdout, Offset: 6}, {Stream: proto.Stderr, Offset: 1}, {Stream: proto.Stdin, Offset: 0},
		{Stream: proto.Stdout, Offset: proto.Closed - 1},
	} {
		if err := a.Ack(m); !errors.Is(err, ErrProtocol) {
			t.Errorf("ack of %s at %d after 5 bytes: %v", m.Stream, m.Offset, err)
		}
	}
	quit(a)
	c.exit(0)
}

// inputs takes stdin in pieces as a session would and compares what the program gets.
func TestInputAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	table := newTable(t, Options{})
	for round := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(round)))
		c := newCommand(t, true)
		j := c.open(t, table, proto.Run{ID: proto.ExecID{8, byte(round)}})
		want := make([]byte, r.IntN(2<<20))
		for i := range want {
			want[i] = byte(r.Uint32())
		}
		read := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(c.in)
			read <- b
			c.exit(0)
		}()
		within(t, "sending stdin", func() { sendInput(t, r, j, want) })
		if got := <-read; !bytes.Equal(got, want) {
			t.Fatalf("the program got %d bytes, %d were sent; equal: false", len(got), len(want))
		}
		<-j.ended
	}
}

// sendInput sends stdin over connections that break in the middle of a frame.
func sendInput(t *testing.T, r *rand.Rand, j *Job, all []byte) {
	for {
		a, m, err := j.Attach(Client{Kick: func() {}})
		if err != nil {
			t.Error(err)
			return
		}
		at := m.StdinFrom
		for at < uint64(len(all)) && r.IntN(20) != 0 {
			j.mu.Lock()
			room := j.in.window - j.in.log.Len()
			j.mu.Unlock()
			n := min(1+r.IntN(64<<10), len(all)-int(at), room)
			if n <= 0 {
				continue
			}
			frame := io.Reader(bytes.NewReader(all[at : at+uint64(n)]))
			broken := r.IntN(10) == 0
			if broken {
				frame = io.MultiReader(bytes.NewReader(all[at:at+uint64(r.IntN(n))]), brokenReader{})
			}
			if err := a.Input(at, frame); broken != (err != nil) {
				t.Errorf("input of %d bytes at %d: %v", n, at, err)
				return
			}
			if broken {
				break
			}
			at += uint64(n)
		}
		if at == uint64(len(all)) {
			if err := a.InputEOF(at); err != nil {
				t.Error(err)
			}
			quit(a)
			return
		}
		quit(a)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestInputRules(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, true)
	j := c.open(t, table, proto.Run{})
	a := attach(t, j, [2]uint64{})
	// The program reads nothing: the pipe takes its 64 KiB, the window the rest.
	size := uint64(0)
	for err := error(nil); err == nil && size < 64<<20; size += 4 << 10 {
		err = a.Input(size, bytes.NewReader(make([]byte, 4<<10)))
		if err != nil && !errors.Is(err, ErrProtocol) {
			t.Fatal(err)
		}
	}
	if size > 4<<20 {
		t.Errorf("%d bytes of stdin were taken for a program that reads none", size)
	}
	for _, offset := range []uint64{0, size + 1, proto.Closed} {
		if err := a.Input(offset, bytes.NewReader([]byte("x"))); !errors.Is(err, ErrProtocol) {
			t.Errorf("stdin at %d: %v", offset, err)
		}
		if err := a.InputEOF(offset); !errors.Is(err, ErrProtocol) {
			t.Errorf("end of stdin at %d: %v", offset, err)
		}
	}
	quit(a)
	c.exit(0)
	<-j.ended
}

// TestComingBackIsAnAcknowledgement: a client that received a whole window, whose acknowledgements were lost with the
// connection, and that asks for what comes after it, gets more. It believes the old bytes acknowledged by its offset,
// so if the daemon does not, both wait for ever.
func TestComingBackIsAnAcknowledgement(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	j := c.open(t, table, proto.Run{})
	stop := make(chan struct{})
	go func() { // prints for ever
		defer close(stop)
		for {
			if _, err := c.out.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	first := attach(t, j, [2]uint64{})
	got := uint64(0)
	for got < minWindow {
		e, err := first.Next()
		if err != nil {
			t.Fatal(err)
		}
		got += uint64(len(e.Data))
	}
	quit(first)
	second := attach(t, j, [2]uint64{got, 0})
	more := make(chan struct{})
	go func() {
		defer close(more)
		for range 3 {
			if e, err := second.Next(); err != nil || len(e.Data) == 0 {
				return
			}
		}
	}()
	select {
	case <-more:
	case <-time.After(patience):
		t.Errorf("no output after coming back at offset %d: the window is full of bytes that the client has", got)
		second.Leave()
		<-more
	}
	quit(second)
	c.exit(0)
	<-stop
}
