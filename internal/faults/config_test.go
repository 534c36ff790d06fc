//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/client"
	"rexec/internal/proto"
)

// TestBadConfiguration: with a mistake in its file the daemon does not start, and one that runs goes on with what it has.
func TestBadConfiguration(t *testing.T) {
	s := newService(t, "")
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]struct{ text, words string }{
		"unknown field": {"# a comment\nlistn = ':1'\n", ":2: listn: unknown key (did you mean listen?)"},
		"duplicate key": {"[log]\nlevel = 'info'\nlevel = 'warn'\n", ":3: log.level: Key 'log.level' has already been defined (remove one of the two)"},
		"wrong type":    {"[server]\nmax_connections = '1'\n", ":2: server.max_connections: must be an integer without quotes"},
		"PATH in env":   {"[exec]\nenv = { PATH = '/bin' }\n", ":2: exec.env.PATH: is set by exec.path; write path under [exec] instead"},
		"BOM":           {"\uFEFFlisten = ':1'\n", ":1: begins with a byte order mark (save it as UTF-8 without BOM)"},
		"not UTF-8":     {"# fine\n# \xff\n", ":2: not valid UTF-8 (save the file as UTF-8)"},
		"10 MiB":        {strings.Repeat("#", 10<<20), ": larger than 1 MiB (is this the right file?)"},
		"not TOML":      {"listen: ':1'\n", ":1: "},
	}
	for name, tt := range bad {
		s.configure(tt.text)
		s.refused(s.config + tt.words)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	s.configure(string(good))
	s.start()
	c := s.client("test")
	for name, tt := range bad {
		s.log.reset()
		s.configure(tt.text)
		s.signal(unix.SIGHUP)
		// As JSON shows it, a quote has a backslash.
		words := strings.Trim(strconv.Quote(s.config+tt.words), `"`)
		s.until(name+": nothing is said of the new configuration", func() bool {
			log := s.log.String()
			return strings.Contains(log, `"level":"error"`) && strings.Contains(log, "the old one stays in force") && strings.Contains(log, words)
		})
		s.prints(c, "echo $ORIGIN", "first\n")
	}
	// What looks odd but is TOML is taken, and so is nothing at all, which means the defaults.
	for name, text := range map[string]string{
		"tab":   strings.ReplaceAll(string(good), "env = ", "\tenv\t=\t"),
		"CRLF":  strings.ReplaceAll(string(good), "\n", "\r\n"),
		"empty": "",
	} {
		s.log.reset()
		s.configure(strings.ReplaceAll(text, "first", name))
		s.signal(unix.SIGHUP)
		s.logged(`"msg":"reloaded"`)
		want := name
		if text == "" {
			want = ""
		}
		s.prints(c, "echo $ORIGIN", want+"\n")
	}
}

// TestBadKeyFile: it keeps the daemon from starting, and in one that runs the keys read before go on, until it is mended.
func TestBadKeyFile(t *testing.T) {
	s := newService(t, "")
	s.addKey(auth.Key{ID: "other"})
	good, err := os.ReadFile(s.keysPath())
	if err != nil {
		t.Fatal(err)
	}
	entries := strings.Split(strings.TrimSpace(string(good)), "\n")
	first, second := entries[len(entries)-2], entries[len(entries)-1]
	n := len(entries)
	rewrite := func(last string) func() error {
		return func() error {
			return s.replaceKeys([]byte(strings.Join(append(entries[:n-1:n-1], last), "\n") + "\n"))
		}
	}
	mend := func() {
		t.Helper()
		if err := s.replaceKeys(good); err != nil {
			t.Fatal(err)
		}
	}
	bad := []struct {
		words string
		spoil func() error
	}{
		{": is open to others (mode 0644) (fix: chmod 600 " + s.keysPath() + ")", func() error { return os.Chmod(s.keysPath(), 0o644) }},
		{": belongs to user 12345 (fix: chown 0 " + s.keysPath() + ")", func() error { return os.Chown(s.keysPath(), 12345, 0) }},
		{": is a symbolic link (fix: put the file itself there)", func() error {
			return s.swapKeys(func(path string) error {
				return errors.Join(os.WriteFile(path+".target", good, 0o600), os.Symlink(path+".target", path))
			})
		}},
		{": is a directory (fix: move it away)", func() error {
			return s.swapKeys(func(path string) error { return os.Mkdir(path, 0o700) })
		}},
		{fmt.Sprintf(":%d: secret is not 43 characters of unpadded base64url (fix: make the key with: rexecd key add)", n),
			rewrite(withSecret(second, "no secret"))},
		{fmt.Sprintf(":%d: a secret has 32 bytes, not 31 (fix: make the key with: rexecd key add)", n),
			rewrite(withSecret(second, strings.Repeat("Abc1", 10)+"Ag"))},
		{fmt.Sprintf(":%d: key ID test is that of line %d (fix: remove one of the two lines)", n, n-1),
			rewrite(strings.Replace(second, `"other"`, `"test"`, 1))},
		{fmt.Sprintf(":%d: key other has the secret of key test in line %d (fix: make a key for each with: rexecd key add)", n, n-1),
			rewrite(strings.Replace(first, `"test"`, `"other"`, 1))},
	}
	for _, tt := range bad {
		if strings.Contains(tt.words, "chown") && os.Geteuid() != 0 {
			continue // only root can give a file away
		}
		if err := tt.spoil(); err != nil {
			t.Fatal(err)
		}
		s.refused(s.keysPath() + tt.words)
		mend()
	}
	s.start()
	c, other := s.client("test"), s.client("other")
	for _, tt := range bad {
		if strings.Contains(tt.words, "chown") && os.Geteuid() != 0 {
			continue
		}
		s.log.reset()
		if err := tt.spoil(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time the file is as it was, and that is not said again
			s.prints(c, "echo here", "here\n")
			s.prints(other, "echo here", "here\n")
		}
		words := strings.Trim(strconv.Quote(s.keysPath()+tt.words), `"`)
		s.until("nothing is said of "+tt.words, func() bool { return strings.Contains(s.log.String(), words) })
		if n := strings.Count(s.log.String(), words); n > 2 {
			t.Errorf("said %d times: %s", n, words)
		}
		mend()
		s.prints(c, "echo here", "here\n")
	}
}

// replaceKeys gives the key file another content, as swapKeys does.
func (s *service) replaceKeys(text []byte) error {
	return s.swapKeys(func(path string) error { return os.WriteFile(path, text, 0o600) })
}

// swapKeys puts what is made at another path in the place of the key file, at once: the daemon looks at it at any
// time, and without a file, as with an empty one, there are no keys.
func (s *service) swapKeys(create func(path string) error) error {
	other := s.keysPath() + ".other"
	if err := create(other); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, other, unix.AT_FDCWD, s.keysPath(), unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return os.RemoveAll(other)
}

// withSecret is the line of a key with another secret.
func withSecret(line, secret string) string {
	before, rest, _ := strings.Cut(line, `"secret":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + `"secret":"` + secret + `"` + after
}

// TestReloadsUnderLoad: a thousand reloads, of good and bad configurations in turn, while commands run all the time.
func TestReloadsUnderLoad(t *testing.T) {
	const reloads, clients = 1000, 3
	// The daemon remembers what ran for a while, which takes memory, too.
	const pace, remembered = 5 * time.Millisecond, 4 // KiB
	s := newService(t, "")
	s.start()
	held := s.client("test")
	s.prints(held, "echo begun", "begun\n")
	var others []*client.Client
	for range clients {
		c := s.client("test")
		s.prints(c, "echo begun", "begun\n")
		others = append(others, c)
	}
	files := s.usage().files // without a running command, each of which has many
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ran := make([]int, clients)
	for i, c := range others {
		wg.Go(func() {
			for ctx.Err() == nil {
				o := runNamed(t.Context(), c, "", "echo $ORIGIN; exit 3")
				if o.failure != nil || o.result.State != proto.StateExited || o.result.Code != 3 || o.out.String() != "first\n" {
					t.Errorf("a command under reloads: %s", o)
					return
				}
				ran[i]++
				time.Sleep(pace)
			}
		})
	}
	good := s.good("")
	reload := func(i int) {
		s.log.reset()
		said := `"msg":"reloaded"`
		text := good
		if i%2 == 0 {
			said, text = "the old one stays in force", "[exec]\npat = '/bin'\n"
		}
		s.configure(text)
		s.signal(unix.SIGHUP)
		s.until("no answer to a reload", func() bool { return strings.Contains(s.log.String(), said) })
	}
	for i := range 50 {
		reload(i)
	}
	before := s.usage()
	for i := range reloads {
		reload(i)
	}
	after := s.usage()
	cancel()
	wg.Wait()
	s.prints(held, "echo still", "still\n")
	total := 0
	for _, n := range ran {
		total += n
	}
	t.Logf("commands %d, %d files, before %+v, after %+v", ran, files, before, after)
	if after.resident > before.resident+16<<10+remembered*total {
		t.Errorf("before %+v, after %+v", before, after)
	}
	for i, n := range ran {
		if n == 0 {
			t.Errorf("client %d ran nothing", i)
		}
	}
	// Its last word is the stacks of all its goroutines.
	s.until("commands stay behind", func() bool { return s.usage().files <= files })
	s.log.reset()
	s.signal(unix.SIGQUIT)
	<-s.ended
	if n := strings.Count(s.log.String(), "\ngoroutine "); n < 5 || n > 60 {
		t.Errorf("%d goroutines:\n%s", n, s.log)
	}
}

// usage is what a process takes.
type usage struct {
	files    int
	resident int           // KiB
	cpu      time.Duration // user and system
}

func (s *service) usage() (u usage) {
	s.t.Helper()
	proc := fmt.Sprintf("/proc/%d/", s.cmd.Process.Pid)
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		s.t.Fatal(err)
	}
	u.files = len(files)
	status, _ := os.ReadFile(proc + "status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	_, _ = fmt.Sscan(rest, &u.resident)
	stat, _ := os.ReadFile(proc + "stat")
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	u.cpu = time.Duration(user+system) * time.Second / 100 // USER_HZ
	return u
}
