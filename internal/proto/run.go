package proto

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// ExecID names one execution. A daemon runs it at most once.
type ExecID [IDLen]byte

// String is the ID in lower-case hexadecimal.
func (id ExecID) String() string { return fmt.Sprintf("%x", id[:]) }

// NamedID is the execution ID of a name that a caller chose (rexec --id).
func NamedID(name string) ExecID {
	sum := sha256.Sum256(append([]byte("rexec/1 execution name\x00"), name...))
	return ExecID(sum[:IDLen])
}

// Disconnect says what happens to a command whose client vanished.
type Disconnect uint8

// The disconnect policies.
const (
	DisconnectGrace Disconnect = 0 // end it after the daemon's grace period
	DisconnectKill  Disconnect = 1 // end it at once
	DisconnectKeep  Disconnect = 2 // let it run; without a reader it waits once its window is full
)

// EnvVar is one variable of a request. Both are bytes, not text.
type EnvVar struct{ Name, Value []byte }

// Run asks for one execution: to start it, or to attach to it if its ID is known already. Command
// text, arguments, environment and paths are bytes in whatever charset the remote host uses.
// Exactly one of Shell, Argv, Script and Subsystem is set.
type Run struct {
	ID     ExecID
	Shell  []byte   // given to the account's shell with -c
	Argv   [][]byte // executed as it is, without a shell
	Script bool     // the account's shell reads its commands from stdin
	// Subsystem is a service of the server's own, by its name, as in RFC 4254 6.5: "sftp".
	Subsystem string
	Env       []EnvVar
	// Wishes are variables that the server sets if it takes them from clients, and leaves out if not; one
	// of Env that it does not take is an error.
	Wishes []EnvVar
	Dir    []byte // working directory; empty: the account's home
	User   string // account that the client expects; empty: whichever the key names
	Name   string // the caller's own name for the execution; ID is then NamedID(Name)

	NoStdin      bool   // stdin is empty; no Stdin frame follows
	Pty          []byte // terminal type (TERM) of the terminal to give the command; empty: none
	Timeout      uint64 // milliseconds the command may run; 0: no limit
	OnDisconnect Disconnect

	// StartBy is the daemon's uptime in milliseconds after which the execution must not be started
	// any more but only attached to; 0: no such limit. Who sends a request again sets it to a time
	// at which the daemon is sure to remember the first one.
	StartBy uint64
	// StdoutFrom and StderrFrom are the offsets from which the client wants output.
	StdoutFrom, StderrFrom uint64
	// Caller tells the requests of one call from those of others, and which is its latest; zero: none of it is told.
	Caller Caller

	// Charset is the one in which the client wants the output: "utf-8", "gbk" or "gb18030". Empty or
	// unknown to the server: bytes as the command wrote them.
	Charset string
	// Source is the one in which the command writes: "auto", "raw", "utf-8", "gbk", "gb18030", or
	// "declared": as the server is configured, but raw where that says auto. Empty: as the server is
	// configured. Unknown names count as raw.
	Source string
	// StdoutState and StderrState came with the last converted frame of their streams; zero: the
	// converter begins anew.
	StdoutState, StderrState ConverterState
	// RawStdout and RawStderr keep a stream as the command wrote it, whatever Charset says.
	RawStdout, RawStderr bool

	// Lasting asks for the working directory and the exported variables that Shell ends with, for a prompt to
	// begin its next line with them: Exit.ShellState.
	Lasting bool
	// State is such a state, see ParseState: the command, with Lasting or of a Subsystem, begins in this directory
	// with exactly these variables; Env comes on top, Wishes are not looked at. Empty: as any other command.
	State []byte

	// Window is the size that the command's terminal has now; zero: not known. It needs Pty, as do Modes,
	// which a new terminal has from the start; those that are not named are the server's choice.
	Window Window
	Modes  []Mode

	Extra []Field
}

// SourceDeclared as a Source leaves it to the server's configuration, unless that leaves it to chance.
const SourceDeclared = "declared"

// FromRetained as an offset asks for whatever the daemon still holds.
const FromRetained = 1<<64 - 1

const (
	runID         uint16 = 1 | Critical
	runShell      uint16 = 2 | Critical
	runArgv       uint16 = 3 | Critical
	runScript     uint16 = 4 | Critical
	runEnv        uint16 = 5 | Critical
	runDir        uint16 = 6 | Critical
	runUser       uint16 = 7 | Critical
	runName       uint16 = 8 | Critical
	runNoStdin    uint16 = 9 | Critical
	runPty        uint16 = 10 | Critical
	runTimeout    uint16 = 11 | Critical
	runDisconnect uint16 = 12 | Critical
	runStartBy    uint16 = 13 | Critical
	runStdoutFrom uint16 = 14 | Critical
	runStderrFrom uint16 = 15 | Critical

	runCharset     uint16 = 16
	runSource      uint16 = 17
	runStdoutState uint16 = 18
	runStderrState uint16 = 19
	runRawStdout   uint16 = 20
	runRawStderr   uint16 = 21

	runSubsystem uint16 = 22 | Critical
	runWishes    uint16 = 23
	runWindow    uint16 = 24
	runModes     uint16 = 25

	runLasting uint16 = 26 | Critical
	runState   uint16 = 27 | Critical

	runCaller uint16 = 28 | Aside // those before it have no such mark
)

// Append appends the message. Optional fields have the smaller tags, so they stand first.
func (m *Run) Append(b []byte) []byte {
	w := fieldWriter{b: append(b, byte(TypeRun)), extra: m.Extra}
	w.text(runCharset, m.Charset)
	w.text(runSource, m.Source)
	w.state(runStdoutState, m.StdoutState)
	w.state(runStderrState, m.StderrState)
	w.flag(runRawStdout, m.RawStdout)
	w.flag(runRawStderr, m.RawStderr)
	w.list(runWishes, pairs(m.Wishes))
	w.window(runWindow, m.Window)
	w.modes(runModes, m.Modes)
	w.caller(runCaller, m.Caller)
	w.bytes(runID, m.ID[:])
	w.bytes(runShell, m.Shell)
	w.list(runArgv, m.Argv)
	w.flag(runScript, m.Script)
	w.list(runEnv, pairs(m.Env))
	w.bytes(runDir, m.Dir)
	w.text(runUser, m.User)
	w.text(runName, m.Name)
	w.flag(runNoStdin, m.NoStdin)
	w.bytes(runPty, m.Pty)
	w.u64(runTimeout, m.Timeout)
	w.u64(runDisconnect, uint64(m.OnDisconnect))
	w.u64(runStartBy, m.StartBy)
	w.u64(runStdoutFrom, m.StdoutFrom)
	w.u64(runStderrFrom, m.StderrFrom)
	w.text(runSubsystem, m.Subsystem)
	w.flag(runLasting, m.Lasting)
	w.bytes(runState, m.State)
	return w.end()
}

// ParseRun parses a payload. It checks form; Validate checks sense.
func ParseRun(b []byte) (*Run, error) {
	m := new(Run)
	hasID := false
	extra, err := parseFields(TypeRun, b, func(f Field) (bool, error) {
		if f.Tag == runID {
			hasID = true
		}
		known, err := m.set(f)
		if known {
			return true, err
		}
		return m.setNumber(f)
	})
	if err == nil && !hasID {
		err = malformed("run without an execution ID")
	}
	m.Extra = extra
	return m, err
}

func (m *Run) set(f Field) (known bool, err error) {
	switch f.Tag {
	case runID:
		err = f.fixed(m.ID[:])
	case runShell:
		m.Shell, err = f.bytes(MaxRun)
	case runArgv:
		m.Argv, err = f.list()
	case runEnv:
		m.Env, err = f.variables()
	case runWishes:
		m.Wishes, err = f.variables()
	case runSubsystem:
		m.Subsystem, err = f.text(MaxSubsystem)
	case runDir:
		m.Dir, err = f.bytes(MaxRun)
	case runUser:
		m.User, err = f.text(256)
	case runName:
		m.Name, err = f.text(MaxRun)
	case runPty:
		m.Pty, err = f.bytes(MaxRun)
	case runState:
		m.State, err = f.bytes(MaxState)
	case runWindow:
		m.Window, err = f.window()
	case runModes:
		m.Modes, err = f.modes()
	case runCharset:
		m.Charset, err = f.text(maxCharset)
	case runSource:
		m.Source, err = f.text(maxCharset)
	case runStdoutState:
		m.StdoutState, err = f.state()
	case runStderrState:
		m.StderrState, err = f.state()
	case runRawStdout:
		m.RawStdout, err = f.flag()
	case runRawStderr:
		m.RawStderr, err = f.flag()
	default:
		return false, nil
	}
	return true, err
}

func (m *Run) setNumber(f Field) (known bool, err error) {
	switch f.Tag {
	case runScript:
		m.Script, err = f.flag()
	case runLasting:
		m.Lasting, err = f.flag()
	case runNoStdin:
		m.NoStdin, err = f.flag()
	case runTimeout:
		m.Timeout, err = f.u64()
	case runDisconnect:
		var v uint64
		v, err = f.u64()
		if err == nil && v > uint64(DisconnectKeep) {
			err = malformed("disconnect policy %d", v)
		}
		m.OnDisconnect = Disconnect(v)
	case runStartBy:
		m.StartBy, err = f.u64()
	case runStdoutFrom:
		m.StdoutFrom, err = f.u64()
	case runStderrFrom:
		m.StderrFrom, err = f.u64()
	case runCaller:
		m.Caller, err = f.caller()
	default:
		return false, nil
	}
	return true, err
}

func pairs(env []EnvVar) [][]byte {
	items := make([][]byte, 0, 2*len(env))
	for _, v := range env {
		items = append(items, v.Name, v.Value)
	}
	return items
}

// MaxSubsystem is the most bytes that the name of a subsystem has.
const MaxSubsystem = 64

func (f Field) variables() ([]EnvVar, error) {
	items, err := f.list()
	if err != nil {
		return nil, err
	}
	if len(items)%2 != 0 {
		return nil, malformed("environment name without a value")
	}
	env := make([]EnvVar, 0, len(items)/2)
	for i := 0; i < len(items); i += 2 {
		env = append(env, EnvVar{items[i], items[i+1]})
	}
	return env, nil
}

// Validate says what is wrong with a well-formed request, in words for the person who made it.
func (m *Run) Validate() error {
	if tag, ok := unknownCritical(m.Extra); ok {
		return fmt.Errorf("this server does not know request field 0x%04x; it is older than the client", tag)
	}
	if m.ID == (ExecID{}) {
		return errors.New("the execution ID is empty")
	}
	if err := m.validateCommand(); err != nil {
		return err
	}
	if m.Name != "" && (m.ID != NamedID(m.Name) || !ValidName(m.Name)) {
		return fmt.Errorf("execution name: want 1 to %d bytes without control characters", MaxName)
	}
	for _, f := range []struct {
		name  string
		value []byte
	}{{"command", m.Shell}, {"working directory", m.Dir}, {"user", []byte(m.User)}, {"subsystem", []byte(m.Subsystem)}} {
		if bytes.IndexByte(f.value, 0) >= 0 {
			return fmt.Errorf("NUL in %s", f.name)
		}
	}
	if !validTerminal(m.Pty) {
		return fmt.Errorf("terminal type: want at most %d letters, digits and signs, and no slash", maxTerminal)
	}
	if err := m.validateState(); err != nil {
		return err
	}
	if len(m.Pty) == 0 && (m.Window != Window{} || len(m.Modes) > 0) {
		return errors.New("size or modes of a terminal, but no terminal")
	}
	if n := len(m.Env) + len(m.Wishes); n > MaxEnv {
		return fmt.Errorf("%d environment variables, limit %d", n, MaxEnv)
	}
	for _, v := range slices.Concat(m.Env, m.Wishes) {
		if bytes.IndexByte(v.Name, 0) >= 0 || bytes.IndexByte(v.Value, 0) >= 0 {
			return fmt.Errorf("NUL in environment variable %q", v.Name)
		}
	}
	return nil
}

func (m *Run) validateCommand() error {
	kinds := 0
	for _, set := range []bool{len(m.Shell) > 0, len(m.Argv) > 0, m.Script, m.Subsystem != ""} {
		if set {
			kinds++
		}
	}
	if kinds == 0 {
		return errors.New("empty command")
	}
	if kinds > 1 {
		return errors.New("more than one of command, argument vector, script and subsystem")
	}
	if len(m.Argv) > MaxArgs {
		return fmt.Errorf("argument list too long: %d arguments, limit %d", len(m.Argv), MaxArgs)
	}
	if len(m.Argv) > 0 && len(m.Argv[0]) == 0 {
		return errors.New("the argument vector's first element, the program, is empty")
	}
	for i, a := range m.Argv {
		if bytes.IndexByte(a, 0) >= 0 {
			return fmt.Errorf("NUL in argument %d", i)
		}
	}
	return nil
}

// ValidName reports whether s may name an execution: 1 to MaxName bytes, no control characters.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Digest identifies what the request asks for, so that one ID cannot stand for two commands. What
// only says how to attach, or how the output is to be shown, is left out.
func (m *Run) Digest() [sha256.Size]byte {
	c := *m
	c.StartBy, c.StdoutFrom, c.StderrFrom, c.Caller = 0, 0, 0, Caller{}
	c.Charset, c.Source = "", ""
	c.StdoutState, c.StderrState = ConverterState{}, ConverterState{}
	c.RawStdout, c.RawStderr = false, false
	c.Window, c.Modes = Window{}, nil
	c.Extra = slices.DeleteFunc(slices.Clone(m.Extra), func(f Field) bool { return f.Tag&Aside != 0 })
	return sha256.Sum256(c.Append(nil))
}
