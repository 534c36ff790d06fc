package server_test

import (
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/proto"
	"rexec/internal/server"
)

// symbol is one letter of the frame alphabet, and what it does to a session after the proof.
type symbol struct {
	name   string
	frame  []byte
	idle   effect // while no command runs
	active effect // while one does
}

type effect int

const (
	nothing effect = iota
	breaks         // ends the conversation with a protocol error
	starts         // starts a command
)

// raw frames any bytes.
type raw []byte

func (r raw) Append(b []byte) []byte { return append(b, r...) }

// data is a data frame with one byte at offset 0.
func data(t proto.Type) raw { return append(raw{byte(t)}, 0, 0, 0, 0, 0, 0, 0, 0, 'x') }

// text is a frame of converted output, of one byte at offset 0.
func text(t proto.Type) raw {
	b := proto.AppendTextHeader(nil, t, proto.TextHeader{Length: 1}, 1)
	return append(raw(b[4:]), 'x')
}

// alphabet holds every type, well-formed, an unknown one and one that may be ignored. The request
// differs from sequence to sequence, so it is left empty here.
func alphabet() []symbol {
	proof := &proto.ClientProof{Transport: 1, ServerID: [16]byte{7}, KeyID: "test"}
	var all []symbol
	for _, s := range []struct {
		name         string
		m            proto.Message
		idle, active effect
	}{
		{"ClientProof", proof, breaks, breaks},
		{"ServerProof", &proto.ServerProof{}, breaks, breaks},
		{"Refused", proto.Refused{}, breaks, breaks},
		{"Started", &proto.Started{PID: 1}, breaks, breaks},
		{"Stdout", data(proto.TypeStdout), breaks, breaks},
		{"Stderr", data(proto.TypeStderr), breaks, breaks},
		{"StdoutText", text(proto.TypeStdoutText), breaks, breaks},
		{"StderrText", text(proto.TypeStderrText), breaks, breaks},
		{"Stdin", data(proto.TypeStdin), breaks, nothing},
		{"EOF", proto.EOF{}, breaks, nothing},
		{"Ack", &proto.Ack{Stream: proto.Stdout, Window: 1 << 20}, breaks, nothing},
		{"Signal", proto.Signal{Name: "INT"}, breaks, nothing},
		{"Window", proto.Window{Rows: 24, Columns: 80}, breaks, nothing},
		{"Exit", &proto.Exit{State: proto.StateExited}, breaks, breaks},
		{"Error", &proto.Error{Code: proto.ErrorProtocol}, breaks, breaks},
		{"Ping", proto.Ping{Token: 1}, nothing, nothing},
		{"Pong", proto.Pong{Token: 1}, nothing, nothing},
		{"Unknown", raw{0x7f, 1, 2, 3}, breaks, breaks},
		{"Ignorable", raw{0xf0, 1, 2, 3}, nothing, nothing},
	} {
		all = append(all, symbol{s.name, proto.AppendFrame(nil, s.m), s.idle, s.active})
	}
	return append(all, symbol{name: "Run", idle: starts, active: breaks})
}

// words calls f for every sequence over n letters of up to limit letters.
func words(n, limit int, f func([]int)) {
	var grow func(prefix []int)
	grow = func(prefix []int) {
		if len(prefix) > 0 {
			f(prefix)
		}
		if len(prefix) < limit {
			for i := range n {
				grow(append(prefix, i))
			}
		}
	}
	grow(nil)
}

// workers runs f for every word on as many goroutines as there are processors, each with copies of its own.
func workers(n, limit int, f func(word []int)) int {
	queue := make(chan []int, 256)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for word := range queue {
				f(word)
			}
		})
	}
	count := 0
	words(n, limit, func(w []int) { count++; queue <- append([]int(nil), w...) })
	close(queue)
	wg.Wait()
	return count
}

// requestNumber makes requests with IDs of their own.
func requestNumber(n uint64) *proto.Run {
	m := request(0)
	binary.BigEndian.PutUint64(m.ID[8:], n)
	return m
}

func spell(letters []symbol, word []int) string {
	var names []string
	for _, i := range word {
		names = append(names, letters[i].name)
	}
	return strings.Join(names, " ")
}

// TestSequencesBeforeTheProof (CVE-2018-10933, CVE-2025-32433): whatever a stranger sends
// instead of a proof, nothing is started, and the one answer is the refusal.
func TestSequencesBeforeTheProof(t *testing.T) {
	before := runtime.NumGoroutine()
	const limit = 4
	t.Run("daemon", func(t *testing.T) {
		d := newDaemon(t, job.Options{}, server.Options{MaxUnauthenticated: 1 << 20})
		d.half.start = sleep
		letters := alphabet()
		letters[len(letters)-1].frame = proto.AppendFrame(nil, requestNumber(1))
		count := workers(len(letters), limit, func(word []int) { stranger(t, d, letters, word) })
		if n := d.half.starts.Load(); n != 0 {
			t.Fatalf("%d commands were started by strangers in %d conversations", n, count)
		}
		t.Logf("%d conversations", count)
	})
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// stranger says one word and wants the refusal and the end, nothing else.
func stranger(t *testing.T, d *daemon, letters []symbol, word []int) {
	ours, theirs := socketPair(t)
	defer ours.Close()
	d.ln.conns <- theirs
	_ = ours.SetDeadline(time.Now().Add(patience))
	var flight []byte
	for _, i := range word {
		flight = append(flight, letters[i].frame...)
	}
	_, _ = ours.Write(flight) // the daemon may have hung up already
	_ = ours.CloseWrite()
	answer, err := io.ReadAll(ours)
	if want := string(proto.AppendFrame(nil, proto.Refused{})); err != nil || string(answer) != want {
		t.Errorf("%s: answer %q, %v", spell(letters, word), answer, err)
	}
}

// TestSequencesAfterTheProof holds every sequence of three messages against a table of two states.
func TestSequencesAfterTheProof(t *testing.T) {
	d := newDaemon(t, job.Options{Retain: time.Millisecond, Grace: time.Millisecond}, server.Options{})
	d.half.start = sleep
	letters := alphabet()
	var number, wanted atomic.Uint64
	conversations := workers(len(letters), 3, func(word []int) {
		c, err := prove(t, d)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.conn.Close()
		running, broken := false, false
		for _, i := range word {
			s := letters[i]
			frame, does := s.frame, s.idle
			if running {
				does = s.active
			}
			if s.name == "Run" {
				frame = proto.AppendFrame(nil, requestNumber(number.Add(1)))
			}
			if _, err := c.conn.Write(frame); err != nil && !broken {
				t.Errorf("%s: writing: %v", spell(letters, word), err)
				return
			}
			if broken = broken || does == breaks; !broken && does == starts {
				running = true
				wanted.Add(1)
			}
		}
		if err := ending(c, broken); err != nil {
			t.Errorf("%s: %v", spell(letters, word), err)
		}
	})
	if got := d.half.starts.Load(); uint64(got) != wanted.Load() {
		t.Errorf("%d commands started, want %d", got, wanted.Load())
	}
	t.Logf("%d conversations, %d commands", conversations, wanted.Load())
}

// prove is daemon.proven for goroutines other than the test's.
func prove(t *testing.T, d *daemon) (*client, error) {
	ours, theirs := socketPair(t)
	d.ln.conns <- theirs
	_ = ours.SetDeadline(time.Now().Add(patience))
	c := &client{t, ours, proto.NewReader(ours), proto.NewWriter(ours)}
	proof, err := auth.NewProof(d.key, proto.TransportTCP, binding, nil)
	if err != nil {
		return nil, err
	}
	if err := c.out.Write(proof.Message()); err != nil {
		return nil, err
	}
	typ, payload, err := c.read()
	if err == nil {
		_, _, err = proof.Check(typ, payload)
	}
	return c, err
}

// ending asks for a sign of life and holds it against what the table says.
func ending(c *client, broken bool) error {
	const token = 0xfeed
	_ = c.out.Write(proto.Ping{Token: token})
	for {
		typ, payload, err := c.read()
		if err != nil {
			return err
		}
		switch typ {
		case proto.TypePong:
			if m, err := proto.ParsePong(payload); err != nil || m.Token == token {
				if broken || err != nil {
					return errors.Join(errors.New("the conversation goes on"), err)
				}
				return nil
			}
		case proto.TypeError:
			m, err := proto.ParseError(payload)
			if err != nil {
				return err
			}
			if m.Code == proto.ErrorProtocol {
				if !broken {
					return m
				}
				return nil
			}
		}
	}
}
