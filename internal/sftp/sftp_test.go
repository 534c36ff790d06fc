//go:build linux

package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// peer is a client that sends whatever a test wants.
type peer struct {
	t    *testing.T
	conn net.Conn
	id   uint32
	ext  map[string]string
}

// fields are the parts of a packet: strings, numbers of 4 or 8 bytes, or bytes as they are.
func packet(kind byte, fields ...any) []byte {
	b := []byte{0, 0, 0, 0, kind}
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, f)
		case int:
			b = binary.BigEndian.AppendUint32(b, uint32(f))
		case uint64:
			b = binary.BigEndian.AppendUint64(b, f)
		case []byte:
			b = append(b, f...)
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// dial starts a server in a new directory, which is the working directory from then on.
func dial(t *testing.T, o Options) *peer {
	t.Helper()
	t.Chdir(t.TempDir())
	ours, theirs := net.Pipe()
	served := make(chan error, 1)
	go func() {
		err := Serve(theirs, theirs, o)
		theirs.Close()
		served <- err
	}()
	p := &peer{t: t, conn: ours, ext: map[string]string{}}
	t.Cleanup(func() {
		ours.Close()
		if err := <-served; err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Serve: %v", err)
		}
	})
	p.write(packet(typeInit, 3))
	kind, r := p.read()
	if kind != typeVersion || r.u32() != 3 {
		t.Fatalf("the version is answered with packet %d", kind)
	}
	for len(r.rest) > 0 {
		name := string(r.bytes())
		p.ext[name] = string(r.bytes())
	}
	return p
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	_ = p.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) read() (byte, *request) {
	p.t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		p.t.Fatal(err)
	}
	rest := make([]byte, binary.BigEndian.Uint32(head[:])-1)
	if _, err := io.ReadFull(p.conn, rest); err != nil {
		p.t.Fatal(err)
	}
	return head[4], &request{rest: rest}
}

// ask sends a request and returns the answer without its number.
func (p *peer) ask(kind byte, fields ...any) (byte, *request) {
	p.t.Helper()
	p.id++
	p.write(packet(kind, append([]any{p.id}, fields...)...))
	answer, r := p.read()
	if id := r.u32(); id != p.id {
		p.t.Fatalf("the answer to %d is for %d", p.id, id)
	}
	return answer, r
}

// status is the code with which a request is answered.
func (p *peer) status(kind byte, fields ...any) uint32 {
	p.t.Helper()
	answer, r := p.ask(kind, fields...)
	if answer != typeStatus {
		p.t.Fatalf("request %d %v is answered with packet %d", kind, fields, answer)
	}
	return r.u32()
}

func (p *peer) ok(kind byte, fields ...any) {
	p.t.Helper()
	if code := p.status(kind, fields...); code != statusOK {
		p.t.Fatalf("request %d %v: status %d", kind, fields, code)
	}
}

func (p *peer) open(name string, flags, mode int) string {
	p.t.Helper()
	answer, r := p.ask(typeOpen, name, flags, attrMode, mode)
	if answer != typeHandle {
		p.t.Fatalf("opening %s: packet %d, %d", name, answer, r.u32())
	}
	return string(r.bytes())
}

func (p *peer) name(kind byte, fields ...any) string {
	p.t.Helper()
	answer, r := p.ask(kind, fields...)
	if answer != typeName || r.u32() != 1 {
		p.t.Fatalf("request %d %v: packet %d", kind, fields, answer)
	}
	return string(r.bytes())
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	p := dial(t, Options{})
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	h := p.open("f", openRead|openWrite|openCreate, 0o666)
	p.ok(typeWrite, h, uint64(5), "world")
	p.ok(typeWrite, h, uint64(0), "hello")
	answer, r := p.ask(typeRead, h, uint64(3), 4)
	if got := string(r.bytes()); answer != typeData || got != "lowo" {
		t.Errorf("read %q in packet %d", got, answer)
	}
	if _, r := p.ask(typeRead, h, uint64(8), 1<<31); string(r.bytes()) != "ld" {
		t.Error("a read beyond the end does not give what is there")
	}
	if code := p.status(typeRead, h, uint64(10), 1); code != statusEOF {
		t.Errorf("at the end: status %d", code)
	}
	p.ok(typeExtended, "fsync@openssh.com", h)
	p.ok(typeFsetstat, h, attrSize|attrMode|attrTimes, uint64(4), 0o4711, 1000, 2000)
	p.ok(typeClose, h)
	if code := p.status(typeClose, h); code != statusNoSuchFile {
		t.Errorf("closing twice: status %d", code)
	}
	info, err := os.Stat("f")
	if err != nil || info.Mode() != os.ModeSetuid|0o711 || info.ModTime().Unix() != 2000 || text(t, "f") != "hell" {
		t.Errorf("%v, %v, %v, %q", err, info.Mode(), info.ModTime(), text(t, "f"))
	}
	if h := p.open("mode", openWrite|openCreate|openExcl, 0o666); h != "" {
		info, _ := os.Stat("mode")
		if info.Mode() != 0o640 {
			t.Errorf("mode %v, want the umask to count", info.Mode())
		}
	}
	h = p.open("f", openWrite|openAppend, 0)
	p.ok(typeWrite, h, uint64(0), "!")
	if got := text(t, "f"); got != "hell!" {
		t.Errorf("appended: %q", got)
	}
	p.open("f", openWrite|openTrunc, 0)
	if got := text(t, "f"); got != "" {
		t.Errorf("truncated: %q", got)
	}
}

func TestStatuses(t *testing.T) {
	p := dial(t, Options{})
	put(t, "f", "x")
	for _, tt := range []struct {
		want   uint32
		kind   byte
		fields []any
	}{
		{statusNoSuchFile, typeStat, []any{"none"}},
		{statusNoSuchFile, typeOpen, []any{"none", openRead, 0}},
		{statusNoSuchFile, typeStat, []any{"f/below"}},
		{statusFailure, typeOpen, []any{"f", openWrite | openCreate | openExcl, 0}},
		{statusFailure, typeMkdir, []any{"f", 0}},
		{statusNoSuchFile, typeRead, []any{"\x00\x00\x00\x63", uint64(0), 1}},
		{statusNoSuchFile, typeRead, []any{"", uint64(0), 1}},
		{statusNoSuchFile, typeFstat, []any{"nonsense"}},
		{statusBadMessage, typeReadlink, []any{"f"}},
		{statusBadMessage, typeOpen, []any{"f"}},
		{statusBadMessage, typeStat, []any{[]byte{0, 0, 0, 9, 'f'}}},
		{statusBadMessage, typeStat, []any{[]byte{0xff, 0xff, 0xff, 0xff, 'f'}}},
		{statusBadMessage, typeRemove, []any{"f\x00g"}},
		{statusBadMessage, typeSetstat, []any{"f", []byte{0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}}},
		{statusUnsupported, 99, nil},
		{statusUnsupported, typeExtended, []any{"nothing@example"}},
		{statusNoSuchFile, typeOpendir, []any{"f"}},
	} {
		if got := p.status(tt.kind, tt.fields...); got != tt.want {
			t.Errorf("request %d %q: status %d, want %d", tt.kind, tt.fields, got, tt.want)
		}
	}
	if text(t, "f") != "x" {
		t.Error("something happened to the file")
	}
}

func TestNames(t *testing.T) {
	p := dial(t, Options{})
	here, _ := os.Getwd()
	here, _ = filepath.EvalSymlinks(here)
	p.ok(typeMkdir, "d", attrMode, 0o700)
	put(t, "d/f", "x")
	put(t, "g", "y")
	p.ok(typeSymlink, "d", "link") // OpenSSH's order: what it holds, then its name
	for path, want := range map[string]string{
		"": here, ".": here, "d": here + "/d", "link": here + "/d", "link/..": here, "link/f": here + "/d/f", "new": here + "/new",
		"link/new": here + "/d/new", "/": "/", "/usr/../etc": "/etc",
	} {
		if got := p.name(typeRealpath, path); got != want {
			t.Errorf("realpath %q: %q, want %q", path, got, want)
		}
	}
	if code := p.status(typeRealpath, "none/below"); code != statusNoSuchFile {
		t.Errorf("realpath of nothing: status %d", code)
	}
	if got := p.name(typeReadlink, "link"); got != "d" {
		t.Errorf("readlink: %q", got)
	}
	if code := p.status(typeRename, "g", "d/f"); code != statusFailure || text(t, "d/f") != "x" {
		t.Errorf("rename replaced a file: status %d", code)
	}
	p.ok(typeRename, "g", "h")
	p.ok(typeExtended, "posix-rename@openssh.com", "h", "d/f")
	p.ok(typeExtended, "hardlink@openssh.com", "d/f", "twin")
	if text(t, "twin") != "y" {
		t.Errorf("twin: %q", text(t, "twin"))
	}
	p.ok(typeExtended, "lsetstat@openssh.com", "link", attrTimes, 7, 7)
	if info, err := os.Lstat("link"); err != nil || info.ModTime().Unix() != 7 {
		t.Errorf("the link's time: %v, %v", info.ModTime(), err)
	}
	if info, err := os.Stat("d"); err != nil || info.ModTime().Unix() == 7 {
		t.Error("the time of what the link points to was set")
	}
	p.ok(typeRemove, "d/f")
	p.ok(typeRmdir, "d")
	answer, r := p.ask(typeLstat, "link")
	if a := r.attributes(); answer != typeAttrs || a.mode == 0 || a.mtime != 7 {
		t.Errorf("lstat: %+v", a)
	}
	if code := p.status(typeStat, "link"); code != statusNoSuchFile {
		t.Errorf("stat of a link to nothing: status %d", code)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	home, _ := filepath.EvalSymlinks(me.HomeDir)
	for path, want := range map[string]string{"~": home, "~/x": home + "/x", "~" + me.Username + "/x": home + "/x", "x": here + "/x"} {
		if got := p.name(typeExtended, "expand-path@openssh.com", path); got != want {
			t.Errorf("expand-path %q: %q, want %q", path, got, want)
		}
	}
	if code := p.status(typeExtended, "expand-path@openssh.com", "~nobody-of-this-name/x"); code != statusNoSuchFile {
		t.Errorf("a home of nobody: status %d", code)
	}
}

// TestDirectory reads one with more names than one answer holds.
func TestDirectory(t *testing.T) {
	p := dial(t, Options{})
	want := []string{".", ".."}
	for i := range 2*perReaddir + 1 {
		name := strings.Repeat("n", 200) + string(rune('a'+i%26)) + strings.Repeat("m", i/26)
		put(t, name, "")
		want = append(want, name)
	}
	_, r := p.ask(typeOpendir, "")
	h := string(r.bytes())
	var got []string
	for {
		answer, r := p.ask(typeReaddir, h)
		if answer == typeStatus {
			if code := r.u32(); code != statusEOF {
				t.Fatalf("status %d", code)
			}
			break
		}
		for n := r.u32(); n > 0; n-- {
			name, long, a := string(r.bytes()), string(r.bytes()), r.attributes()
			got = append(got, name)
			if !strings.HasSuffix(long, " "+name) || a.flags != attrSize|attrOwner|attrMode|attrTimes {
				t.Errorf("%q: %q, %+v", name, long, a)
			}
		}
		if r.err != nil || len(r.rest) > 0 {
			t.Fatalf("%d bytes left, %v", len(r.rest), r.err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	p.ok(typeClose, h)
}

// TestDirectoryThatShrinks: names that are gone when their turn comes are left out, and an answer that is left
// without any would tell the client that there are no more.
func TestDirectoryThatShrinks(t *testing.T) {
	p := dial(t, Options{})
	for i := range 3 * perReaddir {
		put(t, fmt.Sprint("n", i), "")
	}
	_, r := p.ask(typeOpendir, "")
	h := string(r.bytes())
	for range 2 { // the directory itself, and the first names
		if answer, r := p.ask(typeReaddir, h); answer != typeName || r.u32() == 0 {
			t.Fatalf("answered with packet %d", answer)
		}
	}
	for i := range 3 * perReaddir {
		if err := os.Remove(fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	if code := p.status(typeReaddir, h); code != statusEOF {
		t.Errorf("status %d", code)
	}
}

func TestModeText(t *testing.T) {
	for mode, want := range map[uint32]string{
		unix.S_IFREG | 0o644: "-rw-r--r--", unix.S_IFDIR | 0o1777: "drwxrwxrwt", unix.S_IFLNK | 0o777: "lrwxrwxrwx",
		unix.S_IFREG | 0o6750: "-rwsr-s---", unix.S_IFREG | 0o7000: "---S--S--T", 0o111: "?--x--x--x",
	} {
		if got := modeText(mode); got != want {
			t.Errorf("%o: %s, want %s", mode, got, want)
		}
	}
}

// TestReadOnly tries everything that changes something.
func TestReadOnly(t *testing.T) {
	p := dial(t, Options{ReadOnly: true})
	put(t, "f", "x")
	if err := os.Mkdir("d", 0o700); err != nil {
		t.Fatal(err)
	}
	h := p.open("f", openRead, 0)
	for _, tt := range []struct {
		kind   byte
		fields []any
	}{
		{typeOpen, []any{"f", openWrite, 0}}, {typeOpen, []any{"f", openRead | openTrunc, 0}},
		{typeOpen, []any{"new", openRead | openCreate, 0}}, {typeOpen, []any{"f", openRead | openAppend, 0}},
		{typeSetstat, []any{"f", attrMode, 0o777}}, {typeFsetstat, []any{h, attrMode, 0o777}},
		{typeRemove, []any{"f"}}, {typeMkdir, []any{"new", 0}}, {typeRmdir, []any{"d"}}, {typeRename, []any{"f", "g"}},
		{typeSymlink, []any{"f", "g"}}, {typeExtended, []any{"posix-rename@openssh.com", "f", "g"}},
		{typeExtended, []any{"hardlink@openssh.com", "f", "g"}}, {typeExtended, []any{"lsetstat@openssh.com", "f", attrTimes, 1, 1}},
	} {
		if code := p.status(tt.kind, tt.fields...); code != statusPermissionDenied {
			t.Errorf("request %d %v: status %d", tt.kind, tt.fields, code)
		}
	}
	if code := p.status(typeWrite, h, uint64(0), "y"); code != statusNoSuchFile { // EBADF
		t.Errorf("writing to what is open to be read: status %d", code)
	}
	entries, _ := os.ReadDir(".")
	info, err := os.Stat("f")
	if err != nil || info.Mode() != 0o600 || text(t, "f") != "x" || len(entries) != 2 {
		t.Errorf("something was changed: %v %v %v", err, info, entries)
	}
}

func TestFileSystem(t *testing.T) {
	p := dial(t, Options{})
	var st unix.Statfs_t
	if err := unix.Statfs(".", &st); err != nil {
		t.Fatal(err)
	}
	put(t, "f", "")
	h := p.open("f", openRead, 0)
	for _, fields := range [][]any{{"statvfs@openssh.com", "."}, {"fstatvfs@openssh.com", h}} {
		answer, r := p.ask(typeExtended, fields...)
		if size, _, blocks := r.u64(), r.u64(), r.u64(); answer != typeExtendedReply || size != uint64(st.Bsize) || blocks != st.Blocks || len(r.rest) != 64 {
			t.Errorf("%v: packet %d, %d blocks of %d", fields, answer, blocks, size)
		}
	}
	answer, r := p.ask(typeExtended, "limits@openssh.com")
	if packet, read := r.u64(), r.u64(); answer != typeExtendedReply || packet != maxPacket || read != maxIO {
		t.Errorf("limits: %d, %d", packet, read)
	}
	for _, e := range extensions() {
		if p.ext[e.name] != e.version {
			t.Errorf("%s is not announced", e.name)
		}
	}
}

// TestPipelined: what is asked in one go is answered in order, the last answer included.
func TestPipelined(t *testing.T) {
	p := dial(t, Options{})
	big := strings.Repeat("0123456789abcdef", maxIO/16)
	put(t, "f", big+big)
	h := p.open("f", openRead, 0)
	var all []byte
	for i := range 4 {
		all = append(all, packet(typeRead, 100+i, h, uint64(i*maxIO), maxPacket)...)
	}
	go func() { _, _ = p.conn.Write(all) }() // fails only if the test has ended
	for i := range 4 {
		kind, r := p.read()
		if id := r.u32(); id != uint32(100+i) {
			t.Fatalf("answer %d is for %d", i, id)
		}
		if i < 2 && (kind != typeData || string(r.bytes()) != big) || i >= 2 && r.u32() != statusEOF {
			t.Fatalf("answer %d is wrong", i)
		}
	}
}

// TestBroken: what is no conversation ends with an error, and what stops in a packet is not taken for its end.
func TestBroken(t *testing.T) {
	hello := packet(typeInit, 3)
	for name, input := range map[string][]byte{
		"no version": packet(typeStat, 1, "f"), "short version": {0, 0, 0, 1, 1}, "empty packet": append(bytes.Clone(hello), 0, 0, 0, 0),
		"large packet": append(bytes.Clone(hello), 0, 4, 0, 1), "no number": append(bytes.Clone(hello), 0, 0, 0, 1, 17),
		"half": append(bytes.Clone(hello), 0, 0, 0, 9, 17), "half a length": append(bytes.Clone(hello), 0, 0),
	} {
		if err := Serve(bytes.NewReader(input), io.Discard, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, input := range [][]byte{nil, hello} {
		if err := Serve(bytes.NewReader(input), io.Discard, Options{}); err != nil {
			t.Errorf("%x: %v", input, err)
		}
	}
}

// FuzzServe: whatever comes, the server answers with whole packets and ends.
func FuzzServe(f *testing.F) {
	f.Add(packet(typeStat, 1, "f"))
	f.Add(append(packet(typeOpendir, 1, "."), packet(typeReaddir, 2, "\x00\x00\x00\x00")...))
	f.Add(append(packet(typeOpen, 1, "f", openRead, 0), packet(typeRead, 2, "\x00\x00\x00\x00", uint64(0), 9)...))
	f.Add(packet(typeSetstat, 1, "f", []byte{0xff, 0xff, 0xff, 0xff}))
	f.Add(packet(typeExtended, 1, "expand-path@openssh.com", "~"))
	f.Add(packet(typeExtended, 1, "statvfs@openssh.com", "."))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte("dev")) || bytes.Contains(b, []byte("proc")) {
			t.Skip("devices are not to be opened at random")
		}
		var out bytes.Buffer
		_ = Serve(bytes.NewReader(append(packet(typeInit, 3), b...)), &out, Options{ReadOnly: true})
		for out.Len() > 0 {
			var head [4]byte
			if _, err := io.ReadFull(&out, head[:]); err != nil {
				t.Fatal(err)
			}
			if n := binary.BigEndian.Uint32(head[:]); n == 0 || len(out.Next(int(n))) != int(n) {
				t.Fatalf("an answer of %d bytes is not whole", n)
			}
		}
	})
}
