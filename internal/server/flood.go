package server

import (
	"time"

	"rexec/internal/proto"
)

const (
	// floodBurst and floodRate are what a peer may send at once, and per second in the long run, of what
	// moves nothing on: pings, signals, empty frames, streams. A person and his programs stay far below.
	floodBurst = 50_000
	floodRate  = 2_000
)

// allowance is how much of that a peer has left. The zero value is a full one.
type allowance struct {
	spent float64
	at    time.Time
}

// spend takes one, and reports false if there is none.
func (a *allowance) spend() bool {
	now := time.Now()
	a.spent = max(0, a.spent-now.Sub(a.at).Seconds()*floodRate)
	a.at = now
	if a.spent >= floodBurst {
		return false
	}
	a.spent++
	return true
}

// flooded ends the conversation of a peer that has nothing left.
func (s *session) flooded() error {
	s.log.Warn("flood, conversation closed")
	return &proto.Error{Code: proto.ErrorFlood, Text: "flood: too many messages that move nothing on"}
}
