//go:build linux

package runner

import (
	"net/netip"
	"path/filepath"
	"testing"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/exec"
	"rexec/internal/job"
	"rexec/internal/proto"
)

func TestGBLocale(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		want bool
	}{
		{nil, false},
		{[]string{"LANG=C.UTF-8"}, false},
		{[]string{"LANG=zh_CN.UTF-8"}, false},
		{[]string{"LANG=zh_CN.GB18030"}, true},
		{[]string{"LANG=zh_CN.gbk@x"}, true},
		{[]string{"LANG=zh_CN"}, true},
		{[]string{"LANG=C.UTF-8", "LC_CTYPE=zh_CN.GBK"}, true},
		{[]string{"LANG=zh_CN.GBK", "LC_CTYPE=C.UTF-8"}, false},
		{[]string{"LANG=zh_CN.GBK", "LC_ALL=C", "LC_CTYPE=zh_CN.GBK"}, false},
		{[]string{"LANG=zh_CN.GBK", "LC_ALL=", "LC_CTYPE="}, true},
		{[]string{"LC_MESSAGES=zh_CN.GBK", "XLANG=zh_CN.GBK", "LANG2=zh_CN.GBK"}, false},
	} {
		if got := gbLocale(tt.env); got != tt.want {
			t.Errorf("%q: %v", tt.env, got)
		}
	}
}

// TestPrinted starts commands, since what Start hands over is what counts.
func TestPrinted(t *testing.T) {
	launcher, err := exec.NewLauncher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(launcher.Close)
	for _, tt := range []struct {
		name    string
		key     string
		options Options
		locale  string // LC_ALL, as the client sets it
		want    charset.Mode
		gb      bool
	}{
		{"configuration", "", Options{Charset: charset.Auto}, "", charset.Auto, false},
		{"key", "gbk", Options{Charset: charset.Auto}, "", charset.GBK, false},
		{"key with the first of the modes", "raw", Options{Charset: charset.GB18030}, "", charset.Raw, false},
		{"server's locale", "", Options{Charset: charset.Auto, Lang: "zh_CN.GB18030"}, "", charset.Auto, true},
		{"administrator's locale", "", Options{Lang: "C", Env: map[string]string{"LC_CTYPE": "zh_CN.GBK"}}, "", charset.Raw, true},
		{"client's locale", "auto", Options{Charset: charset.UTF8, Lang: "zh_CN.GBK"}, "C.UTF-8", charset.Auto, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, g, remote := granted(t, launcher, auth.Key{ID: "k", Charset: tt.key}, tt.options)
			m := &proto.Run{Argv: [][]byte{[]byte("/bin/true")}, NoStdin: true}
			if tt.locale != "" {
				m.Env = []proto.EnvVar{{Name: []byte("LC_ALL"), Value: []byte(tt.locale)}}
			}
			p, err := r.Start(t.Context(), g, job.Peer{Remote: netip.AddrPortFrom(remote, 1)}, m)
			if err != nil {
				t.Fatal(err)
			}
			p.Handle.Wait()
			p.Stdout.Close()
			p.Stderr.Close()
			if p.Charset != tt.want || p.GBLocale != tt.gb {
				t.Errorf("%v, %v; want %v, %v", p.Charset, p.GBLocale, tt.want, tt.gb)
			}
		})
	}
}

// granted returns a runner with one key, and what the proof of that key gave.
func granted(t *testing.T, l *exec.Launcher, k auth.Key, o Options) (*Runner, *auth.Grant, netip.Addr) {
	t.Helper()
	var err error
	if k.Secret, err = auth.NewSecret(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state", "keys")
	if err := auth.AddKey(path, k); err != nil {
		t.Fatal(err)
	}
	store, err := auth.OpenStore(path)
	if err != nil {
		t.Fatal(err)
	}
	id := auth.ServerID{1}
	v, err := auth.NewVerifier(id, store, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.AcceptEnv = []string{"LC_*"}
	r := New(v, store, l, o, func(err error) { t.Error(err) })
	binding, remote := [32]byte{1}, netip.MustParseAddr("192.0.2.1")
	p, err := auth.NewProof(auth.ClientKey{Server: id, KeyID: k.ID, Secret: k.Secret}, proto.TransportTCP, binding,
		&proto.Offer{MinVersion: proto.Version, MaxVersion: proto.Version})
	if err != nil {
		t.Fatal(err)
	}
	verdict := r.Verify(auth.Attempt{Transport: proto.TransportTCP, Binding: binding, Remote: remote,
		Type: proto.TypeClientProof, Payload: p.Message().Append(nil)[1:]})
	if verdict.Grant == nil {
		t.Fatal(verdict.Reason)
	}
	return r, verdict.Grant, remote
}
