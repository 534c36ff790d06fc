package proto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// fuzzParser wants of one parser: what it accepts re-encodes to the same bytes, what it refuses is
// called malformed, and neither the bytes nor the message depend on each other afterwards.
func fuzzParser(f *testing.F, kind string) {
	var parse func([]byte) (Message, error)
	var of golden
	for _, g := range goldens() {
		if name, _, _ := strings.Cut(g.name, "/"); name == kind {
			f.Add(g.payload())
			parse, of = g.parse, g
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		m, err := parse(b)
		if !bytes.Equal(b, given) {
			t.Fatal("the parser changed its input")
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for i := range b {
			b[i] ^= 0xff
		}
		if got := reparsed(&of, m); !bytes.Equal(got, given) {
			t.Fatalf("%x\nre-encodes to\n%x", given, got)
		}
		if run, ok := m.(*Run); ok {
			checkRun(t, run)
		}
	})
}

// checkRun: looking at a request changes nothing of it.
func checkRun(t *testing.T, run *Run) {
	before := run.Append(nil)
	digest := run.Digest()
	_ = run.Validate()
	if digest != run.Digest() || !bytes.Equal(before, run.Append(nil)) {
		t.Fatal("Digest or Validate changed the request")
	}
}

func FuzzClientProof(f *testing.F) { fuzzParser(f, "ClientProof") }
func FuzzServerProof(f *testing.F) { fuzzParser(f, "ServerProof") }
func FuzzRefused(f *testing.F)     { fuzzParser(f, "Refused") }
func FuzzOffer(f *testing.F)       { fuzzParser(f, "Offer") }
func FuzzChoice(f *testing.F)      { fuzzParser(f, "Choice") }
func FuzzRun(f *testing.F)         { fuzzParser(f, "Run") }
func FuzzStarted(f *testing.F)     { fuzzParser(f, "Started") }
func FuzzExit(f *testing.F)        { fuzzParser(f, "Exit") }
func FuzzEOF(f *testing.F)         { fuzzParser(f, "EOF") }
func FuzzAck(f *testing.F)         { fuzzParser(f, "Ack") }
func FuzzSignal(f *testing.F)      { fuzzParser(f, "Signal") }
func FuzzWindow(f *testing.F)      { fuzzParser(f, "Window") }
func FuzzError(f *testing.F)       { fuzzParser(f, "Error") }
func FuzzPing(f *testing.F)        { fuzzParser(f, "Ping") }
func FuzzPong(f *testing.F)        { fuzzParser(f, "Pong") }

func FuzzStdoutText(f *testing.F) { fuzzParser(f, "StdoutText") }
func FuzzStderrText(f *testing.F) { fuzzParser(f, "StderrText") }

// FuzzReader reads arbitrary streams in each of the ways that a frame can be read, as plan says, and
// puts the frames together again: they are what was sent, up to the frame that was refused or cut,
// and no more memory is used than was sent.
func FuzzReader(f *testing.F) {
	f.Add(stream(), []byte{0, 1, 2})
	f.Add(stream(), []byte{3})
	f.Add(stream(), []byte{4})
	f.Add(append(claim(29, TypeStdoutText), make([]byte, 40)...), []byte{4})
	f.Add(claim(262_173, TypeStderrText), []byte{4})
	f.Add(claim(1<<20, TypeRun), []byte{0})
	f.Add(claim(1<<32-1, TypeStdin), []byte{1})
	f.Add(claim(0, TypePing), []byte{2})
	f.Add(append(claim(262_153, TypeStdout), make([]byte, 20_000)...), []byte{0})
	f.Fuzz(func(t *testing.T, sent, plan []byte) {
		for _, r := range []*Reader{NewReader(bytes.NewReader(sent)), NewUnprovenReader(bytes.NewReader(sent))} {
			got, err := readFrames(t, r, plan)
			if !bytes.HasPrefix(sent, got) {
				t.Fatalf("frames %x are not the front of %x", got, sent)
			}
			var fe *FrameError
			switch {
			case err == io.EOF && len(got) != len(sent):
				t.Fatalf("end of the stream after %d of %d bytes", len(got), len(sent))
			case err == io.ErrUnexpectedEOF && len(got) >= len(sent):
				t.Fatal("all frames came, and yet the last one was cut")
			case err != io.EOF && err != io.ErrUnexpectedEOF && !errors.As(err, &fe):
				t.Fatalf("error %v", err)
			}
			if cap(r.buf) > MaxUnproven {
				t.Fatalf("%d bytes kept", cap(r.buf))
			}
		}
	})
}

// readFrames returns the frames that came whole, and the error behind them.
func readFrames(t *testing.T, r *Reader, plan []byte) ([]byte, error) {
	var got []byte
	for i := 0; ; i++ {
		typ, n, err := r.Next()
		if err != nil {
			return got, err
		}
		head := append(appendU32(got, uint32(n+1)), byte(typ))
		var p []byte
		var how byte
		if len(plan) > 0 {
			how = plan[i%len(plan)]
		}
		switch how % 5 {
		case 1:
			p, err = readData(r)
		case 3:
			p, err = fillAll(r, int(how))
		case 4:
			p, err = readText(r)
		case 2:
			p, err = io.ReadAll(io.MultiReader(io.LimitReader(r, int64(how)), r))
		default:
			if p, err = r.Payload(); cap(p) > 2*len(p)+MaxUnproven {
				t.Fatalf("%d bytes of memory for %d", cap(p), len(p))
			}
		}
		if err != nil {
			return got, err
		}
		got = append(head, p...)
	}
}

// readData reads a payload as that of a data frame.
func readData(r *Reader) ([]byte, error) {
	offset, err := r.Offset()
	if errors.Is(err, ErrMalformed) {
		return io.ReadAll(r)
	} else if err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(r)
	return append(appendU64(nil, offset), rest...), err
}

// readText reads a payload as that of a converted frame. One without sense keeps its head, and one
// without a head is all there to be read.
func readText(r *Reader) ([]byte, error) {
	before := r.Left()
	h, err := r.TextHeader()
	if err != nil && !errors.Is(err, ErrMalformed) {
		return nil, err
	}
	var head []byte
	if r.Left() < before {
		head = AppendTextHeader(nil, TypeStdoutText, h, 0)[5:]
	}
	if sense := h.Length > 0 && h.Offset+uint64(h.Length) > h.Offset; len(head) > 0 && sense != (err == nil) {
		return nil, fmt.Errorf("header %+v: %v", h, err)
	}
	rest, err := io.ReadAll(r)
	return append(head, rest...), err
}

// fillAll reads a payload in pieces of size bytes.
func fillAll(r *Reader, size int) ([]byte, error) {
	var all []byte
	for {
		p := make([]byte, size)
		n, err := r.Fill(p)
		all = append(all, p[:n]...)
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
	}
}
