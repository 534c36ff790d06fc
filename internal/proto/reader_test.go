package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// zeros is an endless stream of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// claim is the head of a frame of type typ that claims n bytes.
func claim(n uint32, typ Type) []byte {
	return append(binary.BigEndian.AppendUint32(nil, n), byte(typ))
}

// TestFrameLengths: every type, before and after the proof, at and around its limit.
func TestFrameLengths(t *testing.T) {
	limits := map[Type]uint32{TypeStdout: 262_153, TypeStderr: 262_153, TypeStdin: 262_153, TypeRun: 1_048_577,
		TypeStdoutText: 262_173, TypeStderrText: 262_173, TypeExit: 327_680}
	types := []Type{0x00, 0x04, 0x1f, 0x7f, 0x80, 0xff}
	for typ := range wireTypes() {
		types = append(types, typ)
	}
	for _, typ := range types {
		limit, ok := limits[typ]
		if !ok {
			limit = 65_536
		}
		// Above the largest limit of all types the type is not looked at.
		checkLengths(t, typ, limit, 1_048_577, NewReader)
		checkLengths(t, typ, 4096, 4096, NewUnprovenReader)
	}
}

func checkLengths(t *testing.T, typ Type, limit, largest uint32, reader func(io.Reader) *Reader) {
	t.Helper()
	for _, n := range []uint32{1, 2, limit - 1, limit} {
		rest := io.LimitReader(zeros{}, int64(n)-1)
		r := reader(io.MultiReader(bytes.NewReader(claim(n, typ)), rest))
		gotType, gotLen, err := r.Next()
		if err != nil || gotType != typ || gotLen != int(n)-1 {
			t.Errorf("%s, length %d: got %s, %d, %v", typ, n, gotType, gotLen, err)
			continue
		}
		if p, err := r.Payload(); err != nil || len(p) != int(n)-1 {
			t.Errorf("%s, length %d: payload of %d bytes, %v", typ, n, len(p), err)
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("%s, length %d: error %v behind it, want EOF", typ, n, err)
		}
	}
	for _, n := range []uint32{0, limit + 1, largest + 1, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		sent := append(claim(n, typ), make([]byte, 100)...)
		in := bytes.NewReader(sent)
		_, _, err := reader(in).Next()
		want := FrameError{Type: typ, Length: n, Limit: int(limit)}
		read := 5
		if n == 0 || n > largest {
			want, read = FrameError{Length: n, Limit: int(largest)}, 4
		}
		var fe *FrameError
		if !errors.As(err, &fe) || *fe != want {
			t.Errorf("%s, length %d: error %#v, want %+v", typ, n, err, want)
		}
		if got := len(sent) - in.Len(); got != read {
			t.Errorf("%s, length %d: %d bytes read, want %d", typ, n, got, read)
		}
	}
}

func TestFrameErrorText(t *testing.T) {
	for want, e := range map[string]*FrameError{
		"empty frame": {Limit: 10},
		"frame of 65537 bytes (ack), limit 65536":       {Type: TypeAck, Length: 65_537, Limit: 65_536},
		"frame of 65537 bytes (type 0x81), limit 65536": {Type: 0x81, Length: 65_537, Limit: 65_536},
	} {
		if e.Error() != want {
			t.Errorf("reads %q, want %q", e, want)
		}
	}
}

// allocated is the memory in bytes that f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestClaims: who claims a megabyte and sends ten bytes moves no more than 64 KiB.
func TestClaims(t *testing.T) {
	for _, tt := range []struct {
		claim uint32
		typ   Type
	}{{1 << 20, TypeRun}, {1<<20 + 1, TypeRun}, {256 << 10, TypeStdin}, {262_173, TypeStdoutText}, {64 << 10, TypeError}, {1<<32 - 1, TypeRun}} {
		for name, use := range map[string]func(*Reader) error{
			"payload": func(r *Reader) error { _, err := r.Payload(); return err },
			"skip":    func(r *Reader) error { _, _, err := r.Next(); return err },
			"read":    func(r *Reader) error { _, err := io.Copy(struct{ io.Writer }{io.Discard}, r); return err },
		} {
			sent := append(claim(tt.claim, tt.typ), "0123456789"...)
			var err error
			n := allocated(func() {
				r := NewReader(bytes.NewReader(sent))
				if _, _, err = r.Next(); err == nil {
					err = use(r)
				}
			})
			if err == nil || err == io.EOF {
				t.Errorf("%s of %d bytes, %s: error %v", tt.typ, tt.claim, name, err)
			}
			if n >= 64<<10 {
				t.Errorf("%s of %d bytes, %s: %d bytes allocated", tt.typ, tt.claim, name, n)
			}
		}
	}
}

// TestPayloadMemory: what a connection keeps between frames is small, whatever went through it.
func TestPayloadMemory(t *testing.T) {
	var in bytes.Buffer
	for _, n := range []uint32{1 << 20, 20, 60 << 10, 4096, 1} {
		in.Write(claim(n, TypeRun))
		in.Write(make([]byte, n-1))
	}
	r := NewReader(&in)
	for {
		if _, _, err := r.Next(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Payload(); err != nil {
			t.Fatal(err)
		}
		if cap(r.buf) > 4096 {
			t.Errorf("%d bytes kept", cap(r.buf))
		}
	}
}

// stream is four frames: a message, a data frame, a converted one and an empty frame.
func stream() []byte {
	b := AppendFrame(nil, Signal{"TERM"})
	b = append(AppendDataHeader(b, TypeStdout, 77, 5), "hello"...)
	b = append(AppendTextHeader(b, TypeStderrText, streamText(), 6), "中文"...)
	return append(b, claim(1, TypeStarted)...)
}

func streamText() TextHeader { return TextHeader{88, 4, ConverterState{1, 15: 2}} }

// take reads the frames of stream in the ways that there are, and returns the first error.
func take(r *Reader) error {
	typ, n, err := r.Next()
	if err != nil {
		return err
	}
	if p, err := r.Payload(); err != nil || typ != TypeSignal || n != 4 || string(p) != "TERM" {
		return orWrong(err)
	}
	typ, n, err = r.Next()
	if err != nil {
		return err
	}
	offset, err := r.Offset()
	if err != nil || typ != TypeStdout || n != 13 || offset != 77 {
		return orWrong(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "hello" {
		return orWrong(err)
	}
	typ, n, err = r.Next()
	if err != nil || typ != TypeStderrText || n != 34 {
		return orWrong(err)
	}
	if h, err := r.TextHeader(); err != nil || h != streamText() || r.Left() != 6 {
		return orWrong(err)
	}
	p := make([]byte, 10)
	if n, err := r.Fill(p); err != io.EOF || string(p[:n]) != "中文" {
		return orWrong(err)
	}
	typ, n, err = r.Next()
	if err != nil || typ != TypeStarted || n != 0 {
		return orWrong(err)
	}
	if p, err := r.Payload(); err != nil || len(p) != 0 {
		return orWrong(err)
	}
	_, _, err = r.Next()
	return err
}

func orWrong(err error) error {
	if err == nil {
		err = errors.New("wrong frame")
	}
	return err
}

func TestReaderOnSlowStreams(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"plain":             func(r io.Reader) io.Reader { return r },
		"one byte":          iotest.OneByteReader,
		"half":              iotest.HalfReader,
		"end with the data": iotest.DataErrReader,
		"both":              func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
		"reads of nothing":  func(r io.Reader) io.Reader { return &stuttering{r: iotest.OneByteReader(r)} },
	} {
		for kind, reader := range map[string]func(io.Reader) *Reader{"proven": NewReader, "unproven": NewUnprovenReader} {
			if err := take(reader(wrap(bytes.NewReader(stream())))); err != io.EOF {
				t.Errorf("%s, %s: %v, want EOF", name, kind, err)
			}
		}
	}
}

// stuttering returns no bytes and no error at every second read, which io.Reader allows.
type stuttering struct {
	r    io.Reader
	even bool
}

func (s *stuttering) Read(p []byte) (int, error) {
	if s.even = !s.even; s.even {
		return 0, nil
	}
	return s.r.Read(p)
}

// TestEndOfStream cuts a stream at every byte: only between frames is that its end.
func TestEndOfStream(t *testing.T) {
	whole := stream()
	between := map[int]bool{0: true, 9: true, 27: true, 66: true, 71: true}
	if len(whole) != 71 {
		t.Fatalf("stream of %d bytes", len(whole))
	}
	errBroken := errors.New("broken")
	for n := range len(whole) + 1 {
		want := io.ErrUnexpectedEOF
		if between[n] {
			want = io.EOF
		}
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"plain": func(r io.Reader) io.Reader { return r }, "end with the data": iotest.DataErrReader,
		} {
			if err := take(NewReader(wrap(bytes.NewReader(whole[:n])))); err != want {
				t.Errorf("%s: %d bytes: %v, want %v", name, n, err, want)
			}
			if err := skipAll(NewReader(wrap(bytes.NewReader(whole[:n])))); err != want {
				t.Errorf("%s: %d bytes, skipping: %v, want %v", name, n, err, want)
			}
		}
		broken := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(errBroken))
		if err := take(NewReader(broken)); !errors.Is(err, errBroken) {
			t.Errorf("%d bytes, then an error: %v", n, err)
		}
		broken = io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(errBroken))
		if err := skipAll(NewReader(broken)); !errors.Is(err, errBroken) {
			t.Errorf("%d bytes, then an error, skipping: %v", n, err)
		}
	}
}

func skipAll(r *Reader) error {
	for {
		if _, _, err := r.Next(); err != nil {
			return err
		}
	}
}

// TestReadPayload holds Read to the contract of io.Reader, within one payload of several.
func TestReadPayload(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 300)
	frame := append(AppendDataHeader(nil, TypeStdin, 1, len(content)), content...)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"plain": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader,
	} {
		r := NewReader(wrap(bytes.NewReader(append(frame, frame...))))
		for range 2 {
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			if offset, err := r.Offset(); err != nil || offset != 1 {
				t.Fatalf("offset %d, %v", offset, err)
			}
			if err := iotest.TestReader(r, content); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestFill reads payloads in pieces of every size: full ones up to the last, which says that it is.
func TestFill(t *testing.T) {
	b := append(AppendDataHeader(nil, TypeStdin, 1, 10), "0123456789"...)
	b = AppendFrame(b, Ping{})
	for size := 1; size <= 12; size++ {
		r := NewReader(iotest.OneByteReader(bytes.NewReader(b)))
		if _, _, err := r.Next(); err != nil || r.Left() != 18 {
			t.Fatalf("%d bytes left, %v", r.Left(), err)
		}
		if _, err := r.Offset(); err != nil || r.Left() != 10 {
			t.Fatalf("%d bytes left, %v", r.Left(), err)
		}
		var got []byte
		for {
			p := make([]byte, size)
			n, err := r.Fill(p)
			got = append(got, p[:n]...)
			if r.Left() != 10-len(got) {
				t.Errorf("pieces of %d: %d bytes left of %d", size, r.Left(), 10-len(got))
			}
			if err == io.EOF {
				break
			}
			if err != nil || n != size {
				t.Fatalf("pieces of %d: %d bytes, %v", size, n, err)
			}
		}
		if string(got) != "0123456789" {
			t.Errorf("pieces of %d: %q", size, got)
		}
		if n, err := r.Fill(make([]byte, size)); n != 0 || err != io.EOF {
			t.Errorf("pieces of %d: %d bytes behind the payload, %v", size, n, err)
		}
		if typ, _, err := r.Next(); err != nil || typ != TypePing {
			t.Errorf("pieces of %d: then %s, %v", size, typ, err)
		}
	}
}

// TestFillCut: a payload that ends too early is not mistaken for one that ended.
func TestFillCut(t *testing.T) {
	whole := append(claim(11, TypeStdin), "0123456789"...)
	for have := range 10 {
		for size := 1; size <= 12; size++ {
			r := NewReader(bytes.NewReader(whole[:5+have]))
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			var err error
			got := 0
			for err == nil {
				var n int
				n, err = r.Fill(make([]byte, size))
				got += n
			}
			if err != io.ErrUnexpectedEOF || got != have || r.Left() != 10-have {
				t.Errorf("%d of 10 bytes in pieces of %d: %d bytes, %v, %d left", have, size, got, err, r.Left())
			}
		}
	}
}

// TestSkip reads some of a payload, or none, and goes on to the next frame.
func TestSkip(t *testing.T) {
	for _, read := range []int{0, 1, 8, 99, 100_000 + 8} {
		b := AppendDataHeader(nil, TypeStdin, 0, 100_000)
		b = append(b, make([]byte, 100_000)...)
		b = AppendFrame(b, Ping{3})
		r := NewReader(iotest.HalfReader(bytes.NewReader(b)))
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, read)); err != nil {
			t.Fatal(err)
		}
		typ, n, err := r.Next()
		if err != nil || typ != TypePing || n != 8 {
			t.Errorf("%d bytes read: then %s of %d bytes, %v", read, typ, n, err)
		}
	}
}

// TestOffsetMissing: a data frame too short for its offset is malformed, and can be skipped.
func TestOffsetMissing(t *testing.T) {
	for n := range uint32(8) {
		b := append(claim(1+n, TypeStdout), make([]byte, n)...)
		r := NewReader(bytes.NewReader(AppendFrame(b, Ping{})))
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Offset(); !errors.Is(err, ErrMalformed) || err.Error() != "malformed message: data frame without an offset" {
			t.Errorf("%d bytes: error %v", n, err)
		}
		if typ, _, err := r.Next(); err != nil || typ != TypePing {
			t.Errorf("%d bytes: then %s, %v", n, typ, err)
		}
	}
}

// TestTextHeader: a header that is missing or makes no sense is malformed, and the frame can be skipped.
func TestTextHeader(t *testing.T) {
	type row struct {
		payload []byte
		want    string
		left    int // of the payload, behind the error
	}
	rows := []row{
		{append(make([]byte, 28), "abc"...), "text frame for no bytes", 3},
		{append(bytes.Repeat([]byte{0xff}, 28), "abc"...), "text frame for 4294967295 bytes at offset 18446744073709551615", 3},
	}
	for n := range 28 {
		rows = append(rows, row{counter(1, n), "text frame without a header", n})
	}
	for _, tt := range rows {
		b := append(claim(uint32(1+len(tt.payload)), TypeStdoutText), tt.payload...)
		r := NewReader(bytes.NewReader(AppendFrame(b, Ping{})))
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.TextHeader(); !errors.Is(err, ErrMalformed) || err.Error() != "malformed message: "+tt.want {
			t.Errorf("%x: error %v, want %q", tt.payload, err, tt.want)
		}
		if r.Left() != tt.left {
			t.Errorf("%x: %d bytes left, want %d", tt.payload, r.Left(), tt.left)
		}
		if typ, _, err := r.Next(); err != nil || typ != TypePing {
			t.Errorf("%x: then %s, %v", tt.payload, typ, err)
		}
	}
}

// TestHandOver changes from the unproven to the proven reader in the middle of a stream, as the
// server does behind the proof. Not one byte may stay in the first.
func TestHandOver(t *testing.T) {
	proof := &ClientProof{Transport: TransportTCP, KeyID: "k", Ext: make([]byte, MaxExt)}
	run := &Run{ID: ExecID{1}, Shell: bytes.Repeat([]byte("x"), 10_000)}
	in := bytes.NewReader(AppendFrame(AppendFrame(nil, proof), run))
	first := NewUnprovenReader(in)
	if typ, _, err := first.Next(); err != nil || typ != TypeClientProof {
		t.Fatal(typ, err)
	}
	if p, err := first.Payload(); err != nil || !bytes.Equal(p, proof.Append(nil)[1:]) {
		t.Fatal(err)
	}
	second := NewReader(in)
	if typ, _, err := second.Next(); err != nil || typ != TypeRun {
		t.Fatal(typ, err)
	}
	if p, err := second.Payload(); err != nil || !bytes.Equal(p, run.Append(nil)[1:]) {
		t.Fatal(err)
	}
}

// TestReaderAllocations: the data path costs the collector nothing.
func TestReaderAllocations(t *testing.T) {
	for _, n := range []int{1, 4 << 10, MaxData} {
		frame := append(AppendDataHeader(nil, TypeStdout, 5, n), make([]byte, n)...)
		in := bytes.NewReader(frame)
		r := NewReader(in)
		p := make([]byte, 64<<10)
		read := 0
		for name, from := range map[string]func([]byte) (int, error){"Read": r.Read, "Fill": r.Fill} {
			read = 0
			allocs := testing.AllocsPerRun(50, func() {
				in.Reset(frame)
				if _, _, err := r.Next(); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Offset(); err != nil {
					t.Fatal(err)
				}
				for {
					got, err := from(p)
					read += got
					if err == io.EOF {
						return
					} else if err != nil {
						t.Fatal(err)
					}
				}
			})
			if allocs != 0 || read != 51*n {
				t.Errorf("%s, frames of %d bytes: %v allocations each, %d bytes read", name, n, allocs, read)
			}
		}
	}
}

// TestTextAllocations: neither does converted output.
func TestTextAllocations(t *testing.T) {
	p := make([]byte, MaxData)
	for _, n := range []int{0, 1, MaxData} {
		frame := append(AppendTextHeader(nil, TypeStdoutText, TextHeader{Length: 1}, n), p[:n]...)
		in := bytes.NewReader(frame)
		r := NewReader(in)
		allocs := testing.AllocsPerRun(50, func() {
			in.Reset(frame)
			if _, _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			if _, err := r.TextHeader(); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Fill(p); got != n || err != io.EOF {
				t.Fatal(got, err)
			}
		})
		if allocs != 0 {
			t.Errorf("text of %d bytes: %v allocations", n, allocs)
		}
	}
}

// TestSmallPayloadAllocations: acks and pings are as frequent as data.
func TestSmallPayloadAllocations(t *testing.T) {
	frame := AppendFrame(nil, &Ack{Stdout, 1, 2})
	in := bytes.NewReader(frame)
	r := NewReader(in)
	allocs := testing.AllocsPerRun(50, func() {
		in.Reset(frame)
		if _, _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		p, err := r.Payload()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseAck(p); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for an ack", allocs)
	}
}

func TestUnprovenRefusesRun(t *testing.T) {
	// A stranger's frame is held to the small limit whatever type it claims.
	r := NewUnprovenReader(io.MultiReader(bytes.NewReader(claim(4097, TypeRun)), strings.NewReader("x")))
	var fe *FrameError
	if _, _, err := r.Next(); !errors.As(err, &fe) || fe.Limit != 4096 {
		t.Errorf("error %v", err)
	}
}
