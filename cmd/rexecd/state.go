package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"rexec/internal/auth"
)

// lockState keeps two daemons from using one state directory.
func lockState(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, unusable(fmt.Errorf("locking the state directory: %w", err))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid := make([]byte, 32)
		n, _ := f.Read(pid)
		f.Close()
		return nil, fmt.Errorf("already running (pid %s) with state directory %s", pid[:n], dir)
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "%d", os.Getpid())
	return func() { f.Close() }, nil
}

// usesEvery is how much of what it knows about the use of keys a daemon that crashes may lose.
const usesEvery = 5 * time.Second

// keepUses saves when keys are used until stop is called.
func (d *daemon) keepUses() (stop func()) {
	return d.background(func(ctx context.Context) {
		d.uses.Keep(ctx, usesEvery, d.store, func(err error) { d.log.Warn("only key show misses it", zap.Error(err)) })
	})
}

// keepClock saves the latest time seen until stop is called.
func (d *daemon) keepClock() (stop func()) {
	return d.background(func(ctx context.Context) {
		d.clock.Keep(ctx, auth.Keeping{Now: time.Now, Every: usesEvery, Store: d.store, Problem: func(err error) {
			d.log.Warn("a key that has ended must not begin again", zap.Error(err))
		}})
	})
}

// background runs f until stop is called, which waits for its end.
func (d *daemon) background(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}
