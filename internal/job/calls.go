package job

import (
	"slices"

	"rexec/internal/proto"
)

// calls are the calls that have asked for a job, the latest one last, each with its latest attempt.
type calls []proto.Caller

// maxCalls is how many calls a job remembers. Who asked so long ago counts as new.
const maxCalls = 64

// note takes down who asks, and reports whether that is the latest request of its call.
func (c *calls) note(r proto.Caller) bool {
	if r.Call == 0 {
		return true
	}
	i := c.index(r)
	if i < 0 {
		*c = append(*c, r)
		*c = (*c)[max(0, len(*c)-maxCalls):]
		return true
	}
	known := &(*c)[i].Attempt
	*known = max(*known, r.Attempt)
	return r.Attempt == *known
}

// before reports whether both calls are known and a was made before b.
func (c *calls) before(a, b proto.Caller) bool {
	i := c.index(a)
	return i >= 0 && i < c.index(b)
}

func (c *calls) index(r proto.Caller) int {
	return slices.IndexFunc(*c, func(k proto.Caller) bool { return k.Call == r.Call })
}
