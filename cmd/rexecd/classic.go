package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/classic"
	"rexec/internal/config"
)

// classicListeners serve the classic protocols; all zero while [classic] is off.
type classicListeners struct {
	server *classic.Server
	tcp    net.Listener
	udp    net.PacketConn
	newest *os.File // see openNewest; nil unless datagrams are authenticated
}

// vouchFor is the key that clients without a proof act as, none unless there are such clients.
func vouchFor(c config.Classic) string {
	if !c.On() {
		return ""
	}
	return c.Key
}

// listenClassic opens the listeners that [classic] asks for, and the file beside the keys that it needs.
func (d *daemon) listenClassic(ctx context.Context, dir string) error {
	c := d.cfg.Classic
	if !c.On() {
		return nil
	}
	o, err := classicOptions(c)
	if err != nil {
		return err
	}
	if c.ListenUDP != "" && o.Auth != classic.NoAuth {
		if d.classic.newest, o.Newest, err = openNewest(filepath.Join(dir, "classic-newest")); err != nil {
			return unusable(err)
		}
		o.Remember = d.remember
	}
	o.HandshakeTimeout, o.Log, o.Observer = d.cfg.Server.HandshakeTimeout, d.log, d.classicObserver()
	d.classic.server = classic.New(d.runner, d.jobs, o)
	var lc net.ListenConfig
	if c.ListenTCP != "" {
		if d.classic.tcp, err = lc.Listen(ctx, "tcp", c.ListenTCP); err != nil {
			return fmt.Errorf("listening for classic.listen_tcp: %w", err)
		}
		if err := allowed("classic.listen_tcp", d.classic.tcp.Addr(), c.Insecure); err != nil {
			return err
		}
	}
	if c.ListenUDP != "" {
		if d.classic.udp, err = lc.ListenPacket(ctx, "udp", c.ListenUDP); err != nil {
			return fmt.Errorf("listening for classic.listen_udp: %w", err)
		}
		return allowed("classic.listen_udp", d.classic.udp.LocalAddr(), c.Insecure)
	}
	return nil
}

// openNewest opens the file that holds the time of the newest datagram that was ever taken, in
// milliseconds since 1970, so that a daemon that is started again takes none twice.
func openNewest(path string) (*os.File, time.Time, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("opening the file of the newest datagram: %w", err)
	}
	var b [8]byte
	switch n, err := f.ReadAt(b[:], 0); {
	case n == len(b):
		return f, time.UnixMilli(int64(binary.BigEndian.Uint64(b[:]))), nil
	case errors.Is(err, io.EOF) && n == 0:
		return f, time.Time{}, nil
	default:
		f.Close()
		return nil, time.Time{}, fmt.Errorf("%s does not hold the time of the newest datagram (wait half a minute, then remove it): %w", path, err)
	}
}

// remember writes to that file. It is not synced: what matters is that it outlives this process, and a
// machine takes longer to start again than a datagram is good for.
func (d *daemon) remember(newest time.Time) error {
	_, err := d.classic.newest.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(newest.UnixMilli())), 0)
	if err != nil {
		d.log.Error("classic datagrams are dropped while their time cannot be written down", zap.Error(err))
	}
	return err
}

// allowed looks at what a name in the configuration turned out to mean.
func allowed(key string, a net.Addr, insecure bool) error {
	if insecure || classic.Loopback(a) {
		return nil
	}
	return unusable(fmt.Errorf("%s: %s is reached from other machines, and the classic protocols are plain text "+
		"(listen on 127.0.0.1, or set classic.insecure = true)", key, a))
}

func classicOptions(c config.Classic) (classic.Options, error) {
	o := classic.Options{
		Both: c.Output == "both", Lines: c.Split == "newline", Insecure: c.Insecure,
		Pause: c.Pause, IdleTimeout: c.IdleTimeout, UDPTimeout: c.UDPTimeout,
		MaxConnections: c.MaxConnections, MaxAnswer: c.MaxAnswer,
	}
	var err error
	if o.Auth, err = classic.ParseAuth(c.Auth); err != nil || o.Auth == classic.NoAuth {
		return o, err
	}
	if o.Secret, err = auth.ReadShared(c.SecretFile); err != nil {
		return o, unusable(fmt.Errorf("reading classic.secret_file: %w", err))
	}
	return o, nil
}

// announceClassic says where the listeners are and who gets in there.
func (d *daemon) announceClassic() {
	c := d.cfg.Classic
	if d.classic.tcp != nil {
		d.announceListener("tcp", d.classic.tcp.Addr())
	}
	if d.classic.udp != nil {
		d.announceListener("udp", d.classic.udp.LocalAddr())
	}
	if !c.On() {
		return
	}
	if !slices.ContainsFunc(d.store.Keys(), func(k auth.Key) bool { return k.ID == c.Key }) {
		d.log.Warn("there is no key called as in classic.key, so classic clients are refused; make it with: rexecd key add NAME",
			zap.String("key", c.Key))
	}
}

func (d *daemon) announceListener(protocol string, a net.Addr) {
	c := d.cfg.Classic
	fields := []zap.Field{zap.String("protocol", protocol), zap.Stringer("address", a), zap.String("key", c.Key),
		zap.String("auth", c.Auth)}
	d.log.Info("listening for classic clients", fields...)
	open := c.Auth == "none"
	switch far := !classic.Loopback(a); {
	case far && open:
		d.log.Warn("classic clients are served in plain text on an address that other machines reach, and prove "+
			"nothing: whoever reaches it runs commands with the key; set classic.auth, or listen on 127.0.0.1", fields...)
	case far:
		d.log.Warn("classic clients are served in plain text on an address that other machines reach: "+
			"whoever is on the way reads commands and answers, and can change them", fields...)
	case open:
		d.log.Warn("classic clients prove nothing: every user of this machine can run commands with the key; "+
			"set classic.auth to change that", fields...)
	}
}

// services are what is to run until the daemon ends.
func (l *classicListeners) services() []func(context.Context) error {
	var all []func(context.Context) error
	if l.tcp != nil {
		all = append(all, func(ctx context.Context) error { return l.server.Serve(ctx, l.tcp) })
	}
	if l.udp != nil {
		all = append(all, func(ctx context.Context) error { return l.server.ServePacket(ctx, l.udp) })
	}
	return all
}

// close closes what was opened, also before it was served.
func (l *classicListeners) close() {
	if l.tcp != nil {
		l.tcp.Close()
	}
	if l.udp != nil {
		_ = l.udp.Close()
	}
	if l.newest != nil {
		l.newest.Close()
	}
}
