package job

import (
	"errors"
	"fmt"

	"rexec/internal/exec"
	"rexec/internal/proto"
)

// Refused is the record of a request that started nothing.
func Refused(cause proto.Cause, reason string) *proto.Exit {
	return &proto.Exit{State: proto.StateRefused, Code: codeOurs, Cause: cause, Reason: reason}
}

// Lost is the record of an execution whose outcome cannot be known.
func Lost(cause proto.Cause, reason string) *proto.Exit {
	return &proto.Exit{State: proto.StateLost, Code: codeOurs, Cause: cause, Reason: reason}
}

func conflict(run *proto.Run) *proto.Exit {
	what := "this execution ID"
	if run.Name != "" {
		what = fmt.Sprintf("the execution name %q", run.Name)
	}
	return Refused(proto.CauseConflict, what+" stands for a different command already")
}

func refusal(err error) *proto.Exit {
	x := Refused(proto.CauseInternal, err.Error())
	var start *exec.StartError
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		x.Cause, x.ShellState = refused.Cause, refused.State
	case errors.As(err, &start):
		x.Code = uint8(start.Code)
		x.Cause = startCause(start)
	}
	return x
}

func startCause(e *exec.StartError) proto.Cause {
	switch e.Code {
	case 127:
		return proto.CauseNotFound
	case 126:
		return proto.CauseCannotExec
	}
	return proto.CauseAccount
}

// RefusedError is a start function's refusal with its cause; its text is for the client.
type RefusedError struct {
	Cause  proto.Cause
	Reason string
	// Where is the place in the server's files that decided it, for the operator's log alone; may be empty.
	Where string
	// State is what a prompt can go on with; empty: what it has.
	State []byte
}

// Where is where in the server's files a start was refused; empty if it is not known.
func Where(err error) string {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Where
	}
	return ""
}

func (e *RefusedError) Error() string { return e.Reason }
