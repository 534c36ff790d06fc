package auth

import (
	"slices"
	"testing"

	"rexec/internal/proto"
)

// TestRefusalClasses: each status has a class of its own, which is in the list.
func TestRefusalClasses(t *testing.T) {
	var seen []Refusal
	for s := proto.StatusExpired; s <= proto.StatusVersion; s++ {
		r := refusalOf(s)
		if r == RefusalInternal || slices.Contains(seen, r) || !slices.Contains(Refusals(), r) {
			t.Errorf("status %d is of class %s", s, r)
		}
		seen = append(seen, r)
	}
}
