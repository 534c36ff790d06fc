//go:build linux && !cgo

package main

import "errors"

// openIconv needs cgo to reach the C library.
func openIconv(_, _ string) (pass, func(), error) {
	return nil, nil, errors.New("this program was built without cgo (CGO_ENABLED=0, or no C compiler), so there is nothing to say about iconv(3)")
}

func libcVersion() string { return "not used" }
