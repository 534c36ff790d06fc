package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rexec/internal/client"
	"rexec/internal/hosts"
	"rexec/internal/persist"
)

// persistOption is the value of --persist: a time, or that there is none.
type persistOption struct {
	set bool
	d   time.Duration
}

func (o *persistOption) String() string { return o.d.String() }

// Type implements [pflag.Value].
func (*persistOption) Type() string { return "duration" }

// Set implements [pflag.Value]. The first value counts.
func (o *persistOption) Set(text string) error {
	var d time.Duration
	if text != "no" && text != "0" {
		if err := (span{&d}).Set(text); err != nil {
			return errors.New("want a time such as 10m, or no")
		}
	}
	if !o.set {
		o.set, o.d = true, d
	}
	return nil
}

// persistTime is how long a background process is to keep the connection; 0 if none is.
func (o *options) persistTime(s hosts.Settings) time.Duration {
	if o.persist.set {
		return o.persist.d
	}
	return max(0, time.Duration(s.Persist))
}

// controlOption is the value of -O: what is to become of the background process.
type controlOption struct{ s *sshOptions }

func (controlOption) String() string { return "" }

// Type implements [pflag.Value].
func (controlOption) Type() string { return "command" }

// Set implements [pflag.Value].
func (v controlOption) Set(text string) error {
	switch text {
	case "check", "stop", "exit":
		if v.s.control == "" {
			v.s.control = text
		}
		return nil
	case "forward", "cancel", "proxy", "conninfo", "channels":
		return v.s.refuse("-O " + text + " (a connection of ssh's that is shared between processes)")("")
	}
	return errors.New("want check, stop or exit")
}

// background is this process as one that keeps a connection. It has nobody to tell anything.
func (p *program) background(ctx context.Context) int {
	if persist.Background(ctx, version) != nil {
		return exitOurs
	}
	return 0
}

func (p *program) persistTarget() persist.Target {
	return persist.Target{
		Key: p.target.key.Token.Key, Address: p.target.address, Transport: p.options.transport(p.settings), Version: version,
	}
}

// control does what -O says. As with ssh, callers go by the exit code: 0 if there is a process, else 255.
func (p *program) control(ctx context.Context) int {
	err := p.locate()
	if err == nil {
		err = p.chooseFamily(ctx)
	}
	if err != nil {
		return p.fail(err)
	}
	verbs := map[string]struct {
		do   func(context.Context, persist.Target) (int, error)
		says string
	}{
		"check": {persist.Check, "keeps a connection to"},
		"stop":  {persist.Stop, "ends with its last command on"},
		"exit":  {persist.Exit, "ends its connection to"},
	}
	verb := verbs[p.options.ssh.control]
	pid, err := verb.do(ctx, p.persistTarget())
	if err != nil {
		return p.fail(fmt.Errorf("%s: %w", p.target.address, err))
	}
	if !p.options.quiet {
		notef(p.words, "the background process %d %s %s", pid, verb.says, p.target.address)
	}
	return 0
}

// keeping is what this invocation has to do with a background process. Nil: nothing.
type keeping struct {
	p     *program
	idle  time.Duration
	found chan found    // what there is
	ended chan struct{} // this invocation is about to
	wg    sync.WaitGroup
}

// found is the answer of a background process.
type found struct {
	proven *client.Proven
	pid    int
	err    error
}

// keeping asks the background process, in the background: there is more to prepare. It returns nil unless the
// user wants one.
func (p *program) keeping(ctx context.Context) *keeping {
	idle := p.options.persistTime(p.settings)
	if idle == 0 {
		return nil
	}
	k := &keeping{p: p, idle: idle, found: make(chan found, 1), ended: make(chan struct{})}
	go func() { // it ends soon, and end takes what nobody asked for
		defer close(k.found)
		proven, pid, err := persist.Use(ctx, p.persistTarget(), idle)
		k.found <- found{proven, pid, err}
	}()
	return k
}

// use is the client's way to the background process.
func (k *keeping) use() func(context.Context) (*client.Proven, error) {
	if k == nil {
		return nil
	}
	return func(context.Context) (*client.Proven, error) {
		f := <-k.found
		switch {
		case f.err == nil:
			k.p.logf("over the connection of the background process %d", f.pid)
		case errors.Is(f.err, persist.ErrHung), errors.Is(f.err, persist.ErrNone):
			k.wg.Go(func() { k.begin(errors.Is(f.err, persist.ErrHung)) })
		}
		return f.proven, f.err
	}
}

// beginAfter is for how long a command is left alone before a background process is started beside it.
const beginAfter = 100 * time.Millisecond

// begin starts a background process once this invocation has a connection of its own: at the end of a short
// command, which so waits for nothing, and soon in a long one. What keeps it from it is no error of the
// command's.
func (k *keeping) begin(replace bool) {
	again := time.NewTicker(beginAfter)
	defer again.Stop()
	for last := false; k.p.client.Transport() == ""; {
		if last {
			return
		}
		select {
		case <-again.C:
		case <-k.ended:
			last = true
		}
	}
	err := persist.Start{
		Target: k.p.persistTarget(), KeyFile: k.p.target.key.Path, Typed: k.p.options.destination,
		Idle: k.idle, Timeout: k.p.connectTimeout(), Replace: replace,
	}.Begin()
	if err != nil {
		k.p.logf("no background process: %v", err)
		return
	}
	k.p.logf("a background process keeps the connection until nobody has used it for %s", k.idle)
}

// end is called before the client is closed.
func (k *keeping) end() {
	if k == nil {
		return
	}
	close(k.ended)
	k.wg.Wait()
	if f := <-k.found; f.proven != nil {
		_ = f.proven.Channel.Close()
	}
}
