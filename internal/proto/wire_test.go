package proto

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestWireConstants holds every number that travels to its literal value: changing one breaks every
// peer that is out there.
func TestWireConstants(t *testing.T) {
	tests := []struct {
		what      string
		got, want []uint64
	}{
		{"types", numbers(TypeClientProof, TypeServerProof, TypeRefused, TypeRun, TypeStarted, TypeStdout,
			TypeStderr, TypeStdin, TypeEOF, TypeAck, TypeSignal, TypeWindow, TypeExit, TypeError, TypePing, TypePong,
			TypeStdoutText, TypeStderrText),
			[]uint64{0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c,
				0x1d, 0x1e}},
		{"ignorable type bit", numbers(Ignorable), []uint64{0x80}},
		{"critical field bit", numbers(Critical), []uint64{0x8000}},
		{"versions", numbers(uint64(ProofVersion), uint64(Version)), []uint64{1, 1}},
		{"transports", numbers(TransportTCP, TransportQUIC), []uint64{1, 2}},
		{"statuses", numbers(StatusAccepted, StatusExpired, StatusSource, StatusDisabled, StatusLimit,
			StatusWrongServer, StatusNotYet, StatusVersion), []uint64{0, 1, 2, 3, 4, 5, 6, 7}},
		{"streams", numbers(Stdin, Stdout, Stderr), []uint64{0, 1, 2}},
		{"disconnect policies", numbers(DisconnectGrace, DisconnectKill, DisconnectKeep), []uint64{0, 1, 2}},
		{"states", numbers(StateExited, StateSignaled, StateTimeout, StateKilled, StateLost, StateRefused),
			[]uint64{1, 2, 3, 4, 5, 6}},
		{"causes", numbers(CauseNone, CauseInvalid, CausePolicy, CauseNotFound, CauseCannotExec, CauseDirectory,
			CauseAccount, CauseConflict, CauseUnknown, CauseShutdown, CauseLimit, CauseUnsupported, CauseInternal,
			CauseClientGone, CauseRevoked, CauseMemory), []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
		{"error codes", numbers(ErrorProtocol, ErrorTakenOver, ErrorShutdown, ErrorInternal, ErrorRevoked,
			ErrorIgnored), []uint64{1, 2, 3, 4, 5, 6}},
		{"offsets of special meaning", []uint64{Closed, FromRetained}, []uint64{0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff}},
		{"offer tags", numbers(offerVersions, offerTarget), []uint64{1, 2}},
		{"choice tags", numbers(choiceVersion, choiceInstance, choiceUptime, choiceRetain), []uint64{1, 2, 3, 4}},
		{"run tags", numbers(runID, runShell, runArgv, runScript, runEnv, runDir, runUser, runName, runNoStdin,
			runPty, runTimeout, runDisconnect, runStartBy, runStdoutFrom, runStderrFrom,
			runCharset, runSource, runStdoutState, runStderrState, runRawStdout, runRawStderr,
			runSubsystem, runWishes, runWindow, runModes, runCaller),
			[]uint64{0x8001, 0x8002, 0x8003, 0x8004, 0x8005, 0x8006, 0x8007, 0x8008, 0x8009,
				0x800a, 0x800b, 0x800c, 0x800d, 0x800e, 0x800f,
				0x0010, 0x0011, 0x0012, 0x0013, 0x0014, 0x0015, 0x8016, 0x0017, 0x0018, 0x0019, 0x401c}},
		{"started tags", numbers(startedPID, startedAttached, startedStdinFrom, startedStdinWindow,
			startedStdoutFrom, startedStderrFrom, startedUptime), []uint64{1, 2, 3, 4, 5, 6, 7}},
		{"exit tags", numbers(exitState, exitCode, exitSignal, exitCause, exitReason, exitStart, exitEnd, exitUser,
			exitSystem, exitMaxRSS, exitStdin, exitStdout, exitStderr, exitCore, exitTruncated, exitBackground,
			exitReplayed, exitCharset, exitConverted),
			[]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}},
		{"sizes", []uint64{IDLen, NonceLen, MACLen, DataHeaderLen, TextHeaderLen, stateLen},
			[]uint64{16, 32, 32, 13, 33, 16}},
		{"limits", []uint64{MaxKeyID, MaxExt, MaxUnproven, MaxData, MaxRun, MaxSmall, MaxArgs, MaxEnv, MaxName, MaxText, maxSignal,
			maxCharset, MaxSubsystem, maxTerminal, maxOpcode},
			[]uint64{64, 1024, 4096, 262_144, 1_048_576, 65_536, 65_536, 4096, 1024, 4096, 16, 32, 64, 128, 159}},
	}
	for _, tt := range tests {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %#x, want %#x", tt.what, tt.got, tt.want)
		}
	}
	if ALPN != "rexec/1" {
		t.Errorf("ALPN is %q", ALPN)
	}
}

func numbers[T ~uint8 | ~uint16 | ~uint64](values ...T) []uint64 {
	out := make([]uint64, len(values))
	for i, v := range values {
		out[i] = uint64(v)
	}
	return out
}

// wireTypes are all types of this version, by number and by name.
func wireTypes() map[Type]string {
	return map[Type]string{
		0x01: "client proof", 0x02: "server proof", 0x03: "refused",
		0x10: "run", 0x11: "started", 0x12: "stdout", 0x13: "stderr", 0x14: "stdin", 0x15: "end of stdin",
		0x16: "ack", 0x17: "signal", 0x18: "window size", 0x19: "exit", 0x1a: "error", 0x1b: "ping", 0x1c: "pong",
		0x1d: "stdout text", 0x1e: "stderr text",
	}
}

func TestTypeNames(t *testing.T) {
	names := wireTypes()
	for i := range 256 {
		want, known := names[Type(i)]
		if got := Type(i).Known(); got != known {
			t.Errorf("Type(0x%02x).Known() = %v", i, got)
		}
		if !known {
			want = "type 0x" + string("0123456789abcdef"[i>>4]) + string("0123456789abcdef"[i&15])
		}
		if got := Type(i).String(); got != want {
			t.Errorf("Type(0x%02x) is called %q, want %q", i, got, want)
		}
	}
}

func TestStateNames(t *testing.T) {
	want := []string{"state 0", "exited", "signaled", "timeout", "killed", "lost", "refused", "state 7"}
	for i, name := range want {
		if got := State(i).String(); got != name {
			t.Errorf("State(%d) is called %q, want %q", i, got, name)
		}
	}
}

func TestStreams(t *testing.T) {
	for s, want := range map[Stream]struct {
		name string
		typ  Type
	}{0: {"stdin", 0x14}, 1: {"stdout", 0x12}, 2: {"stderr", 0x13}} {
		if s.String() != want.name || s.Type() != want.typ {
			t.Errorf("stream %d is %q in frame %#x, want %q in %#x", uint8(s), s, uint8(s.Type()), want.name, uint8(want.typ))
		}
	}
}

// TestProtocolPage holds PROTOCOL.md to the numbers of the code: each must stand in a table there.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, strings.TrimSpace(line))
		}
	}
	want := []string{
		// types
		"| 0x01 | ClientProof ", "| 0x02 | ServerProof ", "| 0x03 | Refused ", "| 0x10 | Run ", "| 0x11 | Started ",
		"| 0x12 | Stdout ", "| 0x13 | Stderr ", "| 0x14 | Stdin ", "| 0x15 | EOF ", "| 0x16 | Ack ", "| 0x17 | Signal ",
		"| 0x18 | Window ", "| 0x19 | Exit ", "| 0x1a | Error ", "| 0x1b | Ping ", "| 0x1c | Pong ",
		"| 0x1d | StdoutText ", "| 0x1e | StderrText ",
		// fields of Run, whose tags differ from those of the other messages
		"| 0x0010 | charset ", "| 0x8001 | id ", "| 0x8002 | shell ", "| 0x8003 | argv ", "| 0x8004 | script ",
		"| 0x8005 | env ", "| 0x8006 | dir ", "| 0x8007 | user ", "| 0x8008 | name ", "| 0x8009 | no stdin ",
		"| 0x800a | pty ", "| 0x800b | timeout ", "| 0x800c | on disconnect ", "| 0x800d | start by ",
		"| 0x800e | stdout from ", "| 0x800f | stderr from ",
		"| 0x0011 | source ", "| 0x0012 | stdout state ", "| 0x0013 | stderr state ",
		"| 0x0017 | wishes ", "| 0x8016 | subsystem ", "| 0x0018 | window ", "| 0x0019 | modes ",
		// fields of Exit
		"| 1 | state ", "| 2 | code ", "| 3 | signal ", "| 4 | cause ", "| 5 | reason ", "| 6 | start ", "| 7 | end ",
		"| 8 | user time ", "| 9 | system time ", "| 10 | max rss ", "| 11 | stdin bytes ", "| 12 | stdout bytes ",
		"| 13 | stderr bytes ", "| 14 | core dumped ", "| 15 | truncated ", "| 16 | background ", "| 17 | replayed ",
		"| 18 | charset ", "| 19 | converted ",
		// fields of Started
		"| 1 | pid ", "| 2 | attached ", "| 3 | stdin from ", "| 4 | stdin window ", "| 5 | stdout from ",
		"| 6 | stderr from ", "| 7 | uptime ",
		// fields of the extensions
		"| 1 | versions ", "| 2 | target ", "| 1 | version ", "| 2 | instance ", "| 3 | uptime ", "| 4 | retain ",
		// states, causes, error codes, statuses
		"| 1 | exited ", "| 2 | signaled ", "| 3 | timeout ", "| 4 | killed ", "| 5 | lost ", "| 6 | refused ",
		"| 0 | none ", "| 1 | invalid ", "| 2 | policy ", "| 3 | not found ", "| 4 | cannot exec ", "| 5 | directory ",
		"| 6 | account ", "| 7 | conflict ", "| 8 | unknown ", "| 9 | shutdown ", "| 10 | limit ", "| 11 | unsupported ",
		"| 12 | internal ", "| 13 | client gone ", "| 14 | revoked ",
		"| 1 | protocol ", "| 2 | taken over ", "| 3 | shutdown ", "| 4 | internal ", "| 5 | revoked ", "| 6 | ignored ",
		"| 0 | accepted ", "| 1 | expired ", "| 2 | source ", "| 3 | disabled ", "| 4 | limit ", "| 5 | wrong server ",
		"| 6 | not yet ", "| 7 | version ",
		// limits
		"| 4,096 | a frame before the proof ", "| 262,153 | a data frame ", "| 262,173 | a StdoutText or StderrText: ",
		"| 1,048,577 | a Run ", "| 65,536 | any other frame, ",
	}
	for _, w := range want {
		found := false
		for _, row := range rows {
			found = found || strings.HasPrefix(row, w)
		}
		if !found {
			t.Errorf("no table row begins with %q", w)
		}
	}
}
