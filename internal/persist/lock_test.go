//go:build linux

package persist

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// TestLock: one of many has it, and after him another one, although the file is removed in between.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var have, times atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for got := 0; got < 20; {
				l, err := takeLock(path)
				if errors.Is(err, errLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if have.Add(1) != 1 {
					t.Error("two have the lock")
				}
				got++
				times.Add(1)
				have.Add(-1)
				l.give(path)
			}
		})
	}
	wg.Wait()
	if times.Load() != 160 {
		t.Errorf("%d times", times.Load())
	}
}

// TestHolder: it is who has the lock, not who once had it.
func TestHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if pid := holder(path); pid != 0 {
		t.Errorf("no file: %d", pid)
	}
	l, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if pid := holder(path); pid != 0 {
		t.Errorf("before he has signed: %d", pid)
	}
	if err := l.sign(); err != nil {
		t.Fatal(err)
	}
	if pid := holder(path); pid != os.Getpid() {
		t.Errorf("%d, want %d", pid, os.Getpid())
	}
	l.Close() // as at the end of a process that was killed
	if pid := holder(path); pid != 0 {
		t.Errorf("after his end: %d", pid)
	}
	again, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.give(path)
	if pid := holder(path); pid != 0 {
		t.Errorf("the next one has not signed: %d", pid)
	}
}

// TestLockIsNoLink: whoever can write there chooses no other file to be emptied.
func TestLockIsNoLink(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := errors.Join(os.WriteFile(precious, []byte("text"), 0o600), os.Symlink(precious, filepath.Join(dir, "lock"))); err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(filepath.Join(dir, "lock")); err == nil {
		t.Error("the lock is behind a symbolic link")
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
}

// TestNobodyElseIsKilled: who only stands in the file, and is not who listens and hangs, is left alone.
func TestNobodyElseIsKilled(t *testing.T) {
	_, target, socket := stranger(t)
	id, err := target.ID()
	if err != nil {
		t.Fatal(err)
	}
	bystander := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = bystander.Process.Kill()
		_ = bystander.Wait()
	}()
	l, err := takeLock(socket + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer l.give(socket + lockSuffix)
	if _, err := fmt.Fprint(l, bystander.Process.Pid); err != nil {
		t.Fatal(err)
	}
	listen(t, socket)
	if got, err := depose(t.Context(), socket+lockSuffix, id); !errors.Is(err, errLocked) {
		t.Errorf("%v, %v", got, err)
	}
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", bystander.Process.Pid))
	if err != nil || strings.Contains(string(state), ") Z ") {
		t.Errorf("the bystander has ended: %s, %v", state, err)
	}
	if pid := listener(t.Context(), socket); pid != os.Getpid() {
		t.Errorf("%d listens, not %d", pid, os.Getpid())
	}
}
