package proto

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// violation is what is not a message, and how the parser says so behind "malformed message: ".
type violation struct {
	parse func([]byte) (Message, error)
	wire  string
	want  string
}

func checkViolations(t *testing.T, violations []violation) {
	t.Helper()
	for _, v := range violations {
		m, err := v.parse(unhex(v.wire))
		if err == nil {
			t.Errorf("%s: parsed as %+v, want error %q", v.wire, m, v.want)
			continue
		}
		if got := err.Error(); got != "malformed message: "+v.want || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %q, want %q", v.wire, got, v.want)
		}
	}
}

// TestFieldViolations feeds a parser of fields with what no message may hold.
func TestFieldViolations(t *testing.T) {
	started := boxed(ParseStarted)
	checkViolations(t, []violation{
		{started, "00", "started is too short"},
		{started, "0001 00000008", "started is too short"},
		{started, "0001 ffffffff 00", "started is too short"},
		{started, "0001 80000000 00", "started is too short"},
		{started, "0001 7fffffff 00", "started is too short"},
		{started, "0001 00000008 0000000000000001 0001 00000008 0000000000000001", "started: field 0x0001 out of order"},
		{started, "0003 00000008 0000000000000001 0001 00000008 0000000000000001", "started: field 0x0001 out of order"},
		{started, "0100 00000000 00ff 00000000", "started: field 0x00ff out of order"},
		{started, "ffff 00000000 ffff 00000000", "started: field 0xffff out of order"},
		{started, "0000 00000000 0000 00000000", "started: field 0x0000 out of order"},
		{started, "0001 00000000", "field 0x0001 has 0 bytes, want 8"},
		{started, "0001 00000007 00000000000001", "field 0x0001 has 7 bytes, want 8"},
		{started, "0001 00000009 000000000000000001", "field 0x0001 has 9 bytes, want 8"},
		{started, "0001 00000008 0000000000000000", "field 0x0001 is zero"},
		{started, "0002 00000000", "field 0x0002 is not a flag"},
		{started, "0002 00000001 00", "field 0x0002 is not a flag"},
		{started, "0002 00000001 02", "field 0x0002 is not a flag"},
		{started, "0002 00000002 0101", "field 0x0002 is not a flag"},
	})
}

// TestRunViolations feeds ParseRun with what has the form of fields and not that of a request.
func TestRunViolations(t *testing.T) {
	const (
		id    = "8001 00000010 202122232425262728292a2b2c2d2e2f"
		shell = "8002 00000001 61"
	)
	run := boxed(ParseRun)
	checkViolations(t, []violation{
		{run, "", "run without an execution ID"},
		{run, shell, "run without an execution ID"},
		{run, "8001 0000000f 202122232425262728292a2b2c2d2e", "field 0x8001 has 15 bytes, want 16"},
		{run, "8001 00000000", "field 0x8001 has 0 bytes, want 16"},
		{run, id + id, "run: field 0x8001 out of order"},
		{run, shell + id, "run: field 0x8001 out of order"},
		{run, id + "0010 00000001 61", "run: field 0x0010 out of order"},
		{run, "0011 00000000" + id, "field 0x0011 is empty"},
		{run, "0012 0000000f 000102030405060708090a0b0c0d0e" + id, "field 0x0012 has 15 bytes, want 16"},
		{run, "0012 00000010 00000000000000000000000000000000" + id, "field 0x0012 is zero"},
		{run, "0018 00000007 00180050000000" + id, "field 0x0018 has 7 bytes, want 8"},
		{run, "0018 00000009 001800500000000000" + id, "field 0x0018 has 9 bytes, want 8"},
		{run, "0018 00000008 0000000000000000" + id, "field 0x0018 is zero"},
		{run, "0019 00000000" + id, "field 0x0019 has 0 bytes, want 5 for each mode"},
		{run, "0019 00000006 010000000302" + id, "field 0x0019 has 6 bytes, want 5 for each mode"},
		{run, "0019 00000005 0000000003" + id, "field 0x0019: mode 0 out of order"},
		{run, "0019 00000005 a000000003" + id, "field 0x0019: mode 160 out of order"},
		{run, "0019 0000000a 0200000003 0200000003" + id, "field 0x0019: mode 2 out of order"},
		{run, "0019 0000000a 0200000003 0100000003" + id, "field 0x0019: mode 1 out of order"},
		{run, "0013 00000000" + id, "field 0x0013 has 0 bytes, want 16"},
		{run, "0013 00000011 0102030405060708090a0b0c0d0e0f1011" + id, "field 0x0013 has 17 bytes, want 16"},
		{run, "0013 00000010 00000000000000000000000000000000" + id, "field 0x0013 is zero"},
		{run, "0011 00000001 61 0010 00000001 61" + id, "run: field 0x0010 out of order"},
		{run, "0012 00000010 202122232425262728292a2b2c2d2e2f", "run without an execution ID"},
		{run, id + "8002 00000000", "field 0x8002 is empty"},
		{run, id + "8003 00000000", "field 0x8003 is empty"},
		{run, id + "8003 00000003 000000", "field 0x8003: item 0 is cut"},
		{run, id + "8003 00000004 00000001", "field 0x8003: item 0 is cut"},
		{run, id + "8003 00000005 00000000 00", "field 0x8003: item 1 is cut"},
		{run, id + "8003 00000004 ffffffff", "field 0x8003: item 0 is cut"},
		{run, id + "8003 00000004 80000000", "field 0x8003: item 0 is cut"},
		{run, id + "8003 00000006 00000003 6161" + "8004 00000001 01", "field 0x8003: item 0 is cut"},
		{run, id + "8004 00000001 02", "field 0x8004 is not a flag"},
		{run, id + "8005 00000000", "field 0x8005 is empty"},
		{run, id + "8005 00000005 00000001 41", "environment name without a value"},
		{run, id + "8005 0000000c 00000000 00000000 00000000", "environment name without a value"},
		{run, id + "8006 00000000", "field 0x8006 is empty"},
		{run, id + "8007 00000000", "field 0x8007 is empty"},
		{run, id + "8008 00000000", "field 0x8008 is empty"},
		{run, id + "8009 00000001 00", "field 0x8009 is not a flag"},
		{run, id + "800a 00000000", "field 0x800a is empty"},
		{run, id + "800b 00000004 00000001", "field 0x800b has 4 bytes, want 8"},
		{run, id + "800c 00000008 0000000000000003", "disconnect policy 3"},
		{run, id + "800c 00000008 0000000000000101", "disconnect policy 257"},
		{run, id + "800c 00000008 0000000000000000", "field 0x800c is zero"},
		{run, id + "800d 00000008 0000000000000000", "field 0x800d is zero"},
		{run, id + "800e 00000008 0000000000000000", "field 0x800e is zero"},
		{run, id + "800f 00000008 0000000000000000", "field 0x800f is zero"},
	})
}

// TestExitViolations holds Exit above all to this: no outcome that the client cannot name, and no failure with code 0.
func TestExitViolations(t *testing.T) {
	const state = "0001 00000008 0000000000000001"
	exit := boxed(ParseExit)
	checkViolations(t, []violation{
		{exit, "", "exit record of state 0"},
		{exit, "0002 00000008 0000000000000001", "exit record of state 0"},
		{exit, "0001 00000008 0000000000000000", "field 0x0001 is zero"},
		{exit, "0001 00000008 0000000000000007", "exit record of state 7"},
		{exit, "0001 00000008 0000000000000101", "field 0x0001 is 257"},
		{exit, state + "0002 00000008 0000000000000000", "field 0x0002 is zero"},
		{exit, state + "0002 00000008 0000000000000100", "field 0x0002 is 256"},
		{exit, state + "0002 00000008 8000000000000001", "field 0x0002 is 9223372036854775809"},
		{exit, state + "0003 00000000", "field 0x0003 is empty"},
		{exit, state + "0004 00000008 0000000000000100", "field 0x0004 is 256"},
		{exit, state + "0005 00000000", "field 0x0005 is empty"},
		{exit, state + "000d 00000004 00000001", "field 0x000d has 4 bytes, want 8"},
		{exit, state + "000e 00000001 00", "field 0x000e is not a flag"},
		{exit, state + "0012 00000000", "field 0x0012 is empty"},
		{exit, state + "0013 00000008 0000000000000000", "field 0x0013 is zero"},
		{exit, state + "0013 00000001 01", "field 0x0013 has 1 bytes, want 8"},
		{exit, "0001 00000008 0000000000000002", "exit record: signaled with code 0"},
		{exit, "0001 00000008 0000000000000003", "exit record: timeout with code 0"},
		{exit, "0001 00000008 0000000000000004", "exit record: killed with code 0"},
		{exit, "0001 00000008 0000000000000005", "exit record: lost with code 0"},
		{exit, "0001 00000008 0000000000000006", "exit record: refused with code 0"},
	})
}

// TestExtensionViolations feeds the parsers of Offer and Choice.
func TestExtensionViolations(t *testing.T) {
	offer, choice := boxed(ParseOffer), boxed(ParseChoice)
	checkViolations(t, []violation{
		{offer, "0001 00000002 0100", "version 0"},
		{offer, "0001 00000002 0000", "version 0"},
		{offer, "0001 00000003 010101", "field 0x0001 has 3 bytes, want 2"},
		{offer, "0002 00000000", "field 0x0002 is empty"},
		{offer, "0002 00000001", "client proof is too short"},
		{choice, "0001 00000008 0000000000000000", "field 0x0001 is zero"},
		{choice, "0001 00000008 0000000000000100", "version 256"},
		{choice, "0002 00000010 00000000000000000000000000000000", "zero instance"},
		{choice, "0002 00000001 01", "field 0x0002 has 1 bytes, want 16"},
		{choice, "0003 00000008 0000000000000000", "field 0x0003 is zero"},
		{choice, "0004 00000001", "server proof is too short"},
	})
}

// TestProofViolations: the form of the proofs.
func TestProofViolations(t *testing.T) {
	const (
		head  = "01 01 404142434445464748494a4b4c4d4e4f"
		nonce = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
	)
	client, server := boxed(ParseClientProof), boxed(ParseServerProof)
	checkViolations(t, []violation{
		{client, "", "client proof is too short"},
		{client, "00", "proof version 0"},
		{client, "02", "proof version 2"},
		{client, "ff", "proof version 255"},
		{client, head + "00" + nonce + "0000" + nonce, "key ID"},
		{client, head + "01 41" + nonce + "0000" + nonce, "key ID"},
		{client, head + "01 00" + nonce + "0000" + nonce, "key ID"},
		{client, head + "02 612f" + nonce + "0000" + nonce, "key ID"},
		{client, head + "02 c3a4" + nonce + "0000" + nonce, "key ID"},
		{client, head + "ff 61" + nonce + "0000" + nonce, "client proof is too short"},
		{client, head + "01 61" + nonce + "0401" + nonce, "extension of 1025 bytes"},
		{client, head + "01 61" + nonce + "ffff" + nonce, "extension of 65535 bytes"},
		{client, head + "01 61" + nonce + "0001" + nonce, "client proof is too short"},
		{client, head + "01 61" + nonce + "0000" + nonce + "00", "1 bytes after client proof"},
		{server, "00" + nonce + nonce[:32] + "0401", "extension of 1025 bytes"},
		{server, "00" + nonce + nonce[:32] + "0000 0401", "text of 1025 bytes"},
		{server, "00" + nonce + nonce[:32] + "0000 0000" + nonce + "00", "1 bytes after server proof"},
		{parseRefused, "", "refusal"},
		{parseRefused, "72657865632f31", "refusal"},
	})
}

// TestSmallViolations feeds the parsers of the messages without fields.
func TestSmallViolations(t *testing.T) {
	checkViolations(t, []violation{
		{parseAck, "03 0000000000000000 00000000", "ack of stream 3"},
		{parseAck, "ff 0000000000000000 00000000", "ack of stream 255"},
		{parseAck, "00 0000000000000000 0000000000", "1 bytes after ack"},
		{boxed(ParseEOF), "00", "end of stdin is too short"},
		{boxed(ParseSignal), "", "signal name of 0 bytes"},
		{boxed(ParseSignal), "69", "signal name"},
		{boxed(ParseSignal), "494e5400", "signal name"},
		{boxed(ParseSignal), "494e540a", "signal name"},
		{boxed(ParseWindow), "0018 0050 0000 0000 0000", "2 bytes after window size"},
		{boxed(ParseError), "00", "error is too short"},
		{boxed(ParsePing), "0000000000000000 00", "1 bytes after ping"},
		{boxed(ParsePong), "0000000000000000", "pong is too short"},
	})
}

// TestTextViolations feeds Reader.TextHeader: a converted frame stands for one byte at least, and its
// end is an offset as well.
func TestTextViolations(t *testing.T) {
	const state = "303132333435363738393a3b3c3d3e3f"
	stdout, stderr := parseText(TypeStdoutText), parseText(TypeStderrText)
	checkViolations(t, []violation{
		{stdout, "", "text frame without a header"},
		{stdout, "0000000000000000 00000001" + state[2:], "text frame without a header"},
		{stdout, "0000000000000000 00000000" + state, "text frame for no bytes"},
		{stderr, "ffffffffffffffff 00000000" + state + "61", "text frame for no bytes"},
		{stderr, "ffffffffffffffff 00000001" + state, "text frame for 1 bytes at offset 18446744073709551615"},
		{stdout, "ffffffff00000001 ffffffff" + state + "61", "text frame for 4294967295 bytes at offset 18446744069414584321"},
	})
}

// limit is the size of one part of a message.
type limit struct {
	what  string
	most  int
	parse func([]byte) (Message, error)
	bytes func(n int) []byte // a payload whose limited part has the size n
	want  string             // how one beyond it is refused, behind "malformed message: "
}

// checkLimits wants a message at a limit to be parsed, and one beyond it to be refused.
func checkLimits(t *testing.T, limits []limit) {
	t.Helper()
	for _, l := range limits {
		m, err := l.parse(l.bytes(l.most))
		if err != nil {
			t.Errorf("%s at its limit: %v", l.what, err)
		} else if got := m.Append(nil); !bytes.HasSuffix(got, l.bytes(l.most)) {
			t.Errorf("%s at its limit: re-encodes to %d other bytes", l.what, len(got))
		}
		if _, err := l.parse(l.bytes(l.most + 1)); err == nil || err.Error() != "malformed message: "+l.want {
			t.Errorf("%s beyond its limit: error %v, want %q", l.what, err, l.want)
		}
	}
}

func TestProofLimits(t *testing.T) {
	checkLimits(t, []limit{
		{"key ID", 64, boxed(ParseClientProof), func(n int) []byte {
			return (&ClientProof{KeyID: strings.Repeat("k", n)}).Append(nil)[1:]
		}, "key ID"},
		{"client's extension", 1024, boxed(ParseClientProof), func(n int) []byte {
			return (&ClientProof{KeyID: "k", Ext: make([]byte, n)}).Append(nil)[1:]
		}, "extension of 1025 bytes"},
		{"server's extension", 1024, boxed(ParseServerProof), func(n int) []byte {
			return (&ServerProof{Ext: make([]byte, n)}).Append(nil)[1:]
		}, "extension of 1025 bytes"},
		{"server's text", 1024, boxed(ParseServerProof), func(n int) []byte {
			// Append cuts the text, so a longer one is put in by hand, before the MAC.
			b := (&ServerProof{Text: strings.Repeat("x", min(n, 1024))}).Append(nil)[1:]
			if n > 1024 {
				at := len(b) - MACLen - 1024 - 2
				text := append([]byte{byte(n >> 8), byte(n)}, strings.Repeat("x", n)...)
				b = slices.Concat(b[:at], text, b[len(b)-MACLen:])
			}
			return b
		}, "text of 1025 bytes"},
		{"target", 512, boxed(ParseOffer), func(n int) []byte {
			return (&Offer{Target: strings.Repeat("t", n)}).Append(nil)
		}, "field 0x0002 has 513 bytes, limit 512"},
	})
}

// TestRunCounts: too many arguments are well-formed bytes and refused in words.
func TestRunCounts(t *testing.T) {
	words := func(n int) [][]byte {
		w := make([][]byte, n)
		w[0] = []byte("program")
		return w
	}
	for _, c := range []struct {
		run  Run
		want string
	}{
		{Run{ID: ExecID{1}, Argv: words(65_536)}, ""},
		{Run{ID: ExecID{1}, Argv: words(65_537)}, "argument list too long: 65537 arguments, limit 65536"},
		{Run{ID: ExecID{1}, Shell: []byte("x"), Env: make([]EnvVar, 4096)}, ""},
		{Run{ID: ExecID{1}, Shell: []byte("x"), Env: make([]EnvVar, 4097)}, "4097 environment variables, limit 4096"},
	} {
		parsed, err := ParseRun(c.run.Append(nil)[1:])
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := parsed.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%d arguments, %d variables: %q, want %q", len(c.run.Argv), len(c.run.Env), got, c.want)
		}
	}
}

func TestRunLimits(t *testing.T) {
	checkLimits(t, []limit{
		{"command", 1_048_576, boxed(ParseRun), func(n int) []byte {
			return (&Run{Shell: make([]byte, n)}).Append(nil)[1:]
		}, "field 0x8002 has 1048577 bytes, limit 1048576"},
		{"user", 256, boxed(ParseRun), func(n int) []byte {
			return (&Run{User: strings.Repeat("u", n)}).Append(nil)[1:]
		}, "field 0x8007 has 257 bytes, limit 256"},
		{"charset", 32, boxed(ParseRun), func(n int) []byte {
			return (&Run{Charset: strings.Repeat("c", n)}).Append(nil)[1:]
		}, "field 0x0010 has 33 bytes, limit 32"},
		{"source", 32, boxed(ParseRun), func(n int) []byte {
			return (&Run{Source: strings.Repeat("s", n)}).Append(nil)[1:]
		}, "field 0x0011 has 33 bytes, limit 32"},
	})
}

func TestOtherLimits(t *testing.T) {
	checkLimits(t, []limit{
		{"ending signal", 16, boxed(ParseExit), func(n int) []byte {
			return (&Exit{State: StateExited, Signal: strings.Repeat("S", n)}).Append(nil)[1:]
		}, "field 0x0003 has 17 bytes, limit 16"},
		{"reason", 4096, boxed(ParseExit), func(n int) []byte {
			b := (&Exit{State: StateExited}).Append(nil)[1:]
			b = appendU32(appendU16(b, exitReason), uint32(n))
			return append(b, make([]byte, n)...)
		}, "field 0x0005 has 4097 bytes, limit 4096"},
		{"charset of the output", 32, boxed(ParseExit), func(n int) []byte {
			return (&Exit{State: StateExited, Charset: strings.Repeat("c", n)}).Append(nil)[1:]
		}, "field 0x0012 has 33 bytes, limit 32"},
		{"signal", 16, boxed(ParseSignal), func(n int) []byte {
			return Signal{strings.Repeat("S", n)}.Append(nil)[1:]
		}, "signal name of 17 bytes"},
		{"error text", 4096, boxed(ParseError), func(n int) []byte {
			return append([]byte{0, 1}, make([]byte, n)...)
		}, "error text of 4097 bytes"},
	})
}

// TestTextsAreCut: a daemon's words may be too long, its records must arrive all the same.
func TestTextsAreCut(t *testing.T) {
	long := strings.Repeat("x", 2*MaxText)
	exit, err := ParseExit((&Exit{State: StateExited, Reason: long}).Append(nil)[1:])
	if err != nil || exit.Reason != long[:4096] {
		t.Errorf("exit: reason of %d bytes, error %v", len(exit.Reason), err)
	}
	e, err := ParseError((&Error{Code: ErrorInternal, Text: long}).Append(nil)[1:])
	if err != nil || e.Text != long[:4096] {
		t.Errorf("error %v", err)
	}
}

// TestExitCodes: every code of a command comes through as it is.
func TestExitCodes(t *testing.T) {
	for code := range 256 {
		m, err := ParseExit((&Exit{State: StateExited, Code: uint8(code)}).Append(nil)[1:])
		if err != nil || int(m.Code) != code {
			t.Errorf("code %d came as %d, error %v", code, m.Code, err)
		}
	}
	for code := 1; code < 256; code++ {
		m, err := ParseExit((&Exit{State: StateRefused, Code: uint8(code), Cause: CauseLimit}).Append(nil)[1:])
		if err != nil || int(m.Code) != code || m.Cause != CauseLimit {
			t.Errorf("refusal with code %d came as %+v, error %v", code, m, err)
		}
	}
}

func TestErrorText(t *testing.T) {
	var err error = &Error{Code: ErrorShutdown, Text: "going down"}
	if got := err.Error(); got != "server: going down" {
		t.Errorf("error reads %q", got)
	}
}

// TestSizeOfProofs: the largest proofs fit into what is read before the proof.
func TestSizeOfProofs(t *testing.T) {
	ext := make([]byte, MaxExt)
	for _, tt := range []struct {
		m    Message
		want int
	}{
		{&ClientProof{KeyID: strings.Repeat("k", 64), Ext: ext}, 1174},
		{&ServerProof{Ext: ext, Text: strings.Repeat("t", MaxExt)}, 2134},
		{Refused{}, 64},
	} {
		if n := len(tt.m.Append(nil)); n != tt.want || n > MaxUnproven {
			t.Errorf("%T has at most %d bytes, want %d, limit %d", tt.m, n, tt.want, MaxUnproven)
		}
	}
}

func TestValidKeyID(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "0": true, "a.b_c@d-e": true, "z9": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, ".a": false, "-a": false, "_a": false, "@a": false, "A": false,
		"aA": false, "a/b": false, "a\x00": false, "a\n": false, "a b": false, "ä": false, "a\xff": false, "a`": false,
		"a{": false, "a:": false,
	} {
		if got := ValidKeyID(s); got != want {
			t.Errorf("ValidKeyID(%q) = %v", s, got)
		}
	}
}
