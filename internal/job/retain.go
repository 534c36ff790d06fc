package job

import (
	"os"
	"time"
)

// forget ends an ended job's retention: its ID is free again.
func (t *Table) forget(j *Job) {
	j.mu.Lock()
	attached := j.att != nil
	if !attached {
		j.forgetOutput()
	}
	j.mu.Unlock()
	if attached { // a client is still reading it
		time.AfterFunc(t.options.Retain, func() { t.forget(j) })
		return
	}
	t.mu.Lock()
	delete(t.jobs, tableKey{j.KeyID, j.ID})
	t.mu.Unlock()
}

// evict keeps the output of ended jobs within its bound, giving up the oldest first. A client that
// comes back too late is told how much it lost.
func (t *Table) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	total := 0
	keep := t.unread[:0]
	for i := len(t.unread) - 1; i >= 0; i-- { // newest first
		total += t.unread[i].evictBeyond(t.options.RetainBytes - total)
	}
	for _, j := range t.unread {
		if j.holds() > 0 {
			keep = append(keep, j)
		}
	}
	clear(t.unread[len(keep):])
	t.unread = keep
}

// holds is the number of bytes in memory that a client may still want.
func (j *Job) holds() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.held()
}

// held is holds with the lock held.
func (j *Job) held() int {
	n := j.out[0].log.Len() + j.out[1].log.Len()
	if j.exit != nil {
		n += len(j.exit.ShellState) + len(j.exit.Unread)
	}
	return n
}

// evictBeyond forgets the output, the shell's state and what nobody read if it is more than room and nobody reads it, and returns what stays.
func (j *Job) evictBeyond(room int) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := j.held()
	if n > room && j.att == nil {
		j.forgetOutput()
		j.exit.ShellState, j.exit.Unread = nil, nil
		return 0
	}
	return n
}

// discard reads a pipe that only background processes hold, to its end or to the table's shutdown.
func (t *Table) discard(f *os.File) {
	_ = f.SetReadDeadline(time.Time{})
	t.mu.Lock()
	t.held[f] = struct{}{}
	t.mu.Unlock()
	t.discards.Go(func() {
		buf := make([]byte, 4<<10)
		for {
			if _, err := f.Read(buf); err != nil {
				break
			}
		}
		t.mu.Lock()
		delete(t.held, f)
		t.mu.Unlock()
		f.Close()
	})
}
