package main

import (
	"bytes"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"rexec/internal/charset"
	"rexec/internal/client"
	"rexec/internal/config"
	"rexec/internal/proto"
)

// TestSecondSignal: it ends the drain, also if it comes before the daemon has begun to wait for it.
func TestSecondSignal(t *testing.T) {
	w := newUnstarted(t, "")
	w.drain = (2 * never).String()
	w.configure("")
	stopping, goOn := make(chan struct{}), make(chan struct{})
	w.log.hold = func(line []byte) {
		if bytes.Contains(line, []byte(`"msg":"stopping`)) {
			close(stopping)
			<-goOn
		}
	}
	w.start()
	p := w.peer()
	p.Send(&proto.Run{ID: client.NewID(), Shell: []byte("sleep 1000"), NoStdin: true})
	if typ, _ := p.Next(); typ != proto.TypeStarted {
		t.Fatal(typ)
	}
	for range 2 {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-stopping
		<-time.After(2 * oneEvent) // which the two are not
	}
	began := time.Now()
	close(goOn)
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if time.Since(began) > never {
		t.Error("the second signal was lost")
	}
}

// TestSignalsTogether: two that somebody sends for one reason are one.
func TestSignalsTogether(t *testing.T) {
	for together, want := range map[time.Duration]bool{time.Hour: false, 0: true} {
		seen := make(chan os.Signal, 3)
		signal.Notify(seen, syscall.SIGUSR1)
		first, second, stop := untilSignals(t.Context(), []os.Signal{syscall.SIGUSR1}, together)
		for range 3 {
			if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
				t.Fatal(err)
			}
			<-seen // so that the kernel does not make one of two
		}
		<-first.Done()
		if want {
			<-second.Done()
		} else {
			<-time.After(50 * time.Millisecond) // only if it were wrong could this be too short
		}
		if ended := second.Err() != nil; ended != want {
			t.Errorf("together within %s: the second context has ended: %v", together, ended)
		}
		signal.Stop(seen)
		stop()
	}
}

// TestCharsetNames: config must not import charset, so its list of names is a second one.
func TestCharsetNames(t *testing.T) {
	for m := charset.Raw; m <= charset.GB18030; m++ {
		cfg, err := config.Parse("f.toml", []byte("exec.charset = '"+m.String()+"'"))
		if err != nil {
			t.Error(err)
			continue
		}
		if o, err := runnerOptions(cfg.Exec); err != nil || o.Charset != m {
			t.Errorf("%v becomes %v, %v", m, o.Charset, err)
		}
	}
	if o, err := runnerOptions(config.Default().Exec); err != nil || o.Charset != charset.Auto {
		t.Errorf("the default is %v, %v", o.Charset, err)
	}
}
