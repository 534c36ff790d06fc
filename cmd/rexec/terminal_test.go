package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"rexec/internal/charset"
)

// TestKeysInAnotherCharset: characters are converted one by one, however they come, and go on at once.
func TestKeysInAnotherCharset(t *testing.T) {
	const text = "ls 中文\r~.好\x03"
	gbk, err := charset.EncodeCommand(charset.GBK, text)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]io.Reader{
		"at once": bytes.NewReader(gbk), "byte by byte": iotest.OneByteReader(bytes.NewReader(gbk)),
	} {
		got, err := io.ReadAll(&keyReader{r: in, c: charset.NewConverter(charset.GBK, charset.UTF8)})
		if err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// Nothing waits for the end of a line.
	r, w := io.Pipe()
	defer w.Close()
	keys := &keyReader{r: r, c: charset.NewConverter(charset.UTF8, charset.GBK)}
	for _, key := range []string{"x", "\x1b[A", "中"} {
		go func() { _, _ = w.Write([]byte(key)) }()
		b := make([]byte, 10)
		n, err := keys.Read(b)
		want, _ := charset.EncodeCommand(charset.GBK, key)
		if err != nil || !bytes.Equal(b[:n], want) {
			t.Errorf("%q is typed as %q, %v", key, b[:n], err)
		}
	}
}

// TestHangUp: the command is told once, and this side waits for a bounded time only.
func TestHangUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &session{hang: make(chan error, 1), signals: make(chan string), cancel: cancel}
	caught := make(chan string)
	done := make(chan struct{})
	go func() { defer close(done); s.forward(ctx, caught) }()
	caught <- "INT"
	if name := <-s.signals; name != "INT" {
		t.Errorf("%s for INT", name)
	}
	begin := time.Now()
	caught <- "TERM"
	s.hangUp(errEscaped)
	for len(s.hang) > 0 { // until the hang-up is known there
		time.Sleep(time.Millisecond)
	}
	caught <- "INT" // which comes too late
	if name := <-s.signals; name != "HUP" {
		t.Errorf("%s for TERM", name)
	}
	select {
	case <-done:
	case name := <-s.signals:
		t.Errorf("%s after the hang-up", name)
	}
	if took := time.Since(begin); !errors.Is(context.Cause(ctx), errSignaled) && !errors.Is(context.Cause(ctx), errEscaped) || took < hangUpTime/2 {
		t.Errorf("ended after %s for %v", took, context.Cause(ctx))
	}
}

// TestRawWriter: words go to the begin of a line only where a terminal does not by itself.
func TestRawWriter(t *testing.T) {
	var out strings.Builder
	var raw rawTerminal
	w := &rawWriter{&out, &raw}
	_, _ = io.WriteString(w, "a\nb\n")
	raw.on = true
	n, err := io.WriteString(w, "c\n")
	raw.restore()
	_, _ = io.WriteString(w, "d\n")
	if out.String() != "a\nb\nc\r\nd\n" || n != 2 || err != nil {
		t.Errorf("%q, %d, %v", out.String(), n, err)
	}
	r, p, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer p.Close()
	if err := raw.begin(r, p); err != nil || raw.isOn() {
		t.Errorf("a terminal is switched after the end: %v", err)
	}
	if err := new(rawTerminal).begin(r, p); err == nil {
		t.Error("a pipe was switched")
	}
}

// TestConsoleReader: ^Z is the end of input at a console of Windows, but a key in raw mode.
func TestConsoleReader(t *testing.T) {
	for _, raw := range []bool{false, true} {
		ends := 0
		console := readerFunc(func(b []byte) (int, error) { // as package os reads "a^Zb"
			ends++
			switch ends {
			case 1:
				return copy(b, "a"), nil
			case 2:
				return 0, io.EOF
			case 3:
				return copy(b, "b"), nil
			}
			return 0, iotest.ErrTimeout
		})
		got, err := io.ReadAll(&consoleReader{console, func() bool { return raw }})
		want, wantErr := "a", error(nil)
		if raw {
			want, wantErr = "a\x1ab", iotest.ErrTimeout
		}
		if string(got) != want || !errors.Is(err, wantErr) {
			t.Errorf("raw %v: %q, %v", raw, got, err)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
