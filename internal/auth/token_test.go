package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func newTestToken(t testing.TB) Token {
	return Token{"host.example:8000", ClientKey{ServerID(count(0x40, 16)), "alice@laptop", newTestSecret(t)}}
}

func sameToken(a, b Token) bool {
	return a.Address == b.Address && a.Key.Server == b.Key.Server && a.Key.KeyID == b.Key.KeyID && a.Key.Secret.Equal(b.Key.Secret)
}

func TestToken(t *testing.T) {
	for _, address := range []string{"h:1", "[::1]:65535", "[fe80::1%eth0]:8000", strings.Repeat("a.", 124) + "b:8000"} {
		want := newTestToken(t)
		want.Address = address
		text := want.Encode()
		for _, s := range []string{text, " \t\r\n" + text + "\r\n\n"} {
			if got, err := ParseToken(s); err != nil || !sameToken(got, want) {
				t.Errorf("%s: %v, %v", address, got, err)
			}
		}
	}
}

// TestTokenVector fixes the format: tokens outlive programs.
func TestTokenVector(t *testing.T) {
	secret := secretOf([32]byte(hexBytes(t, "98302163831d8ade2e0b8ab06af9290e2e9cc1c5002fca9bfcf9344c090fb2e2")))
	const want = "rexec:AUBBQkNERUZHSElKS0xNTk-YMCFjgx2K3i4LirBq-SkOLpzBxQAvypv8-TRMCQ-y4gVhbGljZQZoOjgwMDCLpHMA"
	if got := (Token{"h:8000", ClientKey{ServerID(count(0x40, 16)), "alice", secret}}).Encode(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestDamagedToken damages a token in every way that copying does.
func TestDamagedToken(t *testing.T) {
	token := newTestToken(t)
	text := token.Encode()
	refuse := func(what, s string) {
		t.Helper()
		if _, err := ParseToken(s); !errors.Is(err, ErrToken) {
			t.Errorf("%s %q: %v", what, s, err)
		}
	}
	for i := range text {
		refuse("missing character", text[:i]+text[i+1:])
		refuse("cut", text[:i])
		refuse("cut in front", text[i+1:])
		refuse("doubled character", text[:i]+text[i:i+1]+text[i:])
		other := byte('A')
		if text[i] == 'A' {
			other = 'B'
		}
		refuse("changed character", text[:i]+string(other)+text[i+1:])
		if i > 0 && text[i-1] != text[i] {
			refuse("swapped characters", text[:i-1]+text[i:i+1]+text[i-1:i]+text[i+1:])
		}
		if i > 0 {
			for _, space := range []string{" ", "\n", "\r\n", "\t", "=", "\x00", "\u200b"} {
				refuse("wrapped", text[:i]+space+text[i:])
			}
		}
	}
	refuse("empty", "")
	refuse("prefix only", "rexec:")
	refuse("upper case", strings.ToUpper(text))
	refuse("padded", text+"=")
	refuse("twice", text+text)
	refuse("huge", "rexec:"+strings.Repeat("A", 1<<20))
	refuse("standard alphabet", "rexec:"+base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\xff", 100))))
	if got := ErrToken.Error(); got != "the token is damaged (checksum): copy the whole line again, from rexec: to its end" {
		t.Error(got)
	}
}

// TestTokenBits refuses a second text for the same bytes, which ignored bits at the end would allow.
func TestTokenBits(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	token := newTestToken(t)
	for len(token.Encode())%4 == 2 { // whole groups after "rexec:" leave no bits
		token.Key.KeyID += "a"
	}
	text := token.Encode()
	for _, c := range alphabet {
		if s := text[:len(text)-1] + string(c); s != text {
			if _, err := ParseToken(s); !errors.Is(err, ErrToken) {
				t.Errorf("last character %c: %v", c, err)
			}
		}
	}
}

// TestWrongToken has right checksums over wrong content.
func TestWrongToken(t *testing.T) {
	good := newTestToken(t)
	body, ok := decodeBase64(strings.TrimPrefix(good.Encode(), tokenPrefix))
	if !ok {
		t.Fatal("not base64")
	}
	body = body[:len(body)-tokenChecksum]
	const keyLenAt = 1 + 16 + 32
	change := func(at int, to ...byte) []byte {
		b := append([]byte(nil), body...)
		copy(b[at:], to)
		return b
	}
	tests := map[string]struct {
		body []byte
		want string
	}{
		"version":     {change(0, 2), "version 2"},
		"version 0":   {change(0, 0), "version 0"},
		"short":       {body[:20], "do not fit"},
		"no address":  {body[:keyLenAt+1+len("alice@laptop")], "do not fit"},
		"trailing":    {append(change(0, 1), 0), "do not fit"},
		"key length":  {change(keyLenAt, 255), "do not fit"},
		"key ID":      {change(keyLenAt+1, 'A'), "a key ID is"},
		"zero server": {change(1, make([]byte, 16)...), "a server ID is"},
		"weak secret": {change(17, make([]byte, 32)...), "all zero"},
		"address":     {change(len(body)-1, '/'), "host:port"},
		"upper case":  {change(len(body)-len("host.example:8000"), 'H'), "host:port"},
	}
	for name, tt := range tests {
		_, err := ParseToken(tokenPrefix + base64.RawURLEncoding.EncodeToString(append(tt.body, checksum(tt.body)...)))
		if errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
		mustFail(t, err, good.Key.Secret.base64(), tt.want)
	}
}

func TestEncodePanics(t *testing.T) {
	good := newTestToken(t)
	bad := map[string]Token{"address": {"Host", good.Key}, "key": {"h:1", ClientKey{ServerID{1}, "", good.Key.Secret}},
		"server": {"h:1", ClientKey{ServerID{}, "a", good.Key.Secret}}, "secret": {"h:1", ClientKey{ServerID{1}, "a", Secret{}}}}
	for name, token := range bad {
		func() {
			defer func() {
				if r, ok := recover().(string); !ok || !strings.Contains(r, "internal error") {
					t.Errorf("%s: %v", name, r)
				}
			}()
			token.Encode()
		}()
	}
}

// TestCanonicalAddress: what is an address, and what must not pass for one.
func TestCanonicalAddress(t *testing.T) {
	label := strings.Repeat("a", 61) + "."
	tests := []struct {
		in          string
		defaultPort int
		want        string // or what the error says, after an exclamation mark
	}{
		{"h", 8000, "h:8000"},
		{"Host.Example", 8000, "host.example:8000"},
		{"h:1", 8000, "h:1"},
		{"h:0080", 8000, "h:80"},
		{"h.", 8000, "h.:8000"},
		{"my_host-1", 8000, "my_host-1:8000"},
		{"xn--bcher-kva", 8000, "xn--bcher-kva:8000"},
		{"192.0.2.1:65535", 0, "192.0.2.1:65535"},
		{"::1", 8000, "[::1]:8000"},
		{"[::1]", 8000, "[::1]:8000"},
		{"[2001:DB8:0:0::1]:9", 8000, "[2001:db8::1]:9"},
		{"fe80::1%eth0", 8000, "[fe80::1%eth0]:8000"},
		{"[fe80::1%Eth0.1]:9", 8000, "[fe80::1%Eth0.1]:9"},
		{label + label + label + label + "a:1", 0, label + label + label + label + "a:1"},
		{"", 8000, "!host is missing"},
		{":1", 8000, "!host is missing"},
		{"h", 0, "!port is missing"},
		{"[::1]", 0, "!port is missing"},
		{"h:", 8000, "!port is a number from 1 to 65535"},
		{"h:0", 8000, "!port is a number from 1 to 65535"},
		{"h:65536", 8000, "!port is a number from 1 to 65535"},
		{"h:+1", 8000, "!port is a number"},
		{"h:-1", 8000, "!port is a number"},
		{"h: 1", 8000, "!port is a number"},
		{"h:1x", 8000, "!port is a number"},
		{"h:http", 8000, "!port is a number"},
		{"[::1]:0", 8000, "!port is a number"},
		{"[::1]8000", 8000, "!brackets"},
		{"[::1", 8000, "!brackets"},
		{"[h]:1", 8000, "!brackets"},
		{"[192.0.2.1]:1", 8000, "!brackets"},
		{"a:1:2", 8000, "!neither host:port"},
		{"fe80::1%a/b", 8000, "!neither host:port"},
		{"fe80::1%" + strings.Repeat("a", 16), 8000, "!neither host:port"},
		{"-oX", 8000, "!does not begin with -"},
		{"-oX:1", 8000, "!does not begin with -"},
		{strings.Repeat("a", 254), 8000, "!at most 253 bytes"},
		{strings.Repeat("a", 64), 8000, "!1 to 63 bytes"},
		{label + label + label + label + "aaaaa:65535", 0, "!longer than 255"},
		{"a..b", 8000, "!1 to 63 bytes"},
		{"..", 8000, "!1 to 63 bytes"},
		{".", 8000, "!1 to 63 bytes"},
		{"bücher", 8000, "!xn-- form"},
		{"a b", 8000, "!letters, digits"},
		{"a\nb", 8000, `!"a\nb": a host has letters`},
		{"a\x1b[2J", 8000, `!"a\x1b[2J"`},
		{"a/b", 8000, "!letters, digits"},
		{"u@h", 8000, "!letters, digits"},
		{"@", 8000, "!letters, digits"},
	}
	for _, tt := range tests {
		got, err := CanonicalAddress(tt.in, tt.defaultPort)
		if want, bad := strings.CutPrefix(tt.want, "!"); bad {
			mustFail(t, err, "", want)
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if again, err := CanonicalAddress(got, 0); err != nil || again != got {
			t.Errorf("%q: the canonical form becomes %q, %v", got, again, err)
		}
	}
}
