package proto

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// writes records each write to a connection.
type writes struct {
	each [][]byte
	fail int // the number of the write that fails; 0: none
}

var errWrite = errors.New("broken pipe")

func (w *writes) Write(p []byte) (int, error) {
	w.each = append(w.each, bytes.Clone(p))
	if len(w.each) == w.fail {
		return 0, errWrite
	}
	return len(p), nil
}

// vectored is a connection that writes two slices at once.
type vectored struct{ writes }

func (w *vectored) WriteVec(head, body []byte) (int, error) {
	return w.Write(append(bytes.Clone(head), body...))
}

func (w *writes) all() []byte { return bytes.Join(w.each, nil) }

func TestWriteMessages(t *testing.T) {
	var out writes
	w := NewWriter(&out)
	messages := []Message{Ping{7}, &Exit{State: StateExited}, Refused{}}
	if err := w.Write(messages...); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, m := range messages {
		want = AppendFrame(want, m)
	}
	if len(out.each) != 1 || !bytes.Equal(out.all(), want) {
		t.Errorf("%d writes:\n%x, want one of\n%x", len(out.each), out.all(), want)
	}
}

// TestWriteData looks at frames around the size from which on the bytes are not copied.
func TestWriteData(t *testing.T) {
	for _, tt := range []struct{ n, writes int }{{0, 1}, {1, 1}, {4096, 1}, {4097, 2}, {MaxData, 2}} {
		var out writes
		w := NewWriter(&out)
		p := bytes.Repeat([]byte("x"), tt.n)
		for i := range 2 {
			if err := w.Data(TypeStderr, uint64(i*tt.n), p); err != nil {
				t.Fatal(err)
			}
		}
		clear(p)
		if len(out.each) != 2*tt.writes {
			t.Errorf("%d bytes: %d writes for two frames, want %d each", tt.n, len(out.each), tt.writes)
		}
		r := NewReader(bytes.NewReader(out.all()))
		for i := range 2 {
			typ, _, err := r.Next()
			if err != nil || typ != TypeStderr {
				t.Fatalf("%d bytes: %s, %v", tt.n, typ, err)
			}
			if offset, err := r.Offset(); err != nil || offset != uint64(i*tt.n) {
				t.Errorf("%d bytes: offset %d, %v", tt.n, offset, err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), tt.n)) {
				t.Errorf("%d bytes: %d came, %v", tt.n, len(got), err)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("%d bytes: %v behind the frames", tt.n, err)
		}
	}
}

// TestWriteText looks at converted frames as TestWriteData does, on both kinds of connection, up to
// the limit and one byte beyond it.
func TestWriteText(t *testing.T) {
	for _, tt := range []struct{ n, writes int }{{0, 1}, {1, 1}, {4096, 1}, {4097, 2}, {MaxData, 2}, {MaxData + 1, 2}} {
		var plain writes
		var vec vectored
		p := bytes.Repeat([]byte("x"), tt.n)
		for i, out := range []io.Writer{&plain, &vec} {
			w := NewWriter(out)
			for i := range 2 {
				if err := w.Text(TypeStdoutText, textOf(i), p); err != nil {
					t.Fatal(err)
				}
			}
			each := [][][]byte{plain.each, vec.each}[i]
			if want := []int{tt.writes, 1}[i]; len(each) != 2*want {
				t.Errorf("%d bytes: %d writes for two frames, want %d each", tt.n, len(each), want)
			}
		}
		clear(p)
		if !bytes.Equal(plain.all(), vec.all()) {
			t.Errorf("%d bytes: the two connections got different frames", tt.n)
		}
		checkText(t, plain.all(), tt.n)
	}
}

// textOf is the header of the converted frame number i.
func textOf(i int) TextHeader {
	return TextHeader{Offset: uint64(5 * i), Length: 5, State: ConverterState{7: byte(i)}}
}

// checkText reads two converted frames with n bytes of text each.
func checkText(t *testing.T, sent []byte, n int) {
	t.Helper()
	r := NewReader(bytes.NewReader(sent))
	for i := range 2 {
		typ, _, err := r.Next()
		if n > MaxData {
			var fe *FrameError
			if !errors.As(err, &fe) || fe.Type != TypeStdoutText || fe.Limit != 262_173 {
				t.Errorf("%d bytes: error %v", n, err)
			}
			return
		}
		if err != nil || typ != TypeStdoutText {
			t.Fatalf("%d bytes: %s, %v", n, typ, err)
		}
		if h, err := r.TextHeader(); err != nil || h != textOf(i) {
			t.Errorf("%d bytes: header %+v, %v", n, h, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("x"), n)) {
			t.Errorf("%d bytes: %d came, %v", n, len(got), err)
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Errorf("%d bytes: %v behind the frames", n, err)
	}
}

func TestWriteErrors(t *testing.T) {
	data := make([]byte, 10_000)
	for _, tt := range []struct {
		name  string
		fail  int
		write func(*Writer) error
	}{
		{"message", 1, func(w *Writer) error { return w.Write(Ping{1}) }},
		{"small data", 1, func(w *Writer) error { return w.Data(TypeStdin, 0, data[:10]) }},
		{"head of large data", 1, func(w *Writer) error { return w.Data(TypeStdin, 0, data) }},
		{"small text", 1, func(w *Writer) error { return w.Text(TypeStdoutText, textOf(0), data[:10]) }},
		{"large text", 2, func(w *Writer) error { return w.Text(TypeStdoutText, textOf(0), data) }},
		{"large data", 2, func(w *Writer) error { return w.Data(TypeStdin, 0, data) }},
	} {
		out := writes{fail: tt.fail}
		if err := tt.write(NewWriter(&out)); !errors.Is(err, errWrite) {
			t.Errorf("%s: error %v", tt.name, err)
		}
		if len(out.each) != tt.fail {
			t.Errorf("%s: %d writes, the error came with number %d", tt.name, len(out.each), tt.fail)
		}
	}
}

func TestWriterAllocations(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 4097, MaxData} {
		w := NewWriter(io.Discard)
		p := make([]byte, n)
		allocs := testing.AllocsPerRun(50, func() {
			if err := w.Data(TypeStdout, 1<<40, p); err != nil {
				t.Fatal(err)
			}
		})
		allocs += testing.AllocsPerRun(50, func() {
			if err := w.Text(TypeStdoutText, textOf(1), p); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%d bytes: %v allocations for a frame", n, allocs)
		}
	}
}

// TestWriterMemory: a large request does not stay in the memory of a connection.
func TestWriterMemory(t *testing.T) {
	w := NewWriter(io.Discard)
	for _, n := range []int{10, 5000, 1 << 20, 10} {
		if err := w.Write(&Run{Shell: make([]byte, n)}); err != nil {
			t.Fatal(err)
		}
		if err := w.Data(TypeStdin, 0, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		if cap(w.buf) > 8<<10 {
			t.Errorf("%d bytes kept behind a request of %d", cap(w.buf), n)
		}
	}
}
