package auth

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"rexec/internal/proto"
)

// count returns n bytes that count up from first, as in the published vectors.
func count(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// TestVectors fixes every byte of the handshake: another implementation must agree with them.
func TestVectors(t *testing.T) {
	check := func(name, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	fleet := secretOf([32]byte(count(0, 32)))
	id := ServerID(count(0x40, 16))
	binding := [32]byte(count(0x80, 32))
	pair, err := fleet.ForServer(id, "alice")
	if err != nil {
		t.Fatal(err)
	}
	check("P", hex.EncodeToString(pair.bytes()), "98302163831d8ade2e0b8ab06af9290e2e9cc1c5002fca9bfcf9344c090fb2e2")
	keys, err := deriveKeys(pair)
	if err != nil {
		t.Fatal(err)
	}
	check("K_c", hex.EncodeToString(keys.client[:]), "f2bcfc9540f8f82aae4c226b0a4c20e92d5cb12e84daad705ed734b111cb69b3")
	check("K_s", hex.EncodeToString(keys.server[:]), "113beeeac1c8d9742a9c04df8d4caa10e59e3f5fa9b8f6be0614f598483d3abd")

	client := &proto.ClientProof{Transport: proto.TransportTCP, ServerID: id, KeyID: "alice", Nonce: [32]byte(count(0xa0, 32))}
	a := client.AppendUnsigned(nil)
	check("A", hex.EncodeToString(a), "010101404142434445464748494a4b4c4d4e4f05616c696365a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"+
		"b0b1b2b3b4b5b6b7b8b9babbbcbdbebf0000")
	client.MAC = keys.clientMAC(&binding, a)
	check("client_mac", hex.EncodeToString(client.MAC[:]), "7592cfc299f74ab5f81bec150b0595780009def478325337a653740840830110")

	server := &proto.ServerProof{Nonce: [32]byte(count(0xc0, 32)), SessionID: [16]byte(count(0xe0, 16))}
	s := server.AppendUnsigned(nil)
	check("S", hex.EncodeToString(s), "0200c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9"+
		"eaebecedeeef00000000")
	server.MAC = keys.serverMAC(&binding, client.Append(nil), s)
	check("server_mac", hex.EncodeToString(server.MAC[:]), "8ba08ebe3a9edc826680ce8f63e29973b0451d61cc630515a237a26f52cf3817")

	// The whole path agrees with the vectors, not the functions alone.
	v := newTestVerifier(t, id, nil, Key{ID: "alice", Secret: pair})
	got := v.Verify(Attempt{Transport: proto.TransportTCP, Binding: binding, Type: proto.TypeClientProof, Payload: client.Append(nil)[1:]})
	if got.Grant == nil {
		t.Errorf("the vector's client is refused: %s", got.Reason)
	}
	p := &Proof{keys, binding, client}
	if _, _, err := p.Check(proto.TypeServerProof, server.Append(nil)[1:]); err != nil {
		t.Errorf("the vector's server is refused: %v", err)
	}
}

// TestParseSecret: what is no random key is refused, with the reason.
func TestParseSecret(t *testing.T) {
	random := newTestSecret(t).bytes()
	tests := []struct {
		name   string
		secret []byte
		want   string // in the error; empty for none
	}{
		{"random", random, ""},
		{"none", nil, "32 bytes, not 0"},
		{"31 bytes", random[:31], "32 bytes, not 31"},
		{"33 bytes", append(random[:32:32], 7), "32 bytes, not 33"},
		{"zero", make([]byte, 32), "all zero"},
		{"one byte", []byte(strings.Repeat("\xa7", 32)), "one byte repeated"},
		{"period 2", []byte(strings.Repeat("\xa7\x01", 16)), "repeats itself"},
		{"period 7", []byte(strings.Repeat("\xa7\x01\x02\x03\x05\x08\x0d", 5)[:32]), "repeats itself"},
		{"period 16", append(random[:16:16], random[:16]...), "repeats itself"},
		{"counter", count(0xf0, 32), "counts"},
		{"counter down", []byte(hexBytes(t, "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100")), "counts"},
		{"words", []byte("correct horse battery staple 123"), "text"},
		{"line", []byte("correct horse battery staple 12\n"), "text"},
		{"padded words", []byte("the quick brown fox jumps\x00\x00\x00\x00\x00\x00\x00"), "text"},
		{"UTF-8", []byte("ключ от квартиры!!"), "text"},
		{"hex of 16 bytes", []byte(hex.EncodeToString(random[:16])), "hexadecimal text"},
		{"few bytes", append(append(random[:12:12], make([]byte, 19)...), 1), "few different bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseSecret(tt.secret)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error %v, want %q in it", err, tt.want)
			case len(tt.secret) > 8 && err != nil && strings.Contains(err.Error(), string(tt.secret[:8])):
				t.Errorf("%v holds the secret", err)
			}
		})
	}
}

func hexBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNewSecretDiffers(t *testing.T) {
	a, b := newTestSecret(t), newTestSecret(t)
	if a.Equal(b) || !a.Equal(a) {
		t.Error("two new secrets are equal, or one is not equal to itself")
	}
	if (Secret{}).Equal(Secret{}) || a.Equal(Secret{}) || (Secret{}).Equal(a) {
		t.Error("no secret equals something")
	}
}

// TestSecretsDoNotPrint formats everything that holds a secret with every verb.
func TestSecretsDoNotPrint(t *testing.T) {
	secret := newTestSecret(t)
	key := Key{ID: "alice", Secret: secret}
	id, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	client := ClientKey{ServerID{1}, "alice", secret}
	proof, err := NewProof(client, 1, [32]byte{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := deriveKeys(secret)
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct{ s Secret }
	holders := []any{secret, &secret, key, &key, client, Token{"h:1", client}, proof, hidden{secret}, &hidden{secret},
		&Grant{secret: secret}, entry{key, keys, keys}, OldSecret{Secret: secret}, &Key{Old: &OldSecret{Secret: secret}}, newTestVerifier(t, ServerID{1}, nil, key), []Secret{secret}}
	leaks := func(out string, b []byte) bool {
		return strings.Contains(out, string(b[:8])) ||
			strings.Contains(strings.ToLower(out), hex.EncodeToString(b[:8])) ||
			strings.Contains(out, strings.Trim(fmt.Sprintf("%d", b[:8]), "[]")) ||
			strings.Contains(out, strings.Trim(fmt.Sprintf("%#v", b[:8]), "[]byte{}")) ||
			strings.Contains(out, secret.base64()[:8])
	}
	for _, h := range holders {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			out := fmt.Sprintf(verb, h)
			for _, b := range [][]byte{secret.bytes(), keys.client[:], keys.server[:]} {
				if leaks(out, b) {
					t.Errorf("%s of %T shows the secret: %s", verb, h, out)
				}
			}
			if leaks(fmt.Sprintf(verb, id), id.Key.Seed()) {
				t.Errorf("%s of an identity shows its key", verb)
			}
		}
	}
	if text, err := secret.MarshalText(); err != nil || string(text) != redacted {
		t.Errorf("MarshalText: %q, %v", text, err)
	}
	if _, err := secret.MarshalBinary(); err == nil {
		t.Error("MarshalBinary works")
	}
}

func TestServerID(t *testing.T) {
	id := ServerID(count(0x40, 16))
	if got, err := ParseServerID(id.String()); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 32), strings.Repeat("g", 32), strings.Repeat("A", 32),
		id.String() + "0", id.String()[:31], " " + id.String()[1:]} {
		if _, err := ParseServerID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
