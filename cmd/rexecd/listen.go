package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"go.uber.org/zap"

	"rexec/internal/auth"
	"rexec/internal/proto"
	"rexec/internal/systemd"
	"rexec/internal/transport"
)

// sockets are what the daemon listens on: a TCP port, and the UDP port of the same number unless that is
// off, or whatever the service manager has handed over.
type sockets struct {
	tcp       []*transport.Listener
	udp       []*transport.QUICListener
	inherited bool
}

// portTries is how many free ports of TCP are tried until one is free for UDP, too.
const portTries = 20

// listen takes over the sockets that were handed over, or opens those that the configuration wants.
func (d *daemon) listen(ctx context.Context, id auth.Identity) (sockets, error) {
	given, err := systemd.Inherit()
	if err != nil {
		return sockets{}, err
	}
	if !given.None() {
		return d.wrap(given, id)
	}
	_, port, _ := net.SplitHostPort(d.cfg.Listen)
	for try := 1; ; try++ {
		s, err := d.listenOnce(ctx, id)
		if n, _ := strconv.Atoi(port); n != 0 || try == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return s, err
		}
	}
}

func (d *daemon) listenOnce(ctx context.Context, id auth.Identity) (sockets, error) {
	tcp, err := transport.Listen(ctx, d.cfg.Listen, id.Key, transport.Options{ALPN: proto.ALPN})
	if err != nil {
		return sockets{}, err
	}
	s := sockets{tcp: []*transport.Listener{tcp}}
	if !d.cfg.Server.UDP {
		return s, nil
	}
	host, _, _ := net.SplitHostPort(d.cfg.Listen)
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	udp, err := transport.ListenQUIC(ctx, net.JoinHostPort(host, port), id.Key, d.quicOptions(id))
	if err != nil {
		tcp.Close()
		return sockets{}, err
	}
	s.udp = []*transport.QUICListener{udp}
	return s, nil
}

// wrap serves the sockets that the service manager listens on: all of them, since whoever wrote its unit
// file wanted that.
func (d *daemon) wrap(given systemd.Sockets, id auth.Identity) (sockets, error) {
	s := sockets{inherited: true}
	for _, ln := range given.TCP {
		l, err := transport.Wrap(ln, id.Key, transport.Options{ALPN: proto.ALPN})
		if err != nil {
			given.Close()
			return sockets{}, fmt.Errorf("serving the socket that was handed over: %w", err)
		}
		s.tcp = append(s.tcp, l)
	}
	for _, c := range given.UDP {
		l, err := transport.WrapQUIC(c, id.Key, d.quicOptions(id))
		if err != nil {
			given.Close()
			return sockets{}, fmt.Errorf("serving the socket that was handed over: %w", err)
		}
		s.udp = append(s.udp, l)
	}
	return s, nil
}

func (d *daemon) quicOptions(id auth.Identity) transport.QUICOptions {
	return transport.QUICOptions{
		Options: transport.Options{ALPN: proto.ALPN}, ResetKey: id.ResetKey(),
		MaxPending: d.cfg.Server.MaxUnauthenticated, HandshakeTimeout: d.cfg.Server.HandshakeTimeout,
		Failed: d.server.Failed,
		Slow:   func(reason error) { d.log.Warn("UDP is slower than it could be", zap.Error(reason)) },
	}
}

// all are the listeners to serve.
func (s sockets) all() []net.Listener {
	var all []net.Listener
	for _, l := range s.tcp {
		all = append(all, l)
	}
	for _, l := range s.udp {
		all = append(all, l)
	}
	return all
}

// close ends the accepting. What was accepted goes on.
func (s sockets) close() {
	for _, ln := range s.all() {
		ln.Close()
	}
}

// release frees what outlives the listeners: the UDP sockets carry connections until the end.
func (s sockets) release() {
	for _, l := range s.udp {
		l.Release()
	}
}

func (d *daemon) announceSockets(s sockets, id auth.Identity) {
	fields := []zap.Field{zap.Stringer("address", s.all()[0].Addr()), zap.Bool("udp", len(s.udp) > 0),
		zap.Stringer("server", id.ID), zap.String("version", version), zap.Int("keys", len(d.store.Keys()))}
	if s.inherited {
		fields = append(fields, zap.Strings("handed_over", s.names()))
	}
	d.log.Info("listening", fields...)
}

// names are the listeners' addresses with their transports, as in tcp:[::]:8000.
func (s sockets) names() []string {
	var all []string
	for _, ln := range s.all() {
		all = append(all, ln.Addr().Network()+":"+ln.Addr().String())
	}
	return all
}
