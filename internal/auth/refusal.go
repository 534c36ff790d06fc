package auth

import "rexec/internal/proto"

// Refusal is one of a few classes of reasons why a proof got no grant, for who counts them.
type Refusal string

// The classes. An unknown key and a wrong MAC are one: counts are seen by more people than the log is, and
// whether a key exists is nobody's business.
const (
	RefusalMalformed Refusal = "malformed"
	RefusalProof     Refusal = "proof"
	RefusalServer    Refusal = "wrong_server"
	RefusalExpired   Refusal = "expired"
	RefusalNotYet    Refusal = "not_yet"
	RefusalDisabled  Refusal = "disabled"
	RefusalSource    Refusal = "source"
	RefusalLimit     Refusal = "limit"
	RefusalVersion   Refusal = "version"
	RefusalInternal  Refusal = "internal"
)

// Refusals are all classes.
func Refusals() []Refusal {
	return []Refusal{RefusalMalformed, RefusalProof, RefusalServer, RefusalExpired, RefusalNotYet, RefusalDisabled,
		RefusalSource, RefusalLimit, RefusalVersion, RefusalInternal}
}

func refusalOf(s proto.Status) Refusal {
	switch s {
	case proto.StatusWrongServer:
		return RefusalServer
	case proto.StatusExpired:
		return RefusalExpired
	case proto.StatusNotYet:
		return RefusalNotYet
	case proto.StatusDisabled:
		return RefusalDisabled
	case proto.StatusSource:
		return RefusalSource
	case proto.StatusLimit:
		return RefusalLimit
	case proto.StatusVersion:
		return RefusalVersion
	}
	return RefusalInternal
}
