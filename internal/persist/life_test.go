//go:build linux

package persist

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/rexectest"
)

// gone waits until nobody is to be asked any more, and the keeper has ended.
func (r *running) gone() {
	r.t.Helper()
	until(r.t, "no background process", func() bool {
		_, err := Check(r.t.Context(), r.target)
		return errors.Is(err, ErrNone)
	})
	r.wait()
	if _, err := os.Lstat(r.socket); !errors.Is(err, fs.ErrNotExist) {
		r.t.Errorf("the socket stays: %v", err)
	}
}

// TestIdle: it ends when nobody has used it for the time that was asked for, counted from the last use.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := keep(t, rexectest.New(t, rexectest.Options{Transport: over}), over, 50*time.Millisecond)
		r.gone()
	})
}

// TestUseExtends: a conversation in use keeps it, and a later invocation's time counts from its end.
func TestUseExtends(t *testing.T) {
	place(t)
	const idle = 500 * time.Millisecond
	r := keep(t, rexectest.New(t, rexectest.Options{}), client.TCP, time.Minute)
	p := r.use(idle)
	r.mu.Lock()
	r.deadline = time.Now().Add(idle)
	r.mu.Unlock()
	until(t, "a moment after the deadline", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return time.Now().After(r.deadline.Add(idle))
	})
	if _, err := Check(t.Context(), r.target); err != nil {
		t.Fatalf("it has ended under a conversation: %v", err)
	}
	used := time.Now()
	p.Channel.Close()
	r.gone()
	if lived := time.Since(used); lived < idle {
		t.Errorf("it ended %s after the last use, not %s", lived, idle)
	}
}

// TestOrders: stop lets what runs go on and takes nobody else; exit does not wait.
func TestOrders(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		c := r.client()
		if pid, err := Stop(t.Context(), r.target); err != nil || pid != os.Getpid() {
			t.Fatalf("%d, %v", pid, err)
		}
		if pid, err := Check(t.Context(), r.target); !errors.Is(err, ErrNone) {
			t.Fatalf("after its answer: %d, %v", pid, err)
		}
		// Another one has its place meanwhile.
		second := keep(t, r.d, over, time.Minute)
		if result, err := c.Run(t.Context(), shell("exit 3")); err != nil || result.Code != 3 || result.Resumed != 0 {
			t.Errorf("%+v, %v", result, err)
		}
		c.Close()
		r.wait()
		second.sh("true")
		if _, err := Exit(t.Context(), second.target); err != nil {
			t.Error(err)
		}
		second.gone()
	})
}

// TestServerRestarts: what the earlier daemon had is over, and nobody is given it.
func TestServerRestarts(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		r.sh("true")
		before := r.d.Table().Instance
		r.d.Restart()
		until(t, "an end of all conversations with the earlier one", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			for c := range r.all {
				if c.p.Choice.Instance == before {
					return false
				}
			}
			return r.opening == 0 // a further one may have been with the earlier daemon
		})
		used := false // if a further conversation was on its way, it may have found the new one
		c := client.New(r.options(&used))
		defer c.Close()
		if result, err := c.Run(t.Context(), shell("exit 5")); err != nil || result.Code != 5 || result.Resumed != 0 {
			t.Errorf("%+v, %v", result, err)
		}
	})
}

// TestRevoked: the end of the key is that of the process.
func TestRevoked(t *testing.T) {
	each(t, func(t *testing.T, over client.Transport) {
		r := start(t, over)
		r.sh("true")
		if err := auth.RevokeKey(r.d.KeysPath(), r.target.Key.KeyID); err != nil {
			t.Fatal(err)
		}
		r.gone()
	})
}

// TestKeyFile: a key file that holds another key, or is gone, ends it. The same key in a new file does not.
func TestKeyFile(t *testing.T) {
	place(t)
	r := start(t, client.TCP)
	text, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text string) {
		t.Helper()
		temp := r.file + ".new"
		if err := errors.Join(os.WriteFile(temp, []byte(text), 0o600), os.Rename(temp, r.file)); err != nil {
			t.Fatal(err)
		}
	}
	replace(string(text))
	until(t, "a look at the file", func() bool {
		now, err := os.Stat(r.file)
		r.mu.Lock()
		defer r.mu.Unlock()
		return err == nil && os.SameFile(now, r.key.info)
	})
	r.sh("true")
	other := r.d.Token()
	other.Key.Secret, err = auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	replace(other.Encode())
	r.gone()
}

// TestDirectoryVanishes, as that of a user who logs out.
func TestDirectoryVanishes(t *testing.T) {
	dir := place(t)
	r := start(t, client.TCP)
	r.sh("true")
	if err := os.RemoveAll(filepath.Join(dir, "rexec")); err != nil {
		t.Fatal(err)
	}
	r.wait()
}

// TestReplaced: a process whose place another one has taken touches nothing of that one's.
func TestReplaced(t *testing.T) {
	dir := place(t)
	first := start(t, client.TCP)
	if err := os.RemoveAll(filepath.Join(dir, "rexec")); err != nil {
		t.Fatal(err)
	}
	second := keep(t, first.d, client.TCP, time.Minute)
	first.wait()
	second.sh("true")
	l, err := takeLock(second.socket + ".lock")
	if !errors.Is(err, errLocked) {
		t.Errorf("the second one's lock: %v, %v", l, err)
	}
}
