// Package e2e tests the two programs from outside: scripts that use them as people do, and a peer that
// feeds the daemon what no client of ours would send.
//
// It owns no code of the product, only its tests: what the programs promise to their users and to the
// network belongs here, what one package promises to another belongs beside that package. It must not
// be imported.
package e2e
