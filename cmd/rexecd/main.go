// Command rexecd runs shell commands for clients that prove a shared key.
//
// It owns the wiring: it reads the configuration and the state directory, puts listeners, jobs and the
// privileged half together, and administers keys. Nothing is decided here that a package decides.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build.
var version = "devel" //nolint:gochecknoglobals // the linker can set nothing else

func main() {
	// A second signal ends the drain at once; stop restores the default for a third.
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	err := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(report(os.Stderr, err))
}

// endSignals are those that end the daemon. An interrupt that was ignored when it started, as a shell
// does for what it puts in the background, is not for it.
func endSignals() []os.Signal {
	if signal.Ignored(syscall.SIGINT) {
		return []os.Signal{syscall.SIGTERM}
	}
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT}
}
