// Package ttymode translates the settings of a terminal (termios(3)) into the numbers that SSH gives them
// (RFC 4254 section 8, RFC 8160), and back.
//
// It owns the tables, which differ between systems, and nothing else: it opens no terminal, and does not
// decide which settings one is to have. Speeds, parity and the modes of terminals with upper case only are
// left out, since a pseudo-terminal has no use for them. It imports proto, and must not import anything else
// of this module.
package ttymode
