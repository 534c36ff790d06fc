package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rexec/internal/proto"
)

// Ledger remembers on disk which named executions were started and how they ended, so that a later
// process may ask again without running them again, even after the daemon or the machine went down.
type Ledger struct {
	dir  string
	keep time.Duration
}

// entry is one file of the ledger.
type entry struct {
	Key     string    `json:"key"`
	Name    string    `json:"name"`
	Digest  string    `json:"digest"`         // of the whole request
	Started time.Time `json:"started"`        // when the intent was written
	Exit    []byte    `json:"exit,omitempty"` // the exit record's message; absent while it runs
}

// OpenLedger keeps the ledger in dir, made if it is missing, and removes what is older than keep.
func OpenLedger(dir string, keep time.Duration) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the ledger of named executions: %w", err)
	}
	l := &Ledger{dir: dir, keep: keep}
	return l, l.prune()
}

func (l *Ledger) prune() error {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("reading the ledger of named executions: %w", err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > l.keep {
			_ = os.Remove(filepath.Join(l.dir, f.Name()))
		}
	}
	return nil
}

// ForgetLedger removes a ledger, for a server that becomes another one: what the old one ran, the new one did not.
// A ledger that is missing is no error.
func ForgetLedger(dir string) error {
	// Under one name first, so that a half-removed ledger is never taken for the whole.
	gone := dir + ".forgotten"
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing the ledger of named executions: %w", err)
	}
	err := os.Rename(dir, gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.RemoveAll(gone)
	}
	if err != nil {
		return fmt.Errorf("removing the ledger of named executions: %w", err)
	}
	return syncDir(filepath.Dir(dir))
}

// path is a hash, so that no name of a client's choosing reaches the file system.
func (l *Ledger) path(j *Job) string {
	sum := sha256.Sum256([]byte(j.KeyID + "\x00" + string(j.ID[:])))
	return filepath.Join(l.dir, hex.EncodeToString(sum[:16]))
}

// begin writes the intent to start j. It returns a record if j must not be started: the outcome of an
// earlier run, a conflict, or that the ledger cannot be written.
func (l *Ledger) begin(j *Job) *proto.Exit {
	if l == nil {
		return Refused(proto.CauseUnsupported, "this server keeps no ledger of named executions")
	}
	old, err := l.read(j)
	switch {
	case err == nil && time.Since(old.Started) <= l.keep:
		return old.answer(j)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Refused(proto.CauseInternal, "the ledger of named executions cannot be read, so nothing was started")
	}
	e := entry{Key: j.KeyID, Name: j.Run.Name, Digest: hex.EncodeToString(j.digest[:]), Started: time.Now().UTC()}
	if err := l.write(j, e); err != nil {
		return Refused(proto.CauseInternal, "the ledger of named executions cannot be written, so nothing was started")
	}
	return nil
}

// recall is what the ledger knows of a request that must not be started any more; nil for nothing.
func (l *Ledger) recall(j *Job) *proto.Exit {
	if l == nil || j.Run.Name == "" {
		return nil
	}
	if e, err := l.read(j); err == nil {
		return e.answer(j)
	}
	return nil
}

// answer is what an entry of an earlier daemon, or of one that forgot the job, says to a new request.
func (e *entry) answer(j *Job) *proto.Exit {
	if e.Digest != hex.EncodeToString(j.digest[:]) {
		return conflict(j.Run)
	}
	if e.Exit == nil {
		return Lost(proto.CauseUnknown, fmt.Sprintf(
			"%q was started at %s and the daemon ended before it did", e.Name, e.Started.Format(time.RFC3339)))
	}
	x, err := proto.ParseExit(e.Exit[1:])
	if err != nil {
		return Lost(proto.CauseUnknown, "the stored outcome cannot be read")
	}
	x.Replayed = true
	return x
}

// end stores the outcome. If that fails the entry keeps saying "unknown", which is true.
func (l *Ledger) end(j *Job, x *proto.Exit) {
	if e, err := l.read(j); err == nil {
		written := *x
		written.ShellState, written.Unread = nil, nil // they have whatever secrets are in an environment, or were typed
		e.Exit = written.Append(nil)
		_ = l.write(j, *e)
	}
}

// cancel takes back an intent of which nothing was started.
func (l *Ledger) cancel(j *Job) { _ = os.Remove(l.path(j)) }

func (l *Ledger) read(j *Job) (*entry, error) {
	b, err := os.ReadFile(l.path(j))
	if err != nil {
		return nil, err
	}
	e := new(entry)
	if err := json.Unmarshal(b, e); err != nil || (e.Exit != nil && len(e.Exit) < 2) {
		return nil, errors.New("damaged ledger entry")
	}
	return e, nil
}

// write replaces the entry durably: the file, its name and the directory are synced.
func (l *Ledger) write(j *Job, e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(l.dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), l.path(j))
	}
	if err != nil {
		return err
	}
	return syncDir(l.dir)
}

// syncDir makes the names in a directory survive a crash (fsync(2)).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
