package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rexec/internal/proto"
)

const (
	// maxCompletion is more than any answer of a server's has, in bytes.
	maxCompletion = 1 << 20
	// completionTimeout is for a context without a deadline.
	completionTimeout = 2 * time.Second
	// lateCompletion is how long a subsystem that was told to end may take to be gone, a round trip included,
	// before its connection is given up.
	lateCompletion = 500 * time.Millisecond
)

// Complete asks what the last word of a line may become: line is what stands before the cursor, in the charset that
// the host takes commands in, and state that of the prompt, or nil. Of template count User, Charset and Source, and
// without a state Dir, Env and Wishes, too. The answer is in Charset, and names that it does not have are left out;
// Start is an offset in line as it was given.
//
// At ctx's end the subsystem is ended, too, and the connection can be used for the next command: as it is, or, if the
// subsystem hangs so that it cannot be ended within half a second, a new one.
func (c *Client) Complete(ctx context.Context, state, line []byte, template *proto.Run) (*proto.Completion, error) {
	limit := completionTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if limit <= 0 { // ctx will notice in a moment
		return nil, context.DeadlineExceeded
	}
	var out, words limitedBuffer
	signals := make(chan string, 1)
	cmd := &Command{
		Run: proto.Run{
			ID: NewID(), Subsystem: "complete", State: state, User: template.User, Charset: template.Charset, Source: template.Source,
			OnDisconnect: proto.DisconnectKill, Timeout: uint64(max(limit.Milliseconds(), 1)),
		},
		Stdin: bytes.NewReader(line), Stdout: &out, Stderr: &words, Signals: signals,
	}
	if len(state) == 0 { // else these are in it, as they are by now
		cmd.Run.Dir, cmd.Run.Env, cmd.Run.Wishes = template.Dir, template.Env, template.Wishes
	}
	patient, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() {
		signals <- "KILL"
		time.AfterFunc(lateCompletion, giveUp)
	})
	result, err := c.Run(patient, cmd)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	var output *OutputError
	if err != nil && !errors.As(err, &output) {
		return nil, err
	}
	return answer(result, &out, &words, len(line), template.Charset)
}

// answer reads what the subsystem said, if it ended well.
func answer(result *Result, out, words *limitedBuffer, line int, charset string) (*proto.Completion, error) {
	switch {
	case result.State == proto.StateTimeout:
		return nil, context.DeadlineExceeded
	case result.Reason != "":
		return nil, errors.New(result.Reason)
	case result.State != proto.StateExited || result.Code != 0:
		return nil, fmt.Errorf("completion: %s, code %d: %s", result.State, result.Code, strings.TrimSpace(words.String()))
	case out.full:
		return nil, fmt.Errorf("completion: more than %d bytes", maxCompletion)
	}
	m, err := proto.ParseCompletion(out.Bytes(), line)
	if err != nil {
		return nil, err
	}
	m.Candidates = slices.DeleteFunc(m.Candidates, func(c proto.Candidate) bool { return !speakable(c.Text+c.Shown, charset) })
	return m, nil
}

// speakable reports whether a name has come through its conversion, so that it can be typed. What could not be
// converted stands as U+FFFD in UTF-8, and as a question mark in others.
func speakable(s, charset string) bool {
	if charset == "" || charset == "utf-8" {
		return utf8.ValidString(s) && !strings.ContainsRune(s, utf8.RuneError)
	}
	return !strings.Contains(s, "?")
}

// limitedBuffer fails when it is full, which ends the writing at the other end as well.
type limitedBuffer struct {
	bytes.Buffer
	full bool
}

var errFull = errors.New("the answer is too long")

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxCompletion {
		b.full = true
		return 0, errFull
	}
	return b.Buffer.Write(p)
}
