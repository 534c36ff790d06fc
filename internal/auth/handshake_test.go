package auth

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rexec/internal/proto"
)

func newTestSecret(t testing.TB) Secret {
	t.Helper()
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func random32() (b [32]byte) {
	_, _ = rand.Read(b[:])
	return b
}

func newTestVerifier(t testing.TB, id ServerID, now func() time.Time, keys ...Key) *Verifier {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state", "keys")
	for _, k := range keys {
		if err := AddKey(path, k); err != nil {
			t.Fatal(err)
		}
	}
	store, err := OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(id, store, now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// handshake is a server with the key alice, and a client that has it too.
type handshake struct {
	*Verifier
	client  ClientKey
	binding [32]byte
}

func newHandshake(t testing.TB) *handshake {
	t.Helper()
	key := Key{ID: "alice", Secret: newTestSecret(t)}
	id := ServerID(count(0x40, 16))
	return &handshake{newTestVerifier(t, id, nil, key), ClientKey{id, "alice", key.Secret}, random32()}
}

func (h *handshake) proof(t testing.TB) *Proof {
	t.Helper()
	p, err := NewProof(h.client, proto.TransportTCP, h.binding, &proto.Offer{MinVersion: 1, MaxVersion: 1, Target: "host"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *handshake) attempt(payload []byte) Attempt {
	choice := (&proto.Choice{Version: 1, Uptime: 5}).Append(nil)
	return Attempt{Transport: proto.TransportTCP, Binding: h.binding, Remote: netip.MustParseAddr("192.0.2.1"),
		Type: proto.TypeClientProof, Payload: payload, Choice: choice}
}

func payload(m proto.Message) []byte { return m.Append(nil)[1:] }

var refusal = proto.Refused{}.Append(nil)

// mustRefuse wants the one unauthenticated answer and a reason for the operator.
func mustRefuse(t *testing.T, v Verdict, reason string) {
	t.Helper()
	if v.Grant != nil || v.KeyID != "" || string(v.Reply.Append(nil)) != string(refusal) {
		t.Errorf("not refused: key %q, reply %x", v.KeyID, v.Reply.Append(nil))
	}
	if !strings.Contains(v.Reason, reason) || v.Reason == "" {
		t.Errorf("reason %q, want %q in it", v.Reason, reason)
	}
}

func TestHandshake(t *testing.T) {
	h := newHandshake(t)
	p := h.proof(t)
	v := h.Verify(h.attempt(payload(p.Message())))
	if v.Grant == nil || v.KeyID != "alice" || v.Reason != "" || v.Offer == nil || v.Offer.Target != "host" {
		t.Fatalf("verdict %+v", v)
	}
	server, choice, err := p.Check(proto.TypeServerProof, payload(v.Reply))
	if err != nil {
		t.Fatal(err)
	}
	if choice.Version != 1 || choice.Uptime != 5 || server.Status != proto.StatusAccepted {
		t.Errorf("choice %+v of %+v", choice, server)
	}
	if v.Grant.KeyID() != "alice" || v.Grant.SessionID() != server.SessionID || server.SessionID == [16]byte{} {
		t.Errorf("grant %q %x, server says %x", v.Grant.KeyID(), v.Grant.SessionID(), server.SessionID)
	}
	again := h.Verify(h.attempt(payload(h.proof(t).Message())))
	if again.Grant == nil || again.Grant.SessionID() == v.Grant.SessionID() {
		t.Error("two sessions have one ID")
	}
}

// TestRefused: one answer to everything.
func TestRefused(t *testing.T) {
	h := newHandshake(t)
	good := payload(h.proof(t).Message())
	change := func(at int, to ...byte) []byte { return slices.Replace(slices.Clone(good), at, at+len(to), to...) }
	const transportAt, serverAt, keyLenAt, keyAt = 1, 2, 18, 19
	extAt := keyAt + len("alice") + proto.NonceLen
	mac := len(good) - proto.MACLen
	as := func(edit func(*proto.ClientProof, *proofKeys)) []byte {
		m := *h.proof(t).Message()
		keys, err := deriveKeys(h.client.Secret)
		if err != nil {
			t.Fatal(err)
		}
		edit(&m, keys)
		return payload(&m)
	}
	withKey := func(id string) []byte {
		return as(func(m *proto.ClientProof, k *proofKeys) {
			m.KeyID = id
			m.MAC = k.clientMAC(&h.binding, m.AppendUnsigned(nil))
		})
	}
	tests := []struct {
		name, reason string
		payload      []byte
	}{
		{"trailing byte", "malformed", append(slices.Clone(good), 0)},
		{"key length short", "malformed", change(keyLenAt, 4)},
		{"key length long", "malformed", change(keyLenAt, 255)},
		{"B7 ext_len 65535", "malformed", change(extAt, 0xff, 0xff)},
		{"B7 ext_len + 1", "malformed", change(extAt+1, good[extAt+1]+1)},
		{"B7 larger than a stranger's message may be", "malformed", make([]byte, proto.MaxUnproven+1)},
		{"B8 version 0", "malformed", change(0, 0)},
		{"B8 version 2", "malformed", change(0, 2)},
		{"B8 version 255", "malformed", change(0, 255)},
		{"B8 transport 0", "malformed", change(transportAt, 0)},
		{"B8 transport 2", "malformed", change(transportAt, 2)},
		{"B9 unknown key", "unknown key bob", withKey("bob")},
		{"B9 empty", "malformed", withKey("")},
		{"B9 65 bytes", "malformed", withKey(strings.Repeat("a", 65))},
		{"B9 upper case", "malformed", withKey("Alice")},
		{"B9 slash", "malformed", withKey("a/b")},
		{"B9 NUL", "malformed", withKey("alice\x00")},
		{"B9 newline", "malformed", withKey("alice\n")},
		{"B9 invalid UTF-8", "malformed", withKey("alic\xff")},
		{"B10 first byte", "wrong MAC for key alice", change(mac, good[mac]^1)},
		{"B10 middle byte", "wrong MAC", change(mac+16, good[mac+16]^1)},
		{"B10 last byte", "wrong MAC", change(len(good)-1, good[len(good)-1]^1)},
		{"B10 zero", "wrong MAC", change(mac, make([]byte, 32)...)},
		{"B10 server's key", "wrong MAC", as(func(m *proto.ClientProof, k *proofKeys) {
			m.MAC = (&proofKeys{client: k.server}).clientMAC(&h.binding, m.AppendUnsigned(nil))
		})},
		{"H2 server ID changed on the way", "wrong MAC", change(serverAt, 0)},
		{"H10 offer stripped on the way", "wrong MAC", as(func(m *proto.ClientProof, _ *proofKeys) { m.Ext = nil })},
		{"MAC over a malformed offer", "malformed", as(func(m *proto.ClientProof, k *proofKeys) {
			m.Ext = []byte{1}
			m.MAC = k.clientMAC(&h.binding, m.AppendUnsigned(nil))
		})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { mustRefuse(t, h.Verify(h.attempt(tt.payload)), tt.reason) })
	}
	t.Run("B6", func(t *testing.T) {
		for n := range good {
			mustRefuse(t, h.Verify(h.attempt(good[:n])), "malformed")
		}
	})
	t.Run("every bit", func(t *testing.T) {
		for i := range len(good) * 8 {
			mustRefuse(t, h.Verify(h.attempt(change(i/8, good[i/8]^1<<(i%8)))), "")
		}
	})
	t.Run("B11 H5 other connection", func(t *testing.T) {
		a := h.attempt(good)
		a.Binding = random32()
		mustRefuse(t, h.Verify(a), "wrong MAC")
		a.Binding = [32]byte{}
		mustRefuse(t, h.Verify(a), "no channel binding")
	})
	t.Run("other transport", func(t *testing.T) {
		a := h.attempt(good)
		a.Transport = proto.TransportQUIC
		mustRefuse(t, h.Verify(a), "malformed")
	})
	t.Run("other type", func(t *testing.T) {
		for _, typ := range []proto.Type{0, proto.TypeServerProof, proto.TypeRefused, proto.TypeRun, 0x81, 0xff} {
			a := h.attempt(good)
			a.Type = typ
			mustRefuse(t, h.Verify(a), "instead of a proof")
		}
	})
	if h.Verify(h.attempt(good)).Grant == nil {
		t.Error("the unchanged proof is refused, so the tests above prove nothing")
	}
}

// TestClientRejects: what a server without the key can answer.
func TestClientRejects(t *testing.T) {
	h := newHandshake(t)
	p := h.proof(t)
	answer := h.Verify(h.attempt(payload(p.Message()))).Reply
	good := payload(answer)
	stranger := newHandshake(t)
	stranger.binding = h.binding
	resigned := *answer.(*proto.ServerProof)
	resigned.MAC = p.keys.clientMAC(&p.binding, resigned.AppendUnsigned(nil))
	tests := []struct {
		name    string
		typ     proto.Type
		payload []byte
		want    error
	}{
		{"refusal", proto.TypeRefused, refusal[1:], ErrRefused},
		{"changed refusal", proto.TypeRefused, append([]byte("x"), refusal[2:]...), ErrServerProof},
		{"H4 our own message as a server's", proto.TypeServerProof, payload(p.Message()), ErrServerProof},
		{"H4 our own message", proto.TypeClientProof, payload(p.Message()), ErrServerProof},
		{"H4 MAC with the client's key", proto.TypeServerProof, payload(&resigned), ErrServerProof},
		{"empty", proto.TypeServerProof, nil, ErrServerProof},
		{"huge", proto.TypeServerProof, make([]byte, proto.MaxUnproven+1), ErrServerProof},
		{"answer to another proof", proto.TypeServerProof, payload(h.Verify(h.attempt(payload(h.proof(t).Message()))).Reply), ErrServerProof},
		{"other server", proto.TypeServerProof, payload(stranger.Verify(stranger.attempt(payload(stranger.proof(t).Message()))).Reply), ErrServerProof},
		{"accepted, told as started", proto.TypeStarted, good, ErrServerProof},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, c, err := p.Check(tt.typ, tt.payload)
			if m != nil || c != nil || !errors.Is(err, tt.want) {
				t.Errorf("%v, %v, %v; want %v", m, c, err, tt.want)
			}
		})
	}
	t.Run("every byte", func(t *testing.T) {
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1
			for _, b := range [][]byte{bad, good[:i]} {
				if _, _, err := p.Check(proto.TypeServerProof, b); !errors.Is(err, ErrServerProof) {
					t.Errorf("byte %d: %v", i, err)
				}
			}
		}
	})
	t.Run("nonsense under a right MAC", func(t *testing.T) {
		m := &proto.ServerProof{Ext: []byte{1}}
		m.MAC = p.keys.serverMAC(&p.binding, p.Message().Append(nil), m.AppendUnsigned(nil))
		if _, _, err := p.Check(proto.TypeServerProof, payload(m)); !errors.Is(err, proto.ErrMalformed) {
			t.Errorf("%v, want malformed", err)
		}
	})
	if _, _, err := p.Check(proto.TypeServerProof, good); err != nil {
		t.Errorf("the unchanged answer: %v", err)
	}
}

// TestDenied: a client that proved its key is told the truth.
func TestDenied(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	net10 := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	wrongServer := ServerID{7}
	tests := []struct {
		name   string
		key    Key
		remote string
		limit  string
		server ServerID // that the client means; zero = the right one
		status proto.Status
		text   string
	}{
		{name: "valid", key: Key{NotBefore: now, NotAfter: now.Add(time.Nanosecond)}},
		{name: "H2 wrong server", server: wrongServer, status: proto.StatusWrongServer,
			text: "wrong server: this is 404142434445464748494a4b4c4d4e4f, and the key belongs to " + wrongServer.String()},
		{name: "H2 wrong server before the key's state", server: wrongServer, key: Key{Disabled: true},
			status: proto.StatusWrongServer, text: "wrong server"},
		{name: "expired", key: Key{NotAfter: now}, status: proto.StatusExpired,
			text: "key alice expired on 2026-01-02 15:04:05 UTC; make a new one with: rexecd key add (the server's clock says 2026-01-02 15:04:05 UTC)"},
		{name: "not yet", key: Key{NotBefore: now.Add(time.Second)}, status: proto.StatusNotYet,
			text: "key alice is not valid before 2026-01-02 15:04:06 UTC"},
		{name: "disabled", key: Key{Disabled: true}, status: proto.StatusDisabled, text: "key alice is disabled"},
		{name: "source", key: Key{From: net10}, remote: "192.0.2.1", status: proto.StatusSource,
			text: "key alice may not be used from 192.0.2.1"},
		{name: "source unknown", key: Key{From: net10}, remote: "-", status: proto.StatusSource, text: "key alice may not"},
		{name: "source allowed", key: Key{From: net10}, remote: "10.1.2.3"},
		{name: "source allowed as IPv6", key: Key{From: net10}, remote: "::ffff:10.1.2.3"},
		{name: "source allowed with a zone", key: Key{From: net10}, remote: "fe80::1%eth0"},
		{name: "limit", limit: "too many connections", status: proto.StatusLimit, text: "too many connections"},
		{name: "limit after the key's state", limit: "x", key: Key{Disabled: true}, status: proto.StatusDisabled, text: "disabled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHandshake(t)
			tt.key.ID, tt.key.Secret = "alice", h.client.Secret
			h.Verifier = newTestVerifier(t, h.client.Server, func() time.Time { return now }, tt.key)
			if tt.server != (ServerID{}) {
				h.client.Server = tt.server
			}
			p := h.proof(t)
			a := h.attempt(payload(p.Message()))
			a.Limit = tt.limit
			if tt.remote == "-" {
				a.Remote = netip.Addr{}
			} else if tt.remote != "" {
				a.Remote = netip.MustParseAddr(tt.remote)
			}
			v := h.Verify(a)
			m, choice, err := p.Check(proto.TypeServerProof, payload(v.Reply))
			if tt.status == proto.StatusAccepted {
				if err != nil || choice == nil || v.Grant == nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var denied *DeniedError
			if !errors.As(err, &denied) || v.Grant != nil || choice != nil {
				t.Fatalf("%v, grant %v; want a denial", err, v.Grant)
			}
			if denied.Status != tt.status || m.Status != tt.status || !strings.Contains(denied.Text, tt.text) {
				t.Errorf("status %d %q, want %d %q", denied.Status, denied.Text, tt.status, tt.text)
			}
			where := ""
			if tt.status != proto.StatusWrongServer && tt.status != proto.StatusLimit {
				where = " (" + h.store.path + ":3)"
			}
			if v.KeyID != "alice" || v.Reason != denied.Text+where || m.SessionID != [16]byte{} {
				t.Errorf("key %q, reason %q, session %x", v.KeyID, v.Reason, m.SessionID)
			}
		})
	}
}

// TestNoCommonVersion: a client that speaks other versions only learns that from an authenticated text.
func TestNoCommonVersion(t *testing.T) {
	for _, offer := range []*proto.Offer{{MinVersion: 2, MaxVersion: 9}, {MinVersion: 1, MaxVersion: 1}, {MinVersion: 1, MaxVersion: 9}} {
		h := newHandshake(t)
		p, err := NewProof(h.client, proto.TransportTCP, h.binding, offer)
		if err != nil {
			t.Fatal(err)
		}
		v := h.Verify(h.attempt(payload(p.Message())))
		_, _, err = p.Check(proto.TypeServerProof, payload(v.Reply))
		if offer.MinVersion == 1 {
			if err != nil || v.Grant == nil {
				t.Errorf("versions %d to %d: %v", offer.MinVersion, offer.MaxVersion, err)
			}
			continue
		}
		var denied *DeniedError
		if !errors.As(err, &denied) || denied.Status != proto.StatusVersion || v.Grant != nil {
			t.Errorf("versions %d to %d: %v, grant %v", offer.MinVersion, offer.MaxVersion, err, v.Grant)
		}
	}
}

// TestStolenServerFile: the secret that a server holds for a client of a fleet is worth
// nothing at another server.
func TestStolenServerFile(t *testing.T) {
	fleet := newTestSecret(t)
	a, b := ServerID{1}, ServerID{2}
	secretA, errA := fleet.ForServer(a, "alice")
	secretB, errB := fleet.ForServer(b, "alice")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	h := &handshake{newTestVerifier(t, a, nil, Key{ID: "alice", Secret: secretA}), ClientKey{a, "alice", secretB}, random32()}
	mustRefuse(t, h.Verify(h.attempt(payload(h.proof(t).Message()))), "wrong MAC")
	h.client.Secret = secretA
	if h.Verify(h.attempt(payload(h.proof(t).Message()))).Grant == nil {
		t.Error("the right secret is refused too")
	}
}

func TestAuthorize(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	key := Key{ID: "alice", Secret: newTestSecret(t), RunAs: "deploy", NotAfter: now.Add(time.Hour),
		From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	clock := now
	v := newTestVerifier(t, ServerID{1}, func() time.Time { return clock }, key)
	h := &handshake{v, ClientKey{ServerID{1}, "alice", key.Secret}, random32()}
	a := h.attempt(payload(h.proof(t).Message()))
	a.Remote = netip.MustParseAddr("10.0.0.1")
	g := h.Verify(a).Grant
	if g == nil {
		t.Fatal("refused")
	}
	mayNot := func(text string, status proto.Status, remote string) {
		t.Helper()
		var denied *DeniedError
		_, err := v.Authorize(g, netip.MustParseAddr(remote))
		if !errors.As(err, &denied) || !strings.Contains(denied.Text, text) || denied.Status != status {
			t.Errorf("%v, want status %d %q", err, status, text)
		}
	}
	k, err := v.Authorize(g, a.Remote)
	if err != nil || k.RunAs != "deploy" || k.Secret != (Secret{}) {
		t.Errorf("%+v, %v", k, err)
	}
	mayNot("may not be used from 192.0.2.1", proto.StatusSource, "192.0.2.1")
	clock = now.Add(time.Hour)
	mayNot("expired", proto.StatusExpired, "10.0.0.1")
	clock = now

	replace := func(k *Key) {
		t.Helper()
		if err := RevokeKey(v.store.path, "alice"); err != nil && !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
		if k != nil {
			if err := AddKey(v.store.path, *k); err != nil {
				t.Fatal(err)
			}
		}
		if changed, err := v.store.Refresh(); err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	key.RunAs = "other"
	replace(&key)
	if k, err := v.Authorize(g, a.Remote); err != nil || k.RunAs != "other" {
		t.Errorf("the policy of the proof's time is used: %+v, %v", k, err)
	}
	replace(nil)
	mayNot("was revoked", proto.StatusDisabled, "10.0.0.1")
	key.Secret = newTestSecret(t)
	replace(&key)
	mayNot("was revoked", proto.StatusDisabled, "10.0.0.1")
	if _, err := v.Authorize(nil, a.Remote); err == nil {
		t.Error("no grant is authorized")
	}
}

// TestTiming compares how long known and unknown keys take. It prints the ratio of medians and fails only on a
// gross difference, such as work that is left out for unknown keys.
func TestTiming(t *testing.T) {
	h := newHandshake(t)
	h.Verifier = newTestVerifier(t, h.client.Server, nil, Key{ID: "alice", Secret: h.client.Secret}, Key{ID: "bob42",
		Secret: newTestSecret(t), Old: &OldSecret{newTestSecret(t), time.Now().Add(time.Hour)}})
	good := payload(h.proof(t).Message())
	h.client.KeyID = "zoe42"
	unknown := payload(h.proof(t).Message())
	mac := len(good) - proto.MACLen
	h.client.KeyID = "bob42"
	rotated := payload(h.proof(t).Message())
	cases := map[string][]byte{"unknown key": unknown, "wrong MAC, key with two secrets": rotated}
	for _, same := range []int{0, 16, 31} {
		b := slices.Clone(good)
		for i := mac + same; i < len(b); i++ {
			b[i] ^= 0x55
		}
		cases["wrong MAC, bytes right: "+string(rune('0'+same/10))+string(rune('0'+same%10))] = b
	}
	took := map[string][]time.Duration{}
	for range 2_000 {
		for name, b := range cases { // interleaved, in changing order
			a := h.attempt(b)
			start := time.Now()
			v := h.Verify(a)
			took[name] = append(took[name], time.Since(start))
			if v.Grant != nil || string(v.Reply.Append(nil)) != string(refusal) {
				t.Fatalf("%s: not refused", name)
			}
		}
	}
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	base := median(took["unknown key"])
	for name, d := range took {
		ratio := float64(median(d)) / float64(base)
		t.Logf("%s: median %v, %.2f of an unknown key's", name, median(d), ratio)
		if ratio < 0.5 || ratio > 2 {
			t.Errorf("%s: takes %.2f of the time for an unknown key", name, ratio)
		}
	}
}

func TestNewProofRefuses(t *testing.T) {
	good := ClientKey{ServerID{1}, "alice", newTestSecret(t)}
	tests := []struct {
		name      string
		key       ClientKey
		transport uint8
		binding   [32]byte
		offer     *proto.Offer
	}{
		{"key ID", ClientKey{ServerID{1}, "Alice", good.Secret}, 1, [32]byte{1}, nil},
		{"no server", ClientKey{ServerID{}, "alice", good.Secret}, 1, [32]byte{1}, nil},
		{"no secret", ClientKey{ServerID{1}, "alice", Secret{}}, 1, [32]byte{1}, nil},
		{"transport", good, 0, [32]byte{1}, nil},
		{"no binding", good, 1, [32]byte{}, nil},
		{"offer", good, 1, [32]byte{1}, &proto.Offer{Target: strings.Repeat("a", proto.MaxExt)}},
	}
	for _, tt := range tests {
		if _, err := NewProof(tt.key, tt.transport, tt.binding, tt.offer); err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	if _, err := NewProof(good, 1, [32]byte{1}, nil); err != nil {
		t.Error(err)
	}
	if _, err := NewVerifier(ServerID{}, nil, nil); err == nil {
		t.Error("a server without an ID verifies")
	}
}

func BenchmarkVerify(b *testing.B) {
	h := newHandshake(b)
	a := h.attempt(payload(h.proof(b).Message()))
	b.ReportAllocs()
	for b.Loop() {
		if h.Verify(a).Grant == nil {
			b.Fatal("refused")
		}
	}
}
