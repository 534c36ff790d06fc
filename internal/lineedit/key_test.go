package lineedit

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestKeys(t *testing.T) {
	for typed, want := range map[string][]key{
		"aé中😀":                           {{keyText, "a"}, {keyText, "é"}, {keyText, "中"}, {keyText, "😀"}},
		"\r\x7f\x12":                     {{keyControl, "\r"}, {keyControl, "\x7f"}, {keyControl, "\x12"}},
		"\x1b[A\x1bOB":                   {{name: keyUp}, {name: keyDown}},
		"\x1b[D\x1b[1;5C":                {{name: keyLeft}, {name: keyWordRight}},
		"\x1b[1~\x1b[4~":                 {{name: keyHome}, {name: keyEnd}},
		"\x1bOH\x1bOF":                   {{name: keyHome}, {name: keyEnd}},
		"\x1b[3~x":                       {{name: keyDelete}, {keyText, "x"}},
		"\x1bb\x1bf\x1bd":                {{name: keyWordLeft}, {name: keyWordRight}, {name: keyAltD}},
		"\x1b\x7f\x1b\r":                 {{name: keyAltBackspace}, {name: keyAltEnter}},
		"\x1b[[Ax":                       {{name: keyUnknown}, {keyText, "x"}},
		"\x1b[15;2~\x1b\x1b":             {{name: keyUnknown}, {name: keyEsc}, {name: keyEsc}},
		"\x1b中x":                         {{name: keyUnknown}, {keyText, "x"}},
		"\xffa":                          {{name: keyUnknown}, {keyText, "a"}},
		"\x1b[200~a\rb\x1b[A\x1b[201~\r": {{keyPaste, "a\rb\x1b[A"}, {keyControl, "\r"}},
		"\x1b[\x01":                      {{name: keyUnknown}, {keyControl, "\x01"}},
		"\x1b":                           {{name: keyEsc}},
		"\x1b[1;":                        {{name: keyUnknown}},
		"\xe4\xb8":                       {{name: keyUnknown}, {name: keyUnknown}},
		"\x1b[200~a\r\x03":               {{keyControl, "\x03"}},
		"\x1b[200~" + strings.Repeat("x", 2*maxAhead) + "\x1b[201~y": {{keyPaste, strings.Repeat("x", 2*maxAhead)}, {keyText, "y"}},
		"\x1b[200~cut":                   {{keyPaste, "cut"}},
		strings.Repeat("中", 30) + "\rab": {{keyText, strings.Repeat("中", 30)}, {keyControl, "\r"}, {keyText, "a"}, {keyText, "b"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := NewKeyboard(strings.NewReader(typed))
			for i, one := range want {
				if got, err := k.key(t.Context(), decodeUTF8); err != nil || got != one {
					t.Errorf("%.80q: key %d is %.80v, %v, want %.80v", typed, i, got, err, one)
				}
			}
			if got, err := k.key(t.Context(), decodeUTF8); !errors.Is(err, io.EOF) {
				t.Errorf("%q: one more: %v, %v", typed, got, err)
			}
		})
	}
}

// TestKeysInPieces: a key that comes byte by byte is the same.
func TestKeysInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		k := NewKeyboard(r)
		go func() {
			for _, c := range []byte("\x1b[1;5C中\x1b[200~x\x1b[201~") {
				_, _ = w.Write([]byte{c})
			}
			w.Close()
		}()
		for _, want := range []key{{name: keyWordRight}, {keyText, "中"}, {keyPaste, "x"}} {
			if got, err := k.key(t.Context(), decodeUTF8); err != nil || got != want {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("\x1b[200~a\x1b[201~"))
	f.Add([]byte("\x1b[1;5C"))
	f.Fuzz(func(t *testing.T, typed []byte) {
		_, n, _ := cut(typed, decodeUTF8)
		if n > len(typed) || n <= 0 && len(typed) > 0 {
			t.Errorf("%q: a key of %d bytes", typed, n)
		}
	})
}

// TestLoan: of what is typed no byte is lost or doubled, whoever takes it.
func TestLoan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		k := NewKeyboard(r)
		loan := k.Lend()
		read := make(chan error, 1)
		buf := make([]byte, 3)
		go func() {
			_, err := io.ReadFull(loan, buf)
			if err == nil {
				_, err = loan.Read(make([]byte, 1)) // of which nothing comes before the end
			}
			read <- err
		}()
		_, _ = w.Write([]byte("abc"))
		synctest.Wait()
		loan.End()
		if err := <-read; !errors.Is(err, io.EOF) || string(buf) != "abc" {
			t.Errorf("%v, %q", err, buf)
		}
		_, _ = w.Write([]byte("d"))
		synctest.Wait()
		if n, err := loan.Read(buf); n > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %d, %v", n, err)
		}
		k.Unread([]byte("c"))
		for _, want := range []string{"c", "d"} {
			if got, err := k.key(t.Context(), decodeUTF8); err != nil || got.text != want {
				t.Errorf("%v, %v, want %s", got, err, want)
			}
		}
		go func() { _, _ = w.Write([]byte("x\x03y")) }()
		if c, err := k.AwaitAny(t.Context(), "\x1c\x03"); c != 3 || err != nil {
			t.Errorf("%d, %v", c, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := k.key(ctx, decodeUTF8); !errors.Is(err, context.Canceled) {
			t.Errorf("what waited in front of an interrupt was kept: %v", err)
		}
		w.Close()
		synctest.Wait()
		if c, err := k.AwaitAny(t.Context(), "\x03"); !errors.Is(err, io.EOF) {
			t.Errorf("%d, %v", c, err)
		}
		if err := k.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
