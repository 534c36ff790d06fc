package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"rexec/internal/proto"
)

// FuzzToken: whatever parses has one text.
func FuzzToken(f *testing.F) {
	good := newTestToken(f).Encode()
	for _, s := range []string{good, " " + good + "\n", good[:30], "rexec:", "rexec:AAAA", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseToken(s)
		if err != nil {
			return
		}
		if got := token.Encode(); got != strings.TrimSpace(s) {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

// FuzzKeyLine: whatever parses means the same when it is written again, and then reads the same.
func FuzzKeyLine(f *testing.F) {
	full, err := formatKey(fullKey(f))
	if err != nil {
		f.Fatal(err)
	}
	secret := newTestSecret(f).base64()
	for _, line := range []string{string(full), fmt.Sprintf(`{"id":"a","secret":%q,"from":["10.0.0.1"]}`, secret),
		fmt.Sprintf(`{"id":"a","secret":%q,"not_after":"2027-01-01T00:00:00.5+02:00","command":"\u00e9\t"}`, secret),
		fmt.Sprintf(`{"id":"a","secret":%q,"argv":[["a","*"]]} {}`, secret),
		fmt.Sprintf(`{"id":"a","secret":%q,"old_secret":%q,"old_until":"2027-01-01T00:00:00Z"}`, secret, newTestSecret(f).base64()),
		`{"id":`, `[[[[`, ``} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		k, err := parseKey(line)
		if err != nil {
			return
		}
		text, err := formatKey(k)
		if err != nil {
			t.Fatalf("parsed but not written: %v", err)
		}
		again, err := parseKey(text)
		if err != nil || !reflect.DeepEqual(k, again) {
			t.Fatalf("%+v becomes %+v, %v", k, again, err)
		}
		if second, err := formatKey(again); err != nil || string(second) != string(text) {
			t.Errorf("%s becomes %s, %v", text, second, err)
		}
	})
}

// FuzzVerify: no message makes a grant unless its end is the MAC that this test computes by itself.
func FuzzVerify(f *testing.F) {
	h := newHandshake(f)
	h.binding = [32]byte(count(0x80, 32))
	good := payload(h.proof(f).Message())
	f.Add(uint8(proto.TypeClientProof), uint8(proto.TransportTCP), good)
	f.Add(uint8(proto.TypeClientProof), uint8(proto.TransportQUIC), good)
	f.Add(uint8(proto.TypeServerProof), uint8(0), good[:50])
	f.Add(uint8(proto.TypeClientProof), uint8(proto.TransportTCP), []byte{})
	keys, err := deriveKeys(h.client.Secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typ, transport uint8, payload []byte) {
		a := h.attempt(payload)
		a.Type, a.Transport = proto.Type(typ), transport
		v := h.Verify(a)
		if v.Reply == nil {
			t.Fatal("no reply")
		}
		right := false
		if n := len(payload) - proto.MACLen; n >= 0 {
			mac := hmac.New(sha256.New, keys.client[:])
			mac.Write([]byte("rexec/1 client proof\x00"))
			mac.Write(h.binding[:])
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(n+1)))
			mac.Write([]byte{typ})
			mac.Write(payload[:n])
			right = hmac.Equal(mac.Sum(nil), payload[n:])
		}
		if (v.Grant != nil || v.KeyID != "") && !right {
			t.Fatalf("granted without the MAC: %x", payload)
		}
		if _, refused := v.Reply.(proto.Refused); !refused && !right {
			t.Fatalf("a stranger gets %x", v.Reply.Append(nil))
		}
	})
}

// TestComparisons looks through this package for comparisons of MACs and secrets whose time depends
// on them.
func TestComparisons(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files++
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range leakyComparisons(t, string(text)) {
			t.Errorf("%s:%s", e.Name(), found)
		}
	}
	if files < 10 {
		t.Errorf("%d files looked at", files)
	}
	for code, want := range map[string]int{
		"bytes.Equal(a, b)": 1, "bytes.Compare(a, b)": 1, "slices.Equal(a, b)": 1, "reflect.DeepEqual(a, b)": 1,
		"mac == want": 1, "m.MAC != x": 1, "string(a.mac[:]) == b": 1, "k.Secret == s": 1, "strings.EqualFold(a, b)": 0,
		"hmac.Equal(mac, want)": 0, "len(mac) == 32": 0, "k.Secret.p == nil": 0, "a == b": 0,
	} {
		if got := leakyComparisons(t, "package p\nvar x = "+code); len(got) != want {
			t.Errorf("%s: found %q, want %d", code, got, want)
		}
	}
}

// leakyComparisons returns the lines of calls that compare bytes, and of == and != on anything whose
// name says that it is a MAC or a secret.
func leakyComparisons(t *testing.T, text string) (found []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	report := func(n ast.Node) {
		found = append(found, fmt.Sprintf("%d: %s", fset.Position(n.Pos()).Line,
			text[fset.Position(n.Pos()).Offset:fset.Position(n.End()).Offset]))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok {
				switch x, _ := s.X.(*ast.Ident); {
				case x == nil:
				case x.Name == "bytes" || x.Name == "slices" || x.Name == "reflect":
					if strings.HasSuffix(s.Sel.Name, "Equal") || s.Sel.Name == "Compare" {
						report(n)
					}
				}
			}
		case *ast.BinaryExpr:
			if (n.Op == token.EQL || n.Op == token.NEQ) && !isNil(n.X) && !isNil(n.Y) && (isSecret(n.X) || isSecret(n.Y)) {
				report(n)
			}
		}
		return true
	})
	return found
}

func isNil(e ast.Expr) bool { id, ok := e.(*ast.Ident); return ok && id.Name == "nil" }

func isSecret(e ast.Expr) (yes bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			id, ok := n.Fun.(*ast.Ident)
			return !ok || id.Name != "len"
		case *ast.Ident:
			name := strings.ToLower(n.Name)
			yes = yes || name == "mac" || name == "secret" || strings.HasSuffix(n.Name, "MAC")
		}
		return true
	})
	return yes
}
