//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain is also the process that measures inside a slow link.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args[1:], wanVerb) {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestFailuresOverSlowLink cuts the link for 20 s in the middle of a transfer over UDP, changes the client's
// address, and drops all UDP, between two network namespaces.
func TestFailuresOverSlowLink(t *testing.T) {
	t.Parallel()
	results, err := overWAN(t.Context(), options{wan: slowLink(t), quick: true, only: map[int]bool{3: true}})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		t.Logf("%s: %s", r.What, r.Unit.figure(r.Ours))
	}
}

// slowLink builds the program that makes a slow link, from beside this repository.
func slowLink(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs("../../../shared/lab/wanlink")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(source); err != nil {
		t.Skip("there is no program here that makes a slow link (shared/lab/wanlink beside the repository)")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, name := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("it needs " + name)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("it needs /dev/net/tun")
	}
	path := filepath.Join(t.TempDir(), "wanlink")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", source, err, strings.TrimSpace(string(out)))
	}
	return path
}
