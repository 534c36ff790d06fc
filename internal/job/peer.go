package job

import "net/netip"

// Peer is where a request came from and where it arrived, for the command's environment. A zero port is
// one that nobody knows.
type Peer struct{ Remote, Local netip.AddrPort }
