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
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(report(os.Stderr, err))
}
