// Package servicetest installs the packages in throw-away Debian machines with a real systemd and tests what
// only shows there: units, maintainer scripts, what is left after a purge.
//
// It holds nothing but tests and the scripts that they run, testdata/script; TestScripts has the list of
// their commands. The machines come from a program outside of this repository: make test-systemd. It
// imports nothing of ours, for all it knows are packages.
package servicetest
