package config

import (
	"errors"
	"fmt"
	"strings"
)

// maxSocketPath is what fits into the sun_path of unix(7) before its zero byte.
const maxSocketPath = 107

// checkMetrics accepts where only this machine gets: whoever reaches the metrics reads them.
func checkMetrics(s string) error {
	path, unix := strings.CutPrefix(s, UnixPrefix)
	if !unix {
		if err := checkListen(s); err != nil {
			return fmt.Errorf(`%w, or a Unix socket such as "unix:/run/rexecd/metrics.sock"`, err)
		}
		if !loopback(s) {
			return errors.New("other machines reach this address, and nobody is asked who he is: listen on " +
				"127.0.0.1, [::1], localhost or a Unix socket, and let a proxy that asks pass it on")
		}
		return nil
	}
	if err := checkFile(path); err != nil {
		return fmt.Errorf(`%w, after "unix:"`, err)
	}
	if len(path) > maxSocketPath {
		return fmt.Errorf("the path of a Unix socket has at most %d bytes, not %d", maxSocketPath, len(path))
	}
	return nil
}
