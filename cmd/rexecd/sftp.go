package main

import (
	"context"
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"

	"rexec/internal/sftp"
)

// sftpServer is what the daemon starts for the subsystem sftp, as the account that the key names: this
// program once more, since nothing else need be installed then. The daemon itself never opens a client's files.
func sftpServer(ctx context.Context, args []string, io streams) error {
	readOnly := slices.Equal(args, []string{"-R"})
	if len(args) > 0 && !readOnly {
		return misuse("sftp-server takes nothing but -R, which lets it only read")
	}
	defer endAtOnce(ctx)()
	return sftp.Serve(io.in, io.out, sftp.Options{ReadOnly: readOnly})
}

// endAtOnce lets a signal do what it does to any program, one that came earlier as well: there is nothing to end in
// order, and a Read cannot be called off.
func endAtOnce(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		signal.Reset()
		_ = unix.Kill(os.Getpid(), unix.SIGTERM)
	})
}
