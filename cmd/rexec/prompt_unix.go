//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// onContinue calls back each time that this program goes on after a stop, until ctx ends.
func onContinue(ctx context.Context, back func()) {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	for {
		select {
		case <-continued:
			back()
		case <-ctx.Done():
			return
		}
	}
}

// stopAndGoOn stops this program and what was started with it, and returns once it goes on.
func stopAndGoOn() {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	suspend()
	const moment = time.Second // where there is no shell to go on from, no stop comes
	select {
	case <-continued:
	case <-time.After(moment):
	}
}
