//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"rexec/internal/auth"
	"rexec/internal/client"
)

// daemon is a rexecd of our own with one key, and a client's configuration that has it enrolled.
type daemon struct {
	*service
	address string
	token   auth.Token
	rexec   string   // the client program
	env     []string // for the client program
	store   *auth.ClientStore
}

// buildPrograms builds what is measured the way a release is built.
func buildPrograms(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "rexec/cmd/rexecd", "rexec/cmd/rexec")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs (run this inside the module): %w\n%s", err, out)
	}
	return nil
}

// daemonFiles is where a daemon's files lie, all in one directory, and what its configuration says.
type daemonFiles struct{ dir, config string }

// startDaemon starts the rexecd in bin.
func startDaemon(ctx context.Context, bin string, files daemonFiles, at site) (*daemon, error) {
	address, dir := at.address, files.dir
	d := &daemon{address: address, rexec: filepath.Join(bin, "rexec")}
	clientDir := filepath.Join(dir, "client")
	d.env = append(os.Environ(), "XDG_CONFIG_HOME="+clientDir)
	d.store = auth.OpenClientStore(filepath.Join(clientDir, "rexec"))
	for _, sub := range []string{clientDir, filepath.Join(dir, "state")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "rexecd.toml")
	if err := os.WriteFile(config, []byte(files.config+"\n"), 0o600); err != nil {
		return nil, err
	}
	common := []string{"--config", config, "--state-dir", filepath.Join(dir, "state")}
	program := filepath.Join(bin, "rexecd")
	line, err := exec.CommandContext(ctx, program,
		append([]string{"key", "add", "bench", "--address", address}, common...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("adding a key: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimPrefix(string(line), "rexec enroll '"), "'\n")
	if d.token, err = auth.ParseToken(text); err != nil {
		return nil, err
	}
	if _, err := d.store.Enroll(d.token, ""); err != nil {
		return nil, err
	}
	cmd := at.command(program, append(common, "--listen", address)...)
	if d.service, err = startService(cmd, filepath.Join(dir, "rexecd.log")); err != nil {
		return nil, err
	}
	if err := d.ready(ctx, func() bool { return accepts(address) }); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

// command is the client program with these arguments behind the address.
func (d *daemon) command(args ...string) program { return d.with(nil, args...) }

// with is the client program with options.
func (d *daemon) with(options []string, args ...string) program {
	return program{path: d.rexec, args: slices.Concat(options, []string{d.address}, args), env: d.env}
}

// client is a library client with the same key and pins as the client program, over TCP.
func (d *daemon) client() *client.Client { return d.over(client.TCP) }

// over is a library client that uses one transport.
func (d *daemon) over(t client.Transport) *client.Client {
	return client.New(client.Options{Address: d.address, Key: d.token.Key, Pins: d.store, Transport: t})
}
