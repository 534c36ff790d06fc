// Command rexec runs commands on a host where rexecd runs.
//
// It owns the command line, the words that users see and the exit code; connections and executions
// are package client's. It must not import anything of the daemon's, since its start-up time is a
// feature.
package main

import (
	"context"
	"os"
)

// version is set by the build.
var version = "devel" //nolint:gochecknoglobals // the linker can set nothing else

func main() {
	if standGuard(os.Args) {
		return
	}
	p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
