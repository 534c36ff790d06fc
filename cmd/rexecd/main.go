// Command rexecd runs shell commands for clients that prove a shared key.
//
// It owns the wiring: it reads the configuration and the state directory, puts listeners, jobs and the
// privileged half together, and administers keys. Nothing is decided here that a package decides.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// version is set by the build.
var version = "devel" //nolint:gochecknoglobals // the linker can set nothing else

func main() {
	// For all verbs; serve counts them itself. After stop a further one has its default effect.
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

// untilSignals returns a context that ends with ctx or the first of these signals, and one that ends with the second.
// They are counted from now on: one that came while nobody asked for the second would be lost.
func untilSignals(ctx context.Context, signals []os.Signal) (first, second context.Context, stop func()) {
	first, end := context.WithCancel(ctx)
	second, hurry := context.WithCancel(context.WithoutCancel(ctx))
	came, over := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(came, signals...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, cancel := range []context.CancelFunc{end, hurry} {
			select {
			case <-came:
				cancel()
			case <-over:
				return
			}
		}
	})
	return first, second, func() {
		signal.Stop(came)
		close(over)
		wg.Wait()
		end()
		hurry()
	}
}
