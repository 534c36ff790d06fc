package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rexec/internal/proto"
)

// rotating is a server with the key alice, whose clock the test moves.
type rotating struct {
	*handshake
	t     *testing.T
	path  string
	clock time.Time
}

func newRotating(t *testing.T) *rotating {
	r := &rotating{t: t, clock: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	key := Key{ID: "alice", Secret: newTestSecret(t), RunAs: "deploy"}
	v := newTestVerifier(t, ServerID{1}, func() time.Time { return r.clock }, key)
	r.handshake = &handshake{v, ClientKey{ServerID{1}, "alice", key.Secret}, random32()}
	r.path = v.store.path
	return r
}

// rotate returns the client's half of the key with its new secret.
func (r *rotating) rotate(keep time.Duration) *handshake {
	r.t.Helper()
	k, err := RotateKey(r.path, "alice", Rotation{Now: r.clock, Keep: keep})
	if err != nil {
		r.t.Fatal(err)
	}
	r.refresh()
	client := r.client
	client.Secret = k.Secret
	return &handshake{r.Verifier, client, r.binding}
}

func (r *rotating) refresh() {
	r.t.Helper()
	if _, err := r.store.Refresh(); err != nil {
		r.t.Fatal(err)
	}
}

// try proves a client's secret; the client checks the answer.
func (r *rotating) try(h *handshake) (Verdict, error) {
	r.t.Helper()
	p := h.proof(r.t)
	v := h.Verify(h.attempt(payload(p.Message())))
	_, _, err := p.Check(proto.Type(v.Reply.Append(nil)[0]), payload(v.Reply))
	return v, err
}

// TestRotation: during a rotation both secrets prove the key, and then the new one only.
func TestRotation(t *testing.T) {
	r := newRotating(t)
	before := r.handshake
	after := r.rotate(time.Hour)
	remote := netip.MustParseAddr("192.0.2.1")
	grants := map[bool]*Grant{}
	for _, h := range []*handshake{before, after} {
		v, err := r.try(h)
		if err != nil || v.Grant == nil || v.Old != (h == before) || v.KeyID != "alice" {
			t.Fatalf("%+v, %v", v, err)
		}
		k, err := r.Authorize(v.Grant, remote)
		if err != nil || k.RunAs != "deploy" || k.Secret != (Secret{}) || k.Old != nil {
			t.Errorf("%+v, %v", k, err)
		}
		grants[v.Old] = v.Grant
	}
	r.clock = r.clock.Add(time.Hour)
	v, err := r.try(before)
	var denied *DeniedError
	if !errors.As(err, &denied) || denied.Status != proto.StatusExpired || v.Grant != nil ||
		!strings.Contains(denied.Text, "its old secret ended on 2026-01-02 01:00:00 UTC; enroll the token") {
		t.Errorf("old secret after its end: %+v, %v", v, err)
	}
	if _, err := r.Authorize(grants[true], remote); !errors.As(err, &denied) || denied.Status != proto.StatusExpired {
		t.Errorf("grant of the old secret after its end: %v", err)
	}
	if v, err := r.try(after); err != nil || v.Grant == nil || v.Old {
		t.Errorf("new secret: %+v, %v", v, err)
	}
	if _, err := r.Authorize(grants[false], remote); err != nil {
		t.Errorf("grant of the new secret: %v", err)
	}
}

// TestRotateAgain: a second rotation gives up the older of the two secrets, and one that keeps nothing both.
func TestRotateAgain(t *testing.T) {
	r := newRotating(t)
	first := r.handshake
	v, _ := r.try(first)
	second := r.rotate(time.Hour)
	third := r.rotate(2 * time.Hour)
	wrong, _ := r.try(first)
	mustRefuse(t, wrong, "wrong MAC for key alice")
	if _, err := r.Authorize(v.Grant, netip.MustParseAddr("192.0.2.1")); err == nil || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("grant of the first secret: %v", err)
	}
	for _, h := range []*handshake{second, third} {
		if v, err := r.try(h); err != nil || v.Old != (h == second) {
			t.Errorf("%+v, %v", v, err)
		}
	}
	last := r.rotate(0)
	for _, h := range []*handshake{second, third} {
		wrong, _ := r.try(h)
		mustRefuse(t, wrong, "wrong MAC for key alice")
	}
	if v, err := r.try(last); err != nil || v.Grant == nil {
		t.Errorf("%+v, %v", v, err)
	}
	if text := read(t, r.path); strings.Contains(text, "old_secret") {
		t.Error("an old secret is still in the file")
	}
	// What holds of the key holds for both secrets.
	if _, err := ChangeKey(r.path, "alice", func(k *Key) error { k.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	r.refresh()
	if v, err := r.try(last); err == nil || v.Grant != nil {
		t.Error("a disabled key is accepted")
	}
}

// TestRotationGrantsNothingToStrangers: a key without an old secret has none that could be guessed, and a
// key with one is refused as others are.
func TestRotationGrantsNothingToStrangers(t *testing.T) {
	r := newRotating(t)
	stranger := &handshake{r.Verifier, r.client, r.binding}
	stranger.client.Secret = newTestSecret(t)
	for _, keep := range []time.Duration{0, time.Hour} {
		r.rotate(keep)
		v, _ := r.try(stranger)
		mustRefuse(t, v, "wrong MAC for key alice")
	}
	// Whoever knew the secret that stands in for a missing one would not get in with it.
	r.rotate(0)
	p := stranger.proof(t).Message()
	p.MAC = r.dummy.old.clientMAC(&r.binding, p.AppendUnsigned(nil))
	mustRefuse(t, r.Verify(r.attempt(payload(p))), "wrong MAC for key alice")
}

func TestChangeKey(t *testing.T) {
	path := filepath.Join(stateDir(t), "keys")
	a, b := newTestSecret(t).base64(), newTestSecret(t).base64()
	lineA, lineB := fmt.Sprintf(`  {"secret":%q, "id":"a"}`, a), fmt.Sprintf(`{"id":"b","secret":%q}`, b)
	write(t, path, "# first\r\n\n"+lineA+"\n"+lineB+"\n # last")
	k, err := ChangeKey(path, "b", func(k *Key) error { k.RunAs = "deploy"; return nil })
	if err != nil || k.RunAs != "deploy" {
		t.Fatalf("%+v, %v", k, err)
	}
	want := "# first\r\n\n" + lineA + "\n" + fmt.Sprintf(`{"id":"b","secret":%q,"run_as":"deploy"}`, b) + "\n # last"
	if got := read(t, path); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := ChangeKey(path, "c", func(*Key) error { return nil }); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("%v, want unknown", err)
	}
	if _, err := RotateKey(path, "a", Rotation{Keep: -1}); err == nil {
		t.Error("kept for less than no time")
	}
	for name, change := range map[string]func(*Key) error{
		"never valid": func(k *Key) error { k.NotBefore, k.NotAfter = time.Unix(2, 0), time.Unix(1, 0); return nil },
		"key ID a is": func(k *Key) error { k.ID = "a"; return nil },
		"no thanks":   func(*Key) error { return errors.New("no thanks") },
	} {
		_, err := ChangeKey(path, "b", change)
		mustFail(t, err, b, name)
	}
	if got := read(t, path); got != want {
		t.Errorf("a refused change left %q", got)
	}
	write(t, path, want+"\n{}\n")
	_, err = ChangeKey(path, "b", func(*Key) error { return nil })
	mustFail(t, err, b, path+":6: the key has no id (fix: give it an ID)")
}

// TestConcurrentEdits adds, rotates, changes and revokes at once: every edit has its effect, and none undoes another.
func TestConcurrentEdits(t *testing.T) {
	const n = 20
	path := filepath.Join(stateDir(t), "keys")
	before := map[string]Secret{}
	for i := range n {
		for _, kind := range []string{"rotated", "changed", "gone"} {
			k := Key{ID: fmt.Sprint(kind, i), Secret: newTestSecret(t)}
			before[k.ID] = k.Secret
			if err := AddKey(path, k); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	edit := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	until := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range n {
		added := Key{ID: fmt.Sprint("added", i), Secret: newTestSecret(t)}
		edit(func() error { return AddKey(path, added) })
		edit(func() error {
			_, err := RotateKey(path, fmt.Sprint("rotated", i), Rotation{Now: time.Now(), Keep: time.Hour})
			return err
		})
		edit(func() error {
			_, err := ChangeKey(path, fmt.Sprint("changed", i), func(k *Key) error { k.NotAfter = until; return nil })
			return err
		})
		edit(func() error { return RevokeKey(path, fmt.Sprint("gone", i)) })
	}
	wg.Wait()
	s, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, k := range s.Keys() {
		kind := strings.TrimRight(k.ID, "0123456789")
		kinds[kind]++
		if kind == "rotated" && (k.Old == nil || !k.Old.Secret.Equal(before[k.ID])) || kind == "changed" && k.NotAfter != until {
			t.Errorf("%+v", k)
		}
	}
	if fmt.Sprint(kinds) != "map[added:20 changed:20 rotated:20]" {
		t.Error(kinds)
	}
	onlyFiles(t, filepath.Dir(path), "keys", "keys.lock")
}

// TestCrashBeforeRename kills a program that has written the new file and not put it in its place: the old one is
// whole, and nobody waits for the dead.
func TestCrashBeforeRename(t *testing.T) {
	if path := os.Getenv("REXECTEST_CRASH"); path != "" {
		crashBeforeRename(path)
	}
	path := filepath.Join(stateDir(t), "keys")
	if err := AddKey(path, Key{ID: "a", Secret: newTestSecret(t)}); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "-test.run=^TestCrashBeforeRename$"},
		&os.ProcAttr{Env: append(os.Environ(), "REXECTEST_CRASH="+path)})
	if err != nil {
		t.Fatal(err)
	}
	if state, err := p.Wait(); err != nil || state.ExitCode() != -1 {
		t.Fatalf("the program was not killed: %v, %v", state, err)
	}
	temps, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".keys.*.tmp"))
	if err != nil || len(temps) != 1 || read(t, temps[0]) != "half a file" {
		t.Fatalf("%q, %v", temps, err)
	}
	if read(t, path) != before {
		t.Error("the key file was changed")
	}
	if err := AddKey(path, Key{ID: "b", Secret: newTestSecret(t)}); err != nil {
		t.Error(err)
	}
	if s, err := OpenStore(path); err != nil || len(s.Keys()) != 2 {
		t.Errorf("%v, %v", s, err)
	}
}

// crashBeforeRename does not return.
func crashBeforeRename(path string) {
	_, err := lock(path)
	if err == nil {
		_, err = writeTemp(path, []byte("half a file"))
	}
	self, _ := os.FindProcess(os.Getpid())
	if err == nil {
		_ = self.Kill()
		select {}
	}
	panic("internal error: " + err.Error())
}
