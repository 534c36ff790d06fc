package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"rexec/internal/auth"
)

// chooseFamily looks the host's address up if only one of IPv4 and IPv6 will do. Else the name is left to
// the dialer, which tries all addresses that it has.
func (p *program) chooseFamily(ctx context.Context) error {
	network, name := "ip4", "IPv4"
	switch p.options.ssh.family.value {
	case "inet":
	case "inet6":
		network, name = "ip6", "IPv6"
	default:
		return nil
	}
	host, port, err := net.SplitHostPort(p.target.address)
	if err != nil {
		return err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return fmt.Errorf("looking up an address of %s for %s: %w", host, name, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("looking up an address of %s: it has none for %s", host, name)
	}
	p.target.address = net.JoinHostPort(found[0].Unmap().String(), port)
	return nil
}

// connectPatiently makes all but the last of the attempts to connect that ConnectionAttempts allows, a second
// apart. The last one is that of the command, and tells what is wrong.
func (p *program) connectPatiently(ctx context.Context) {
	attempts, _ := strconv.Atoi(p.options.ssh.attempts.value)
	for try := 1; try < attempts; try++ {
		err := p.client.Connect(ctx)
		var denied *auth.DeniedError
		if err == nil || errors.As(err, &denied) || errors.Is(err, auth.ErrRefused) {
			return
		}
		p.logf("attempt %d of %d to connect: %v", try, attempts, err)
		again := time.NewTimer(time.Second)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}
