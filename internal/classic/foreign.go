package classic

import (
	"bytes"
	"errors"
	"regexp"
)

// errForeign ends a conversation that nobody meant to have with a shell.
var errForeign = errors.New("this is another protocol, and this server runs commands")

// requestLine is how HTTP begins.
var requestLine = regexp.MustCompile(`^[A-Z]+ [^ ]+ HTTP/[0-9.]+\r?$`)

// foreign reports whether a command is a piece of another protocol. Any web page can make a browser on
// this machine send a request to a port of this machine, of which some lines are the page's to choose: a
// shell would stumble over the first ones and run those. TLS is not UTF-8, which refuses all of it at
// once unless it is cut into lines.
func foreign(text []byte, lines bool) bool {
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return requestLine.Match(first) || lines && (invalidAt(text) >= 0 || bytes.IndexByte(text, 0) >= 0)
}
