package server

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// TestFramesFit: whatever the output is, no frame is larger than a client takes. Each byte that is not UTF-8
// becomes four in GB 18030; pieces of many sizes fill a frame as far as it goes, before the largest one that
// there is comes.
func TestFramesFit(t *testing.T) {
	bad, plain := []byte{0xFF}, []byte("a")
	for pieces := range 4 {
		for fill := 0; fill <= convertPiece; fill += 512 {
			var output []byte
			output = append(output, bytes.Repeat(bad, pieces*convertPiece+fill)...)
			output = append(output, bytes.Repeat(plain, convertPiece-fill+uncopied-1)...)
			output = append(output, bytes.Repeat(bad, convertPiece)...)
			for _, size := range []int{len(output), 12345} {
				converted(t, output, size)
			}
		}
	}
}

// converted gives output to a text in pieces, and holds what comes out against the whole conversion.
func converted(t *testing.T, output []byte, size int) {
	t.Helper()
	var wire bytes.Buffer
	m := &proto.Run{Charset: "gb18030", Source: "utf-8"}
	x := newText(m, new(proto.Started), charset.Auto, false, proto.NewWriter(&wire))
	for at := 0; at < len(output); at += size {
		if err := x.data(proto.Stdout, uint64(at), output[at:min(at+size, len(output))], func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(x.settle(), x.end(new(proto.Exit))); err != nil {
		t.Fatal(err)
	}
	whole := charset.NewConverter(charset.UTF8, charset.GB18030)
	if got, want := texts(t, &wire, len(output)), whole.Close(whole.Append(nil, output)); !bytes.Equal(got, want) {
		t.Errorf("in pieces of %d: %d bytes of text, want %d", size, len(got), len(want))
	}
}

// texts reads converted frames, which must stand for length bytes in all, and joins them.
func texts(t *testing.T, wire io.Reader, length int) []byte {
	t.Helper()
	var all []byte
	in, at := proto.NewReader(wire), uint64(0)
	for {
		_, _, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		h, headErr := in.TextHeader()
		if err = errors.Join(err, headErr); err != nil || h.Offset != at {
			t.Fatalf("frame at %d, want %d: %v", h.Offset, at, err)
		}
		at += uint64(h.Length)
		text := make([]byte, in.Left())
		if _, err := in.Fill(text); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if at != uint64(length) {
		t.Fatalf("frames stand for %d bytes, want %d", at, length)
	}
	return all
}
