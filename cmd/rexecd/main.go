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
	"time"
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

// oneEvent is how close together two signals count as one: timeout(1) sends one to the program and one to its group.
const oneEvent = 100 * time.Millisecond

// untilSignals returns a context that ends with ctx or the first of these signals, and one that ends with the second
// that does not come together with it.
// They are counted from now on: one that came while nobody asked for the second would be lost.
func untilSignals(ctx context.Context, signals []os.Signal, together time.Duration) (first, second context.Context, stop func()) {
	first, end := context.WithCancel(ctx)
	second, hurry := context.WithCancel(context.WithoutCancel(ctx))
	came, over := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(came, signals...)
	var wg sync.WaitGroup
	wg.Go(func() {
		var last time.Time
		for _, cancel := range []context.CancelFunc{end, hurry} {
			for again := true; again; again = time.Since(last) < together {
				select {
				case <-came:
				case <-over:
					return
				}
			}
			last = time.Now()
			cancel()
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
