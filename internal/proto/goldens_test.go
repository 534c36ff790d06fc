package proto

import (
	"bytes"
	"slices"
)

// goldens are one or more messages of every kind. The proofs are the test vectors of PROTOCOL.md.
func goldens() []golden {
	return slices.Concat(proofGoldens(), runGoldens(), recordGoldens(), smallGoldens(), textGoldens())
}

func proofGoldens() []golden {
	clientProof := &ClientProof{Transport: TransportTCP, ServerID: [16]byte(counter(0x40, 16)), KeyID: "alice",
		Nonce: [32]byte(counter(0xa0, 32)),
		MAC:   [32]byte(unhex("7592cfc299f74ab5f81bec150b0595780009def478325337a653740840830110"))}
	withExt := *clientProof
	withExt.Transport, withExt.KeyID, withExt.Ext = TransportQUIC, "0", unhex("0001 00000002 0101")
	serverProof := &ServerProof{Nonce: [32]byte(counter(0xc0, 32)), SessionID: [16]byte(counter(0xe0, 16)),
		MAC: [32]byte(unhex("8ba08ebe3a9edc826680ce8f63e29973b0451d61cc630515a237a26f52cf3817"))}
	denial := *serverProof
	denial.Status, denial.Ext, denial.Text = StatusExpired, unhex("beef"), "expired"
	return []golden{
		{name: "ClientProof/vector", value: clientProof, parse: boxed(ParseClientProof), wire: []string{
			"01", "01 01 404142434445464748494a4b4c4d4e4f 05 616c696365",
			"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf 0000",
			"7592cfc299f74ab5f81bec150b0595780009def478325337a653740840830110"}},
		{name: "ClientProof/ext", value: &withExt, parse: boxed(ParseClientProof), wire: []string{
			"01", "01 02 404142434445464748494a4b4c4d4e4f 01 30",
			"a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf 0008 0001000000020101",
			"7592cfc299f74ab5f81bec150b0595780009def478325337a653740840830110"}},
		{name: "ServerProof/vector", value: serverProof, parse: boxed(ParseServerProof), wire: []string{
			"02", "00 c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
			"e0e1e2e3e4e5e6e7e8e9eaebecedeeef 0000 0000",
			"8ba08ebe3a9edc826680ce8f63e29973b0451d61cc630515a237a26f52cf3817"}},
		{name: "ServerProof/denial", value: &denial, parse: boxed(ParseServerProof), wire: []string{
			"02", "01 c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
			"e0e1e2e3e4e5e6e7e8e9eaebecedeeef 0002 beef 0007 65787069726564",
			"8ba08ebe3a9edc826680ce8f63e29973b0451d61cc630515a237a26f52cf3817"}},
		{name: "Refused", value: Refused{}, parse: parseRefused, wire: []string{
			"03", "72657865632f3120 726566757365643a 206e6f2073756368 206b65792c206f72 207468652070726f",
			"6f6620646f657320 6e6f7420686f6c64 2e2e2e0d0a0d0a"}},
		{name: "Offer/empty", ext: true, value: &Offer{}, parse: boxed(ParseOffer)},
		{name: "Offer", ext: true, parse: boxed(ParseOffer), valid: afterParts(0),
			value: &Offer{MinVersion: 1, MaxVersion: 3, Target: "h:8000", Extra: []Field{{0x7fff, []byte("x")}}},
			wire:  []string{"0001 00000002 0103", "0002 00000006 683a38303030", "7fff 00000001 78"}},
		{name: "Choice", ext: true, parse: boxed(ParseChoice), valid: afterParts(0),
			value: &Choice{Version: 1, Instance: [16]byte(counter(0x10, 16)), Uptime: 0x1234, Retain: 60_000},
			wire: []string{"0001 00000008 0000000000000001", "0002 00000010 101112131415161718191a1b1c1d1e1f",
				"0003 00000008 0000000000001234", "0004 00000008 000000000000ea60"}},
	}
}

func runGoldens() []golden {
	id := ExecID(counter(0x20, 16))
	return []golden{
		{name: "Run/shell", parse: boxed(ParseRun), valid: afterParts(1),
			value: &Run{ID: id, Shell: []byte("echo \xc4\xe3")},
			wire: []string{"10", "8001 00000010 202122232425262728292a2b2c2d2e2f",
				"8002 00000007 6563686f20c4e3"}},
		{name: "Run/argv", parse: boxed(ParseRun), valid: afterParts(1),
			value: &Run{ID: id, Argv: [][]byte{[]byte("ls"), {}, []byte("-l")},
				Env: []EnvVar{{[]byte("A"), []byte("b=c")}, {[]byte("E"), []byte{}}}, Dir: []byte("/tmp"), User: "bob",
				Name: "job", NoStdin: true, Pty: []byte("xterm"), Timeout: 1500,
				OnDisconnect: DisconnectKeep, StartBy: 9, StdoutFrom: 10, StderrFrom: FromRetained},
			wire: []string{"10",
				"8001 00000010 202122232425262728292a2b2c2d2e2f",
				"8003 00000010 00000002 6c73 00000000 00000002 2d6c",
				"8005 00000015 00000001 41 00000003 623d63 00000001 45 00000000",
				"8006 00000004 2f746d70",
				"8007 00000003 626f62", "8008 00000003 6a6f62", "8009 00000001 01", "800a 00000005 787465726d",
				"800b 00000008 00000000000005dc", "800c 00000008 0000000000000002", "800d 00000008 0000000000000009",
				"800e 00000008 000000000000000a", "800f 00000008 ffffffffffffffff"}},
		{name: "Run/converted", parse: boxed(ParseRun), valid: afterParts(7),
			value: &Run{ID: id, Script: true, Charset: "gb18030", Source: "declared",
				StdoutState: ConverterState{15: 1}, StderrState: ConverterState(counter(0x30, 16)),
				RawStdout: true, RawStderr: true},
			wire: []string{"10", "0010 00000007 67623138303330", "0011 00000008 6465636c61726564",
				"0012 00000010 00000000000000000000000000000001",
				"0013 00000010 303132333435363738393a3b3c3d3e3f", "0014 00000001 01", "0015 00000001 01",
				"8001 00000010 202122232425262728292a2b2c2d2e2f", "8004 00000001 01"}},
		{name: "Run/terminal", parse: boxed(ParseRun), valid: afterParts(3),
			value: &Run{ID: id, Script: true, Pty: []byte("xterm"), Window: Window{Rows: 24, Columns: 80, Height: 0xffff},
				Modes: []Mode{{1, 3}, {53, 0}, {159, 1 << 31}}},
			wire: []string{"10", "0018 00000008 0018 0050 0000 ffff",
				"0019 0000000f 01 00000003 35 00000000 9f 80000000",
				"8001 00000010 202122232425262728292a2b2c2d2e2f", "8004 00000001 01", "800a 00000005 787465726d"}},
		{name: "Run/subsystem", parse: boxed(ParseRun), valid: afterParts(2),
			value: &Run{ID: id, Subsystem: "sftp", Wishes: []EnvVar{{[]byte("A"), []byte("bc")}}},
			wire: []string{"10", "0017 0000000b 00000001 41 00000002 6263",
				"8001 00000010 202122232425262728292a2b2c2d2e2f", "8016 00000004 73667470"}},
		{name: "Run/lasting", parse: boxed(ParseRun), valid: afterParts(1),
			value: &Run{ID: id, Shell: []byte("cd"), Lasting: true, State: []byte("/\x00A=b\x00")},
			wire: []string{"10", "8001 00000010 202122232425262728292a2b2c2d2e2f", "8002 00000002 6364",
				"801a 00000001 01", "801b 00000006 2f00 413d6200"}},
		{name: "Run/caller", parse: boxed(ParseRun), valid: afterParts(2),
			value: &Run{ID: id, Shell: []byte("cd"), Caller: Caller{1<<63 | 5, 7}},
			wire: []string{"10", "401c 00000010 8000000000000005 0000000000000007",
				"8001 00000010 202122232425262728292a2b2c2d2e2f", "8002 00000002 6364"}},
		{name: "Run/script and unknown fields", parse: boxed(ParseRun), valid: afterParts(5),
			value: &Run{ID: id, Charset: "x", Script: true, OnDisconnect: DisconnectKill, Extra: []Field{
				{0, []byte{}}, {0x000f, []byte("a")}, {0x0016, []byte("b")}, {0x8010, []byte("c")}, {0xffff, []byte("d")}}},
			wire: []string{"10", "0000 00000000", "000f 00000001 61", "0010 00000001 78", "0016 00000001 62",
				"8001 00000010 202122232425262728292a2b2c2d2e2f", "8004 00000001 01",
				"800c 00000008 0000000000000001", "8010 00000001 63", "ffff 00000001 64"}},
	}
}

func recordGoldens() []golden {
	return []golden{
		{name: "Started/empty", value: &Started{}, parse: boxed(ParseStarted), wire: []string{"11"}},
		{name: "Started", parse: boxed(ParseStarted), valid: afterParts(0),
			value: &Started{PID: 4242, Attached: true, StdinFrom: 3, StdinWindow: 1 << 20, StdoutFrom: 4, StderrFrom: 5,
				Uptime: 6, Banner: "hi", Extra: []Field{{9, []byte("new")}}},
			wire: []string{"11", "0001 00000008 0000000000001092", "0002 00000001 01", "0003 00000008 0000000000000003",
				"0004 00000008 0000000000100000", "0005 00000008 0000000000000004", "0006 00000008 0000000000000005",
				"0007 00000008 0000000000000006", "0008 00000002 6869", "0009 00000003 6e6577"}},
		{name: "Exit/zero", value: &Exit{State: StateExited}, parse: boxed(ParseExit),
			wire: []string{"19", "0001 00000008 0000000000000001"}},
		{name: "Exit/full", parse: boxed(ParseExit), valid: afterParts(2),
			value: &Exit{State: StateKilled, Code: 255, Signal: "KILL", Cause: CauseClientGone, Reason: "gone",
				Start: 1, End: -1, UserTime: 2, SystemTime: 3, MaxRSS: 4, StdinBytes: 5, StdoutBytes: 6,
				StderrBytes: 1<<64 - 1, CoreDumped: true, Truncated: true, Background: true, Replayed: true,
				Charset: "gbk", ConvertedLines: 7, ShellState: []byte("/\x00"), ShellStateTooLarge: true, Unread: []byte("ls\n"),
				Extra: []Field{{0x0017, []byte{0}}}},
			wire: []string{"19", "0001 00000008 0000000000000004", "0002 00000008 00000000000000ff",
				"0003 00000004 4b494c4c", "0004 00000008 000000000000000d", "0005 00000004 676f6e65",
				"0006 00000008 0000000000000001", "0007 00000008 ffffffffffffffff", "0008 00000008 0000000000000002",
				"0009 00000008 0000000000000003", "000a 00000008 0000000000000004", "000b 00000008 0000000000000005",
				"000c 00000008 0000000000000006", "000d 00000008 ffffffffffffffff", "000e 00000001 01",
				"000f 00000001 01", "0010 00000001 01", "0011 00000001 01", "0012 00000003 67626b",
				"0013 00000008 0000000000000007", "0014 00000002 2f00", "0015 00000001 01", "0016 00000003 6c730a",
				"0017 00000001 00"}},
	}
}

func smallGoldens() []golden {
	return []golden{
		{name: "EOF", value: EOF{Length: 1<<64 - 1}, parse: boxed(ParseEOF), wire: []string{"15", "ffffffffffffffff"}},
		{name: "Ack/stdin", value: &Ack{Stdin, 1, 2}, parse: parseAck,
			wire: []string{"16", "00 0000000000000001 00000002"}},
		{name: "Ack/stdout closed", value: &Ack{Stdout, Closed, 0}, parse: parseAck,
			wire: []string{"16", "01 ffffffffffffffff 00000000"}},
		{name: "Ack/stderr", value: &Ack{Stderr, 1 << 40, 1<<32 - 1}, parse: parseAck,
			wire: []string{"16", "02 0000010000000000 ffffffff"}},
		{name: "Signal", value: Signal{"USR1"}, parse: boxed(ParseSignal), valid: fromByte(1),
			wire: []string{"17", "55535231"}},
		{name: "Window", value: Window{Rows: 24, Columns: 80, Width: 640, Height: 0xffff}, parse: boxed(ParseWindow),
			wire: []string{"18", "0018 0050 0280 ffff"}},
		{name: "Error", value: &Error{Code: ErrorTakenOver, Text: "late"}, parse: boxed(ParseError), valid: fromByte(2),
			wire: []string{"1a", "0002 6c617465"}},
		{name: "Error/longest", value: &Error{Code: 0xffff, Text: string(bytes.Repeat([]byte{0xaa}, 64))},
			parse: boxed(ParseError), valid: fromByte(2),
			wire: []string{"1a", "ffff", string(bytes.Repeat([]byte("aa"), 64))}},
		{name: "Ping", value: Ping{Token: 0x0102030405060708}, parse: boxed(ParsePing), wire: []string{"1b", "0102030405060708"}},
		{name: "Pong", value: Pong{Token: 0x0102030405060708, Uptime: 0x090a0b0c0d0e0f10}, parse: boxed(ParsePong),
			wire: []string{"1c", "0102030405060708 090a0b0c0d0e0f10"}},
	}
}

func textGoldens() []golden {
	return []golden{
		{name: "StdoutText", parse: parseText(TypeStdoutText), valid: fromByte(28),
			value: &text{TypeStdoutText, TextHeader{Offset: 0x0102030405060708, Length: 0x090a0b0c,
				State: ConverterState(counter(0x30, 16))}, []byte("\xe4\xb8\xad")},
			wire: []string{"1d", "0102030405060708 090a0b0c 303132333435363738393a3b3c3d3e3f", "e4b8ad"}},
		{name: "StdoutText/without text", parse: parseText(TypeStdoutText),
			value: &text{TypeStdoutText, TextHeader{Length: 1}, []byte{}},
			wire:  []string{"1d", "0000000000000000 00000001 00000000000000000000000000000000"}},
		{name: "StderrText/up to the last offset", parse: parseText(TypeStderrText), valid: fromByte(28),
			value: &text{TypeStderrText, TextHeader{Offset: 1<<64 - 1<<32, Length: 1<<32 - 1,
				State: ConverterState{0: 0xff}}, []byte("x")},
			wire: []string{"1e", "ffffffff00000000 ffffffff ff000000000000000000000000000000", "78"}},
	}
}
