//go:build !unix

package persist

import (
	"context"
	"time"

	"rexec/internal/client"
)

// Verb is what the program is called with to be a background process.
const Verb = "--background-process"

// Start says what to start a background process with.
type Start struct {
	Target
	KeyFile string
	Typed   string
	Idle    time.Duration
	Timeout time.Duration
	Replace bool
}

// Begin is ErrUnsupported.
func (Start) Begin() error { return ErrUnsupported }

// Use is ErrUnsupported.
func Use(context.Context, Target, time.Duration) (*client.Proven, int, error) {
	return nil, 0, ErrUnsupported
}

// Check is ErrUnsupported.
func Check(context.Context, Target) (int, error) { return 0, ErrUnsupported }

// Stop is ErrUnsupported.
func Stop(context.Context, Target) (int, error) { return 0, ErrUnsupported }

// Exit is ErrUnsupported.
func Exit(context.Context, Target) (int, error) { return 0, ErrUnsupported }

// Background is ErrUnsupported.
func Background(context.Context, string) error { return ErrUnsupported }
