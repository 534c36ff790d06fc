//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// stopAndGoOn stops this program and what was started with it, and returns once it goes on where it can draw: in the
// foreground. The end of ctx ends the waiting for that.
func stopAndGoOn(ctx context.Context, in *os.File) {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	suspend()
	const moment = time.Second // where there is no shell to go on from, no stop comes
	select {
	case <-continued:
	case <-time.After(moment):
	}
	for !inForeground(in) && ctx.Err() == nil {
		<-time.After(lookEvery)
	}
}
