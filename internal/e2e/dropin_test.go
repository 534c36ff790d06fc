//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestDropIn runs the programs that call ssh, as Debian packages them, with rexec in its place: the stories in
// testdata/dropin. A story is skipped where its program is not installed. The host is called box: the command
// boxed writes that into config.toml.
func TestDropIn(t *testing.T) {
	bin := buildPrograms(t)
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { runStories(t, "testdata/dropin", bin, transport) })
	}
}

// boxed makes the daemon known as box, without a port.
func (w *world) boxed([]string) {
	_, port, err := net.SplitHostPort(w.address)
	w.ts.Check(err)
	entry := "\n[[host]]\nmatch = \"box\"\naddress = \"127.0.0.1:" + port + "\"\nkey = \"me\"\n"
	f, err := os.OpenFile(filepath.Join(w.ts.Getenv("XDG_CONFIG_HOME"), "rexec", "config.toml"), os.O_APPEND|os.O_WRONLY, 0)
	w.ts.Check(err)
	_, err = f.WriteString(entry)
	w.ts.Check(err)
	w.ts.Check(f.Close())
	w.ts.Setenv("PORT", port)
}

// canMount reports whether this process may use FUSE.
func canMount() bool {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}
