//go:build linux

package runner

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

// TestNoProcessLeft: an account that has too many processes is not one that cannot be used.
func TestNoProcessLeft(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start commands as another account")
	}
	launcher, err := exec.NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(launcher.Close)
	r, g, remote := granted(t, launcher, auth.Key{ID: "k", RunAs: "sync"}, Options{})
	start := func() (*job.Process, error) {
		return r.Start(t.Context(), g, job.Peer{Remote: netip.AddrPortFrom(remote, 1)},
			&proto.Run{Argv: [][]byte{[]byte("/bin/sleep"), []byte("100")}, NoStdin: true})
	}
	first, err := start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		first.Handle.Stop(0)
		first.Stdout.Close()
		first.Stderr.Close()
	}()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil { // not for root
		t.Fatal(err)
	}
	_, err = start()
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		t.Fatal(err)
	}
	var refused *job.RefusedError
	const want = "the server has too many processes or too little memory, so nothing was started; try again later"
	if !errors.As(err, &refused) || refused.Cause != proto.CauseInternal || refused.Reason != want {
		t.Errorf("%v", err)
	}
}
