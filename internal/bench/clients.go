//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rexec/internal/client"
)

// manyClients is row 13: clients that are all connected and then all run a command at the same moment.
func manyClients(ctx context.Context, l *lab) ([]result, error) {
	n, err := affordable(l.times(1000, 200))
	if err != nil {
		return nil, err
	}
	tcp, udp := l.clients(n, client.TCP), l.clients(n, client.UDP)
	if err := alternate(ctx, l.times(3, 1), tcp, udp); err != nil {
		return nil, err
	}
	return []result{{
		What: fmt.Sprintf("%d clients over UDP, `sh -c true` each, all at once", n), Beside: "the same over TCP", Unit: ms,
		Theirs: tcp.median(), Ours: udp.median(), Runs: len(udp.values),
	}}, nil
}

// clients is a contender that connects n clients, which is not counted, and lets all of them run a command.
func (l *lab) clients(n int, over client.Transport) *contender {
	return milliseconds(func(ctx context.Context) (time.Duration, error) {
		all := make([]*client.Client, n)
		for i := range all {
			all[i] = l.rexecd.over(over)
			defer func() { _ = all[i].Close() }() // nothing is lost with it
		}
		if err := connect(ctx, all); err != nil {
			return 0, err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		var wg sync.WaitGroup
		begin := time.Now()
		for _, c := range all {
			wg.Go(func() {
				if err := runTrue(ctx, c); err != nil {
					cancel(err)
				}
			})
		}
		wg.Wait()
		return time.Since(begin), context.Cause(ctx)
	})
}
