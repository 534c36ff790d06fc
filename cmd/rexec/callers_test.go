package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rexec/internal/auth"
	"rexec/internal/charset"
	"rexec/internal/hosts"
	"rexec/internal/proto"
)

// parsed is a command line as the rest of the program sees it.
func parsed(t *testing.T, args []string, env map[string]string) (*options, *proto.Run) {
	t.Helper()
	o, err := parseOptions(args)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	getenv := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	r, err := o.request(getenv, &charsets{local: charset.UTF8, cmd: charset.UTF8})
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o, r
}

// TestCallers: the command lines that programs give to their ssh, word by word as they were recorded from
// the programs (rsync 3.2 and 3.5, git 2.39, OpenSSH 9.2 and 10, sshfs 3.7, ansible-core 2.14, GNU parallel 20221122).
func TestCallers(t *testing.T) {
	type want struct{ host, user, port, shell, subsystem string }
	ansible := []string{"-vvv", "-C", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", "StrictHostKeyChecking=no",
		"-o", "Port=8001", "-o", `IdentityFile="k"`, "-o", "KbdInteractiveAuthentication=no", "-o",
		"PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey", "-o", "PasswordAuthentication=no",
		"-o", `User="bob"`, "-o", "ConnectTimeout=10", "-o", `ControlPath="/root/.ansible/cp/0123456789"`, "-tt", "h",
		`/bin/sh -c 'echo ~bob && sleep 0'`}
	for _, tt := range []struct {
		args []string
		want want
	}{
		{[]string{"-l", "bob", "h", "rsync", "--server", "-vlogDtpre.iLsfxCIvu", ".", `a\ b`}, want{"h", "bob", "",
			`rsync --server -vlogDtpre.iLsfxCIvu . a\ b`, ""}},
		{[]string{"::1", "sudo rsync", "--server", "--daemon", "."}, want{"::1", "", "", "sudo rsync --server --daemon .", ""}},
		{[]string{"-o", "SendEnv=GIT_PROTOCOL", "-4", "-p", "8001", "bob@h", "git-upload-pack '/a b'"},
			want{"h", "bob", "8001", "git-upload-pack '/a b'", ""}},
		{[]string{"-x", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes", "-oRemoteCommand=none", "-oRequestTTY=no",
			"-oControlMaster=no", "-oForwardAgent=no", "-p", "8001", "-l", "bob", "-s", "--", "h", "sftp"},
			want{"h", "bob", "8001", "", "sftp"}},
		{[]string{"-x", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes", "-oRemoteCommand=none", "-oRequestTTY=no",
			"-c", "aes128-gcm@openssh.com", "-oForwardAgent=no", "-s", "--", "h", "sftp"}, want{"h", "", "", "", "sftp"}},
		{[]string{"-x", "-oPermitLocalCommand=no", "-oClearAllForwardings=yes", "-oRemoteCommand=none", "-oRequestTTY=no",
			"-oForwardAgent=no", "-l", "bob", "--", "h", "scp -r -p -t /tmp/*"}, want{"h", "bob", "", "scp -r -p -t /tmp/*", ""}},
		{[]string{"-x", "-oClearAllForwardings=yes", "-n", "-p", "8001", "--", "h", "scp", "a", "b:c"},
			want{"h", "", "8001", "scp a b:c", ""}},
		{[]string{"-oForwardX11 no", "-oPermitLocalCommand no", "-oClearAllForwardings yes", "-oControlMaster no",
			"-obatchmode yes", "-oForwardAgent no", "-oPort 8001", "-l", "bob", "-s", "--", "h", "sftp"},
			want{"h", "bob", "8001", "", "sftp"}},
		{[]string{"-c", "aes128-ctr,chacha20-poly1305@openssh.com", "h", "rsync", "--server"}, want{"h", "", "", "rsync --server", ""}},
		{[]string{"-c", "aes", "h"}, want{"h", "", "", "aes", ""}},
		{[]string{"-s", "h", "sftp"}, want{"h", "", "", "", "sftp"}},
		{[]string{"h", "-s", "sftp"}, want{"h", "", "", "", "sftp"}},
		{[]string{"-x", "-a", "-oClearAllForwardings=yes", "-oPort=8001", "-oCompression=yes", "-Fnone",
			"-oNumberOfPasswordPrompts=1", "-2", "-s", "--", "bob@h", "sftp"}, want{"h", "bob", "8001", "", "sftp"}},
		{ansible, want{"h", "bob", "8001", `/bin/sh -c 'echo ~bob && sleep 0'`, ""}},
		{[]string{"-p", "8001", "-l", "bob", "h", "--", "exec", "perl", "-X", "-e", "x"}, want{"h", "bob", "8001",
			"exec perl -X -e x", ""}},
		{[]string{"-S", "/tmp/p", "-MT", "h", "--", "perl", "-e", "x"}, want{"h", "", "", "perl -e x", ""}},
		{[]string{"-l", "bob", "h", "uname", "-a"}, want{"h", "bob", "", "uname -a", ""}},
		{[]string{"h", "-o", "BatchMode=yes", "-p", "8001", "restic", "-p", "1"}, want{"h", "", "8001", "restic -p 1", ""}},
		{[]string{"bob@h", "-l", "eve", "x"}, want{"h", "bob", "", "x", ""}},
		{[]string{"-oPort=1", "-p", "2", "-o", "Port 3", "h", "x"}, want{"h", "", "1", "x", ""}},
		{[]string{"-p2", "-oPort=1", "h", "x"}, want{"h", "", "2", "x", ""}},
		{[]string{"-oSessionType=subsystem", "h", "sftp"}, want{"h", "", "", "", "sftp"}},
	} {
		o, r := parsed(t, tt.args, nil)
		_, host := splitDestination(o.destination)
		got := want{host, o.user.value, o.port.value, string(r.Shell), r.Subsystem}
		if got != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.args, got, tt.want)
		}
	}
	o, _ := parsed(t, ansible, nil)
	if o.verbose != 3 || !slices.Equal(o.keys, many{"k"}) || o.ssh.connectTimeout != 10*time.Second || !o.ssh.wantsTTY(false) {
		t.Errorf("ansible: %+v", o)
	}
}

// TestTTY: -t wants a terminal if stdin is one, -tt always.
func TestTTY(t *testing.T) {
	for args, want := range map[string][2]bool{
		"h x": {false, false}, "-t h x": {true, false}, "-tt h x": {true, true}, "-t h -t x": {true, true},
		"-T -tt h x": {false, false}, "-oRequestTTY=yes h x": {true, false}, "-oRequestTTY=force h x": {true, true},
		"-oRequestTTY=no -t h x": {true, false}, "-oRequestTTY=no -oRequestTTY=force h x": {false, false},
	} {
		o, _ := parsed(t, strings.Fields(args), nil)
		if got := [2]bool{o.ssh.wantsTTY(true), o.ssh.wantsTTY(false)}; got != want {
			t.Errorf("%s: %v, want %v", args, got, want)
		}
	}
}

// TestRefused: what would be missed if it did not happen is an error, and nothing is passed over in silence.
func TestRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-f"}, {"-W", "a:1"}, {"-L", "1:a:1"}, {"-R1:a:1"}, {"-D", "1"}, {"-J", "jump"}, {"-w", "0:0"}, {"-b", "::1"}, {"-B", "eth0"},
		{"-O", "forward"}, {"-O", "proxy"}, {"-Q", "cipher"}, {"-oProxyCommand=nc %h %p"}, {"-o", "ProxyJump jump"}, {"-oBindAddress=::1"},
		{"-oLocalForward=1 a:1"}, {"-oTunnel=yes"}, {"-oPermitLocalCommand=yes"}, {"-oRevokedHostKeys=/etc/r"},
		{"-oForkAfterAuthentication=yes"},
	} {
		_, err := parseOptions(append(args, "h", "x"))
		var unsupported *unsupportedError
		if !errors.As(err, &unsupported) {
			t.Errorf("%q: %v, want that it is not supported", args, err)
		}
	}
	for _, args := range [][]string{
		{"-oClearAllForwardings=yes", "-L1:a:1"}, {"-oProxyCommand=none"}, {"-oProxyJump=NONE"}, {"-oTunnel=no"},
		{"-oForwardAgent=yes"}, {"-A"}, {"-X"}, {"-oNoSuchThing=x"}, {"-e", "none"}, {"-m", "hmac"}, {"-1246aCgKkMxyZ"},
	} {
		if _, err := parseOptions(append(args, "h", "x")); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	for args, want := range map[string]string{
		"-o Port": "want name=value", "-o =x": "want name=value", "-o Port=": "value is missing", "-oConnectTimeout=x": "want a time",
		"-oAddressFamily=x": "want any or inet", "-oConnectionAttempts=0": "want a number", "-oSetEnv=A": "want NAME=VALUE",
		"-oRequestTTY=x": "want no or yes", "-s --argv": "-s needs", "-s -N": "-s needs",
	} {
		words := append(strings.SplitN(args, " ", 2), "h", "x")
		if _, err := parseOptions(words); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", words, err, want)
		}
	}
	if _, err := parseOptions([]string{"-s", "h"}); err == nil {
		t.Error("-s without a name is taken")
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("LC_ONE", "1")
	t.Setenv("LC_TWO", "2")
	env := map[string]string{"GIT_PROTOCOL": "version=2", "LC_ONE": "1", "LC_TWO": "2"}
	_, r := parsed(t, []string{"-oSendEnv=GIT_PROTOCOL NOT_SET", "-o", "SendEnv LC_ONE LC_*", `-oSetEnv=LC_TWO="a b" C=d`, "h", "x"}, env)
	var got []string
	for _, v := range r.Wishes {
		got = append(got, string(v.Name)+"="+string(v.Value))
	}
	slices.Sort(got)
	if want := "C=d|GIT_PROTOCOL=version=2|LC_ONE=1|LC_TWO=a b"; !strings.HasPrefix(strings.Join(got, "|"), want) || len(r.Env) != 0 {
		t.Errorf("%q, want %s", got, want)
	}
}

// TestFindAddress: the command line goes before the settings, and what stands with the host before both.
func TestFindAddress(t *testing.T) {
	shop := hosts.Settings{Address: "10.0.0.7", Port: 8001, User: "bob"}
	for _, tt := range []struct {
		args            string
		s               hosts.Settings
		address, user   string
		firstNameForKey string
	}{
		{"h", hosts.Settings{}, "h:8000", "", "h:8000"},
		{"h", shop, "10.0.0.7:8001", "bob", "10.0.0.7:8001"},
		{"eve@h:1", shop, "10.0.0.7:1", "eve", "10.0.0.7:1"},
		{"-p 2 h", shop, "10.0.0.7:2", "bob", "10.0.0.7:2"},
		{"-oHostName=fe80::1%eth0 h", shop, "[fe80::1%eth0]:8001", "bob", "[fe80::1%eth0]:8001"},
		{"-oHostName=%h.example h:5", hosts.Settings{}, "h.example:5", "", "h.example:5"},
		{"-oHostName=db%%h h", hosts.Settings{}, "", "", ""}, // no host has a percent sign
		{"-oHostName=%n h", hosts.Settings{}, "", "", ""},
		{"-oHostName=x% h", hosts.Settings{}, "", "", ""},
		{"-oHostKeyAlias=db -l x h", shop, "10.0.0.7:8001", "x", "db:8001"},
		{"h", hosts.Settings{Address: "[::1]:9"}, "[::1]:9", "", "[::1]:9"},
		{"-p 2 h", hosts.Settings{Address: "[::1]:9"}, "[::1]:2", "", "[::1]:2"},
		{"h:3", hosts.Settings{Address: "other:9"}, "other:3", "", "other:3"},
		{"h", hosts.Settings{Address: "::1", Port: 4}, "[::1]:4", "", "[::1]:4"},
	} {
		o, _ := parsed(t, strings.Fields(tt.args), nil)
		got, err := findAddress(o, tt.s)
		if tt.address == "" {
			if err == nil {
				t.Errorf("%s: %+v, want an error", tt.args, got)
			}
			continue
		}
		if err != nil || got.address != tt.address || got.user != tt.user || got.names[0] != tt.firstNameForKey {
			t.Errorf("%s, %+v: %+v, %v; want %s %s", tt.args, tt.s, got, err, tt.address, tt.user)
		}
	}
}

// TestKeyFile: a key is a name or a file, and a file of ssh's is passed over unless nothing else may be used.
func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	secret, err := auth.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	store := auth.OpenClientStore(filepath.Join(dir, "store"))
	token := func(address, id string) auth.Token {
		return auth.Token{Address: address, Key: auth.ClientKey{Server: auth.ServerID{1}, KeyID: id, Secret: secret}}
	}
	for address, id := range map[string]string{"h:8000": "plain", "db:8000": "alias", "far:8000": "far"} {
		if _, err := store.Enroll(token(address, id), ""); err != nil {
			t.Fatal(err)
		}
	}
	moved, foreign := filepath.Join(dir, "moved"), filepath.Join(dir, "id_rsa")
	for name, text := range map[string]string{moved: token("h:8000", "moved").Encode() + "\n", foreign: "-----BEGIN OPENSSH PRIVATE KEY-----\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, _ := parsed(t, []string{"-i", foreign, "h"}, nil)
	if got, err := resolve(o, hosts.Settings{Key: "far"}, store); err != nil || got.key.Token.Key.KeyID != "far" {
		t.Errorf("the key of the settings is not used instead of a file of ssh's: %+v, %v", got, err)
	}
	o, _ = parsed(t, []string{"-i", filepath.Join(dir, "missing"), "h"}, nil)
	if got, err := resolve(o, hosts.Settings{}, store); err != nil || got.key.Token.Key.KeyID != "plain" || len(o.ssh.warnings) != 1 {
		t.Errorf("without the file that was named: %+v, %v, warnings %q", got, err, o.ssh.warnings)
	}
	for _, name := range []string{foreign, filepath.Join(dir, "missing")} {
		o, _ := parsed(t, []string{"h"}, nil)
		if got, err := resolve(o, hosts.Settings{Key: hosts.Word(name)}, store); err == nil {
			t.Errorf("instead of the key of the settings there is another one: %+v", got)
		}
	}
	for args, want := range map[string]string{
		"h": "plain", "-i far h": "far", "-oHostKeyAlias=db h": "alias", "-oHostName=far h": "far", "-oHostName=10.0.0.9 h": "plain",
		"-i " + moved + " h": "moved", "-oIdentityFile=" + foreign + " h": "plain", "-i /no/such h": "plain",
		"-oIdentitiesOnly=yes -i " + moved + " h": "moved", "-oIdentitiesOnly=yes -i " + foreign + " h": "",
		"-oIdentitiesOnly=yes -i /no/such h": "", "-i nobody h": "", "elsewhere": "",
		// Of several the first that is for the host, or else the first that is there.
		"-i nobody -i plain h": "plain", "-i far -i plain h": "plain", "-i far h -i alias": "far", "-i far -i " + moved + " h": "moved",
		"-i " + foreign + " -oIdentityFile=" + moved + " h": "moved", "-oIdentitiesOnly=yes -i /no/such -i far h": "far",
		"-i nobody -i /no/such h": "", "-i /no/such -i " + foreign + " h": "plain",
		// Tokens, as ssh has them.
		"-oIdentityFile=" + dir + "/%r -l moved h": "moved", "-i " + dir + "/%%h h": "plain", "-i " + dir + "/%h moved": "moved",
		"-i " + dir + "/%Z h": "",
	} {
		o, _ := parsed(t, strings.Fields(args), nil)
		got, err := resolve(o, hosts.Settings{}, store)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: key %s, want none", args, got.key.Token.Key.KeyID)
		case want != "" && (err != nil || got.key.Token.Key.KeyID != want):
			t.Errorf("%s: %+v, %v; want %s", args, got, err, want)
		}
	}
}

// TestRemoteCommand: it is the command if there is no other one, and has a terminal as ssh gives it one.
func TestRemoteCommand(t *testing.T) {
	t.Setenv("USER", "me")
	for args, want := range map[string]struct {
		command string
		tty     bool
	}{
		"-oRemoteCommand=uptime h":                          {"uptime", true},
		"-oRemoteCommand=uptime -T h":                       {"uptime", false},
		"-oRemoteCommand=uptime -oRequestTTY=no h":          {"uptime", false},
		"-oRemoteCommand=none -oRemoteCommand=x h":          {"", false},
		"-oRemoteCommand=a -oRemoteCommand=b h":             {"a", true},
		"-oRemoteCommand=%h,%n,%p,%r,%u,%%,%k,%j -p 22 x@h": {"10.0.0.7,h,22,x,me,%,h,", true},
		"-oRemoteCommand=%r h":                              {"bob", true},
		"-oRemoteCommand=x -N h":                            {"", false},
		"-oRemoteCommand=none -c y h":                       {"y", false},
	} {
		o, err := parseOptions(strings.Fields(args))
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		target, err := findAddress(o, hosts.Settings{Address: "10.0.0.7", User: "bob"})
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		if err := o.addRemoteCommand(target); err != nil || o.command.value != want.command || o.ssh.wantsTTY(true) != want.tty {
			t.Errorf("%s: %q, %v, terminal %v; want %+v", args, o.command.value, err, o.ssh.wantsTTY(true), want)
		}
	}
	for _, args := range []string{"-oRemoteCommand=x h y", "-oRemoteCommand=x -c y h", "-oRemoteCommand=x -s h sftp"} {
		if _, err := parseOptions(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), "both give a command") {
			t.Errorf("%s: %v", args, err)
		}
	}
	o, _ := parseOptions([]string{"-oRemoteCommand=%Z", "h"})
	if err := o.addRemoteCommand(&target{address: "h:1"}); err == nil {
		t.Error("an unknown token is taken")
	}
}

// TestSendEnvTakesBack: a pattern with a dash before it removes names that were given before.
func TestSendEnvTakesBack(t *testing.T) {
	o, _ := parsed(t, []string{"-oSendEnv=A LC_* B", "-oSendEnv=-LC_*", "-oSendEnv=C", "-o", "SendEnv -B", "h"}, nil)
	if !slices.Equal(o.ssh.sendEnv, []string{"A", "C"}) {
		t.Errorf("%q", o.ssh.sendEnv)
	}
}
