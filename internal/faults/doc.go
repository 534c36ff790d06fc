// Package faults holds the tests of a daemon in trouble: bad configuration and keys, no file descriptors, a
// state directory that is lost or read-only, a name service that hangs, a process that is stopped, reloads
// without end.
//
// It owns no code of the product and decides nothing; it runs rexecd as a process of its own, since what is
// tested are limits, signals and mounts of a process, and looks at outcomes and the log. Nothing imports it.
package faults
