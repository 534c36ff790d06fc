// Package exec starts one command as one account, hands over the command's
// pipe ends or terminal as open files, says how it ended, and can end it with its whole
// process tree.
//
// It owns accounts (passwd, group, shadow and name services), the fork and
// everything that must hold before the command's first instruction, waiting,
// signals, the tree walk and the cgroups of commands. It does not read or write a command's streams,
// build its environment or decide who may run what. It is a leaf for Linux: it
// imports no other package of this module, and no other imports os/exec.
package exec
