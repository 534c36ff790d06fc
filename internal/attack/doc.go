// Package attack holds the tests of a hostile world: connections that break anywhere, a network that
// relays, replays, holds back and reroutes, servers that are not who they seem, and clients that never
// read.
//
// It owns no code of the product and decides nothing; it runs whole daemons through rexectest and looks
// at outcomes only. Nothing imports it.
package attack
