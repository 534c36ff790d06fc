package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/unixsock"
)

// controlPath is the socket in a state directory that tells the status. Who may connect is decided by its mode,
// 0600, and that of the directory: root and the daemon's own account, which could look into the daemon's memory
// as well. So nobody's credentials are asked for on top of it.
func controlPath(dir string) string { return filepath.Join(dir, "control") }

// controlTime is how long somebody who asks and does not read may keep others waiting.
const controlTime = 2 * time.Second

// shown is what status tells of a daemon and what it is read from.
type shown struct {
	daemon    *daemon
	began     time.Time
	dir       string
	id        auth.ServerID
	healthy   func() error
	listeners []listenerStatus
}

func (s *shown) listen(protocol string, a net.Addr) {
	s.listeners = append(s.listeners, listenerStatus{protocol, addressOf(a)})
}

// openControl serves the status until stop is called. A daemon can do without: what goes wrong is logged. The
// caller holds the lock of the state directory, so a socket that is there already is nobody's.
func openControl(ctx context.Context, s *shown) (stop func()) {
	log := s.daemon.log
	ln, err := unixsock.Listen(ctx, controlPath(s.dir), 0o600)
	if err != nil {
		log.Warn("rexecd status cannot ask this daemon", zap.Error(err))
		return func() {}
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			switch {
			case err == nil:
				tell(conn, s.status())
				continue
			case errors.Is(err, net.ErrClosed):
				return
			}
			log.Warn("taking a request for the status", zap.Error(err))
			select {
			case <-ended:
			case <-time.After(time.Second):
			}
		}
	})
	return func() {
		close(ended)
		ln.Close()
		wg.Wait()
	}
}

// tell writes the document, one object on one line, and asks for nothing.
func tell(conn net.Conn, st status) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(controlTime))
	enc := json.NewEncoder(conn)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(st) // or who asked has left
}

// status takes a picture of the daemon.
func (s *shown) status() status {
	d := s.daemon
	counts := d.server.Counts()
	st := status{
		Version: version, PID: os.Getpid(), State: "running", Started: s.began, Server: s.id.String(),
		StateDir: s.dir, Listeners: s.listeners, Keys: len(d.store.Keys()),
		Unproven: counts.Unproven.TCP + counts.Unproven.UDP,
		Sessions: []sessionStatus{}, Jobs: []jobStatus{},
	}
	if err := s.healthy(); err != nil {
		st.State = err.Error()
	}
	if err := d.store.Problem(); err != nil {
		st.KeyFileError = visibleLines(err.Error())
	}
	if last, _, err := d.reloads.get(); !last.IsZero() {
		st.Reload = &reloadStatus{Time: last}
		if err != nil {
			st.Reload.Error = visibleLines(err.Error())
		}
	}
	for _, i := range d.server.Sessions() {
		st.Sessions = append(st.Sessions, sessionStatus{i.KeyID, i.Peer, i.Transport, i.Since})
	}
	if d.classic.server != nil {
		for _, i := range d.classic.server.Clients() {
			st.Sessions = append(st.Sessions, sessionStatus{i.KeyID, i.Peer, classicTCP, i.Since})
		}
	}
	for _, i := range d.jobs.Jobs() {
		st.Jobs = append(st.Jobs, showJob(i))
	}
	slices.SortFunc(st.Sessions, func(a, b sessionStatus) int { return a.Since.Compare(b.Since) })
	slices.SortFunc(st.Jobs, func(a, b jobStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return st
}

func showJob(i job.Info) jobStatus {
	j := jobStatus{
		ID: i.ID.String(), Name: visible([]byte(i.Name)), Key: i.KeyID, Account: i.Account, PID: i.PID, Since: i.Started,
		Stdin: i.Bytes[0], Stdout: i.Bytes[1], Stderr: i.Bytes[2], Attached: i.Attached, Ending: i.Ending,
	}
	switch {
	case i.Script && i.Terminal:
		j.Command = "(a login shell)"
	case i.Script:
		j.Command = "(a script on stdin)"
	case i.Subsystem != "":
		j.Command = "(subsystem " + visible([]byte(i.Subsystem)) + ")"
	case len(i.Argv) > 0:
		var words []string
		for _, w := range i.Argv {
			words = append(words, shorten(visible(w), maxShown))
		}
		j.Command = shorten(strings.Join(words, " "), maxShown)
	default:
		j.Command = shorten(visible(i.Shell), maxShown)
	}
	return j
}

// maxShown is how many characters of a command the document has.
const maxShown = 400

// visible makes a client's bytes safe to look at: what is not a printable character is escaped as in Go.
func visible(b []byte) string {
	b = b[:min(len(b), utf8.UTFMax*(maxShown+1))] // so that what is left out is seen to be
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case strconv.IsPrint(r) && (r != utf8.RuneError || n > 1):
			out.Write(b[:n])
		default:
			q := strconv.Quote(string(b[:n]))
			out.WriteString(q[1 : len(q)-1])
		}
		b = b[n:]
	}
	return out.String()
}

// visibleLines is visible for texts of ours that may quote others, line by line.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = visible([]byte(lines[i]))
	}
	return strings.Join(lines, "\n")
}

// shorten keeps at most n characters.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
