//go:build !unix

package transport

// Quiet reports whether nothing has come from the peer that was not read. Here only what was read from
// the socket already can be looked at.
func (c *Conn) Quiet() bool { return len(c.raw.rest) == 0 }
