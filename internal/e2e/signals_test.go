//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// TestOddSignals: a signal that there is not is told of and does nothing, one that comes too late does nothing, and many
// are no more than one.
func TestOddSignals(t *testing.T) {
	overBoth(t, func(t *testing.T, d *target) {
		p := d.Peer(t)
		p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("read x; exit 7")})
		if typ, _ := p.Next(); typ != proto.TypeStarted {
			t.Fatal(typ)
		}
		for _, name := range []string{"NOSUCH", "0", "99", "-1", "65", "9", "RTMAX+1", "RTMIN-1", "+", "TERM2", "SIGNAL"} {
			p.Send(proto.Signal{Name: name})
			typ, payload := p.Next()
			note, err := proto.ParseError(payload)
			if typ != proto.TypeError || err != nil || note.Code != proto.ErrorIgnored || note.Text != fmt.Sprintf("unknown signal %q", name) {
				t.Fatalf("%s is answered with %s %+v, %v", name, typ, note, err)
			}
		}
		p.Send(stdin(0, "x\n"), proto.EOF{Length: 2})
		o := p.Outcome()
		if o.Exit.State != proto.StateExited || o.Exit.Code != 7 {
			t.Errorf("%+v, want the command's own end", o.Exit)
		}
		p.Send(proto.Signal{Name: "KILL"}, proto.Signal{Name: "NOSUCH"}, proto.Window{Rows: 1}) // on their way when it had ended
		if o := p.Run(argv("true")); o.Exit.Code != 0 || o.Exit.Signal != "" || len(o.Notes) != 0 {
			t.Errorf("the next command: %+v, notes %v", o.Exit, o.Notes)
		}

		p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("trap 'echo caught' USR1; echo ready; until read x; do :; done; exit 3")})
		until(t, p, "ready\n")
		for range 1000 {
			p.Send(proto.Signal{Name: "USR1"})
		}
		p.Send(stdin(0, "x\n"), proto.EOF{Length: 2})
		o = p.Outcome()
		if n := strings.Count(string(o.Out[0]), "caught"); o.Exit.State != proto.StateExited || o.Exit.Code != 3 || n < 1 || n > 1000 || len(o.Notes) != 0 {
			t.Errorf("1000 signals: %+v, caught %d, notes %v", o.Exit, n, o.Notes)
		}
	})
}

// TestOddWindows: any size is a size, and one that is not known is none.
func TestOddWindows(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	p := d.Peer(t)
	run := onTerminal(`echo ready; read x; stty size; read x; stty size; read x; stty size`)
	p.Send(&run)
	until(t, p, "ready\n")
	p.Send(proto.Window{Rows: 65535, Columns: 65535, Width: 65535, Height: 65535}, stdin(0, "\n"))
	until(t, p, "65535 65535\n")
	p.Send(proto.Window{}, stdin(1, "\n"))
	until(t, p, "0 0\n")
	for i := range 1000 {
		p.Send(proto.Window{Rows: uint16(i), Columns: uint16(2 * i)})
	}
	p.Send(stdin(2, "\n"))
	if o := p.Outcome(); string(o.Out[0]) != "999 1998\n" || o.Exit.Code != 0 || len(o.Notes) != 0 {
		t.Errorf("%q, %+v, notes %v", o.Out[0], o.Exit, o.Notes)
	}
}

// TestSizesOfThisTerminal: the command's terminal is as large as this one, however large that is.
func TestSizesOfThisTerminal(t *testing.T) {
	s := newStation(t)
	for _, size := range []unix.Winsize{{}, {Row: 1, Col: 1}, {Row: 65535, Col: 65535, Xpixel: 65535, Ypixel: 65535}, {Col: 80}} {
		tty, err := rexectest.NewTerminal()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.IoctlSetWinsize(int(tty.File().Fd()), unix.TIOCSWINSZ, &size); err != nil {
			t.Fatal(err)
		}
		cmd := s.command("rexec", "-t", s.Address(), "stty size; exit 3")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.File(), tty.File(), tty.File()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		code := s.ended(cmd)
		if got, want := string(tty.Close()), fmt.Sprintf("%d %d", size.Row, size.Col); code != 3 || strings.TrimSpace(got) != want {
			t.Errorf("%+v: code %d, %q", size, code, got)
		}
	}
}
