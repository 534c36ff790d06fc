package main

import (
	"context"
	"fmt"
	stdio "io"

	"rexec/internal/complete"
)

// maxLine is the longest line that is completed, in bytes; nobody types more.
const maxLine = 64 << 10

// completeLine is what the daemon starts for the subsystem complete, as the account that the key names and in the
// directory and the environment of the client's prompt: whatever those make it do, it has the account's rights only.
// The argument is the account's shell, the line comes on stdin.
func completeLine(ctx context.Context, args []string, io streams) error {
	if len(args) != 1 {
		return misuse("complete takes the path of a shell, and the line on stdin")
	}
	defer endAtOnce(ctx)()
	line, err := stdio.ReadAll(stdio.LimitReader(io.in, maxLine+1))
	if err != nil {
		return fmt.Errorf("reading the line: %w", err)
	}
	if len(line) > maxLine {
		return fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	answer := complete.Complete(complete.Process{}, args[0], string(line))
	_, err = io.out.Write(answer.Append(nil))
	return err
}
