//go:build linux

package persist

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// nobody is the user of a process that is somebody else's.
const nobody = 65534

// counted runs a command that counts how often it runs, with a client that asks the target's background
// process first.
func counted(t *testing.T, d *rexectest.Daemon, target Target) {
	t.Helper()
	counter := filepath.Join(t.TempDir(), "counter")
	o := d.ClientOptions()
	o.Shared = func(ctx context.Context) (*client.Proven, error) {
		p, _, err := Use(ctx, target, time.Minute)
		return p, err
	}
	c := client.New(o)
	defer c.Close()
	result, err := c.Run(t.Context(), shell("echo x >>"+counter))
	if err != nil || result.Code != 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	if text, err := os.ReadFile(counter); err != nil || string(text) != "x\n" {
		t.Errorf("it ran %q, %v", text, err)
	}
}

// stranger returns a daemon, a target of its key, and the path of the target's socket, where nobody listens.
func stranger(t *testing.T) (*rexectest.Daemon, Target, string) {
	t.Helper()
	place(t)
	d := rexectest.New(t, rexectest.Options{})
	target := Target{Key: d.Key(), Address: d.Address(), Version: "test"}
	id, err := target.ID()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := directory(true)
	if err != nil {
		t.Fatal(err)
	}
	return d, target, socketPath(dir, id)
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// TestStaleSockets: whatever is found in place of a process, the command runs, once, and Use says what it was.
func TestStaleSockets(t *testing.T) {
	answer := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			ln := listen(t, path)
			go func() { // ends with the listener
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = io.ReadFull(conn, make([]byte, helloLen))
					_, _ = conn.Write(b)
					conn.Close()
				}
			}()
		}
	}
	good := header{status: statusReady, kind: proto.TransportTCP, choice: &proto.Choice{Version: 1, Instance: [proto.IDLen]byte{1}}}
	nameless := good
	nameless.choice = &proto.Choice{Version: 1}
	for name, tt := range map[string]struct {
		make func(*testing.T, string)
		want error
	}{
		"nothing": {func(*testing.T, string) {}, ErrNone},
		"left behind": {func(t *testing.T, path string) {
			ln := listen(t, path)
			ln.(*net.UnixListener).SetUnlinkOnClose(false)
			ln.Close()
		}, ErrNone},
		"a file": {func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, ErrNone},
		"says nothing":    {func(t *testing.T, path string) { listen(t, path) }, ErrHung},
		"ends":            {answer(nil), ErrNone},
		"half a header":   {answer(good.append(nil)[:20]), ErrNone},
		"another program": {answer(bytes.Repeat([]byte("HTTP/1.1 "), 20)), errForeign},
		"of no instance":  {answer(nameless.append(nil)), errForeign},
		"busy":            {answer(header{status: statusBusy}.append(nil)), ErrBusy},
		"another target":  {answer(header{status: statusOther}.append(nil)), errForeign},
	} {
		t.Run(name, func(t *testing.T) {
			d, target, path := stranger(t)
			tt.make(t, path)
			if errors.Is(tt.want, ErrHung) {
				if p, _, err := Use(t.Context(), target, time.Minute); !errors.Is(err, ErrHung) {
					t.Errorf("%v, %v; want %v", p, err, tt.want)
				}
			} else if err := answered(t, target); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			counted(t, d, target)
		})
	}
}

// TestFullQueue: a process that was stopped, and at whose socket many wait already.
func TestFullQueue(t *testing.T) {
	d, target, path := stranger(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	waiting, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if _, _, err := Use(t.Context(), target, time.Minute); !errors.Is(err, ErrHung) {
		t.Errorf("%v, want ErrHung", err)
	}
	counted(t, d, target)
}

// TestBreaksAfterRequest: the process is lost when it has passed the request on, or has kept it. Either way
// the command runs once, and its outcome comes.
func TestBreaksAfterRequest(t *testing.T) {
	for name, passOn := range map[string]bool{"passed on": true, "kept": false} {
		t.Run(name, func(t *testing.T) {
			d, target, path := stranger(t)
			o := d.ClientOptions()
			held, err := client.Prove(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Channel.Abort()
			ln := listen(t, path)
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				h := header{status: statusReady, kind: proto.TransportTCP, choice: held.Choice, uptime: held.Uptime}
				_, _ = io.ReadFull(conn, make([]byte, helloLen))
				_, _ = conn.Write(h.append(nil))
				request := make([]byte, 1<<16)
				n, _ := conn.Read(request)
				if passOn {
					_, _ = held.Channel.Write(request[:n])
					_, _ = held.Channel.Read(request)
				}
			}()
			counted(t, d, target)
			ln.Close()
			<-done
		})
	}
}

// TestDirectories: a place that others have a hand in is none.
func TestDirectories(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"open to others":  func(dir string) error { return os.Chmod(dir, 0o777) },
		"open to a group": func(dir string) error { return os.Chmod(dir, 0o710) },
		"a symbolic link": func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".real"), os.Symlink(dir+".real", dir))
		},
		"a file": func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			place(t)
			r := start(t, client.TCP)
			dir := filepath.Dir(r.socket)
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Use(t.Context(), r.target, time.Minute); err == nil || errors.Is(err, ErrNone) {
				t.Errorf("used, or passed over in silence: %v", err)
			}
			if err := (Start{Target: r.target, KeyFile: r.file}).Begin(); err == nil {
				t.Error("a process is started there")
			}
			counted(t, r.d, r.target)
		})
	}
}

// TestRuntimeDirectory: that of another user, as su(1) leaves it, is passed over for the cache.
func TestRuntimeDirectory(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, dir string){
		"unset":   func(t *testing.T, _ string) { t.Setenv("XDG_RUNTIME_DIR", "") },
		"missing": func(t *testing.T, dir string) { t.Setenv("XDG_RUNTIME_DIR", dir+"/none") },
		"relative": func(t *testing.T, dir string) {
			t.Chdir(filepath.Dir(dir))
			t.Setenv("XDG_RUNTIME_DIR", filepath.Base(dir))
		},
		"open to others": func(t *testing.T, dir string) { _ = os.Chmod(dir, 0o755) },
		"somebody else's": func(t *testing.T, dir string) {
			if os.Chown(dir, nobody, -1) != nil {
				t.Skip("only root can give a directory away")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := place(t)
			cache := filepath.Join(t.TempDir(), "cache")
			t.Setenv("XDG_CACHE_HOME", cache)
			set(t, dir)
			if _, err := directory(false); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("before it is made: %v", err)
			}
			got, err := directory(true)
			if want := filepath.Join(cache, "rexec"); err != nil || got != want {
				t.Fatalf("%s, %v; want %s", got, err, want)
			}
			if info, err := os.Stat(got); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
}

// TestOtherUser: the socket of another user's process, which root has planted, is not used; nor does a process
// answer another user, whatever the permissions have become.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	const python = "/usr/bin/python3" // not one of root's own, which others cannot run
	if _, err := os.Stat(python); err != nil {
		t.Skip("python3 is not installed")
	}
	as := func(code string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), python, append([]string{"-c", code}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/"
		return cmd
	}
	open, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(open) })
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	d, target, path := stranger(t)
	planted := filepath.Join(open, "s")
	server := as(`import socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print("listening", flush=True)
while True: c = s.accept()[0]; print("said", len(c.recv(1000)), flush=True)`, planted)
	heard, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(heard, make([]byte, len("listening\n"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(planted, path); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Use(t.Context(), target, time.Minute); !errors.Is(err, errUser) {
		t.Errorf("%v, want %v", err, errUser)
	}
	said := make([]byte, len("said 0\n"))
	if _, err := io.ReadFull(heard, said); err != nil || string(said) != "said 0\n" {
		t.Errorf("the other user's process heard: %q, %v", said, err)
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	counted(t, d, target)

	r := start(t, client.TCP)
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), filepath.Dir(r.socket)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(r.socket, 0o777); err != nil {
		t.Fatal(err)
	}
	id, _ := r.target.ID()
	caller := as(`import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
try: s.sendall(bytes.fromhex(sys.argv[2])); print("got", len(s.recv(1000)))
except ConnectionError: print("got 0")`, r.socket, hexOf(hello{op: opUse, id: id}.append(nil)))
	if out, err := caller.CombinedOutput(); strings.TrimSpace(string(out)) != "got 0" {
		t.Errorf("another user gets an answer: %s, %v", out, err)
	}
}
