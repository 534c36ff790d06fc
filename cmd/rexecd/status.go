package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"rexec/internal/unixsock"
)

// status is the document that a daemon tells of itself. The manual page describes it.
type status struct {
	Version      string           `json:"version"`
	PID          int              `json:"pid"`
	State        string           `json:"state"`
	Started      time.Time        `json:"started"`
	Server       string           `json:"server"`
	StateDir     string           `json:"state_dir"`
	Listeners    []listenerStatus `json:"listeners"`
	Keys         int              `json:"keys"`
	KeyFileError string           `json:"key_file_error,omitempty"`
	Reload       *reloadStatus    `json:"reload,omitempty"`
	Unproven     uint64           `json:"unproven"`
	Sessions     []sessionStatus  `json:"sessions"`
	Jobs         []jobStatus      `json:"jobs"`
}

type listenerStatus struct {
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
}

type reloadStatus struct {
	Time  time.Time `json:"time"`
	Error string    `json:"error,omitempty"`
}

type sessionStatus struct {
	Key       string    `json:"key"`
	Peer      string    `json:"peer"`
	Transport string    `json:"transport"`
	Since     time.Time `json:"since"`
}

type jobStatus struct {
	ID       string    `json:"id"`
	Name     string    `json:"name,omitempty"`
	Key      string    `json:"key"`
	Account  string    `json:"account,omitempty"`
	PID      int       `json:"pid"`
	Since    time.Time `json:"since"`
	Stdin    uint64    `json:"stdin_bytes"`
	Stdout   uint64    `json:"stdout_bytes"`
	Stderr   uint64    `json:"stderr_bytes"`
	Attached bool      `json:"attached"`
	Ending   bool      `json:"ending,omitempty"`
	Command  string    `json:"command"`
}

// notRunningError is that there is no daemon to ask.
type notRunningError struct{ dir string }

func (e *notRunningError) Error() string { return "no daemon is running on " + e.dir }

// showStatus asks the daemon of the state directory how it is.
func showStatus(ctx context.Context, c *common, args []string, io streams) error {
	set := c.flags("status")
	raw := set.Bool("json", false, "")
	if err := c.parseAll(set, args); err != nil {
		return err
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	text, err := askStatus(ctx, dir)
	if err != nil {
		return err
	}
	if *raw {
		_, err = io.out.Write(text)
		return err
	}
	var st status
	if err := json.Unmarshal(text, &st); err != nil {
		return fmt.Errorf("reading what the daemon says (is it of another version?): %w", err)
	}
	return st.print(io.out, time.Now())
}

// patience is how long a daemon may take to tell its status: it has others to serve.
const patience = 10 * time.Second

// askStatus returns the document as the daemon wrote it.
func askStatus(ctx context.Context, dir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := unixsock.Dial(ctx, controlPath(dir))
	var long *unixsock.LengthError
	switch {
	case errors.As(err, &long):
		return nil, fmt.Errorf("a daemon there cannot be asked; choose a shorter --state-dir: %w", err)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, &notRunningError{dir}
	case err != nil:
		return nil, fmt.Errorf("asking the daemon: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	text, err := io.ReadAll(conn)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("the daemon does not answer within %s; is it stopped, or the machine overloaded?", patience)
	case err != nil:
		return nil, fmt.Errorf("reading what the daemon says: %w", err)
	}
	if !strings.HasSuffix(string(text), "\n") {
		return nil, errors.New("the daemon ended before it had told its status")
	}
	return text, nil
}

// print writes the document for a person. What comes from others was made visible by the daemon, or is a key's
// name or an address.
func (s *status) print(out io.Writer, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "rexecd %s\t%s, pid %d, since %s\n", s.Version, s.State, s.PID, when(s.Started, now))
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("server", s.Server)
	row("state in", s.StateDir)
	for i, l := range s.Listeners {
		row(onlyFirst("listening", i), l.Protocol+" "+l.Address)
	}
	row("keys", fmt.Sprint(s.Keys))
	rowLines(row, "key file", s.KeyFileError)
	if r := s.Reload; r != nil {
		row("reloaded", when(r.Time, now))
		rowLines(row, "with error", r.Error)
	}
	row("connections", fmt.Sprintf("%d, and %d without a proof as yet", len(s.Sessions), s.Unproven))
	row("commands", fmt.Sprint(len(s.Jobs)))
	if err := w.Flush(); err != nil {
		return err
	}
	if err := s.printSessions(w, now); err != nil {
		return err
	}
	return s.printJobs(w, now)
}

func (s *status) printSessions(w *tabwriter.Writer, now time.Time) error {
	if len(s.Sessions) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nKEY\tPEER\tOVER\tSINCE")
	for _, c := range s.Sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Key, c.Peer, c.Transport, when(c.Since, now))
	}
	return w.Flush()
}

// maxColumn is how many characters of a command a line of the table has.
const maxColumn = 60

func (s *status) printJobs(w *tabwriter.Writer, now time.Time) error {
	if len(s.Jobs) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nID\tKEY\tACCOUNT\tPID\tSINCE\tSTDIN\tSTDOUT\tSTDERR\tCLIENT\tCOMMAND")
	for _, j := range s.Jobs {
		client := "away"
		switch {
		case j.Ending:
			client = "ending"
		case j.Attached:
			client = "here"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Key, orElse(j.Account, "-"), j.PID,
			when(j.Since, now), size(j.Stdin), size(j.Stdout), size(j.Stderr), client, shorten(j.Command, maxColumn))
	}
	return w.Flush()
}

// rowLines writes a text that may have several lines.
func rowLines(row func(name, value string), name, text string) {
	if text == "" {
		return
	}
	i := 0
	for line := range strings.Lines(text) {
		row(onlyFirst(name, i), strings.TrimSuffix(line, "\n"))
		i++
	}
}

func onlyFirst(s string, i int) string {
	if i == 0 {
		return s
	}
	return ""
}

// when is a time by the clock of this machine, and how long ago it was.
func when(t, now time.Time) string {
	return t.Local().Format(time.DateTime) + " (" + ago(now.Sub(t)) + ")"
}

// ago is a span in its largest unit.
func ago(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if n := d / unit.d; n > 0 {
			return fmt.Sprintf("%d%s ago", n, unit.name)
		}
	}
	return "now"
}

// size is a number of bytes with three digits and the prefixes of IEC 80000-13.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, prefixes := float64(n)/1024, "KMGTPE"
	for f >= 1000 && len(prefixes) > 1 {
		f, prefixes = f/1024, prefixes[1:]
	}
	return fmt.Sprintf("%.3g %ciB", f, prefixes[0])
}
