//go:build linux && cgo

package main

/*
#include <errno.h>
#include <gnu/libc-version.h>
#include <iconv.h>
#include <stdlib.h>

struct step {
	size_t taken, made;
	int error;
};

// step converts as much as it can. Its pointers to pointers are none of Go's.
static struct step step(iconv_t cd, char *in, size_t in_left, char *out, size_t out_left) {
	struct step s = {in_left, out_left, 0};
	if (iconv(cd, &in, &in_left, &out, &out_left) == (size_t)-1)
		s.error = errno;
	s.taken -= in_left;
	s.made -= out_left;
	return s;
}

static iconv_t start(const char *to, const char *from) {
	iconv_t cd = iconv_open(to, from);
	return cd == (iconv_t)-1 ? NULL : cd;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"unsafe"
)

// openIconv returns a pass that uses the C library's iconv(3), and what closes it.
func openIconv(to, from string) (pass, func(), error) {
	cTo, cFrom := C.CString(to), C.CString(from)
	defer C.free(unsafe.Pointer(cTo))
	defer C.free(unsafe.Pointer(cFrom))
	cd, err := C.start(cTo, cFrom)
	if cd == nil {
		return nil, nil, fmt.Errorf("opening iconv from %s to %s: %w", from, to, err)
	}
	buf, dst := make([]byte, chunk), make([]byte, 3*chunk)
	run := func(r io.Reader) (int, error) {
		C.iconv(cd, nil, nil, nil, nil) // back to the initial state
		made, kept := 0, 0
		for {
			n, err := r.Read(buf[kept:])
			n += kept
			if n > 0 {
				s := C.step(cd, (*C.char)(unsafe.Pointer(&buf[0])), C.size_t(n), (*C.char)(unsafe.Pointer(&dst[0])), C.size_t(len(dst)))
				if s.error != 0 && s.error != C.EINVAL { // EINVAL: a character is cut at the end
					return made, fmt.Errorf("iconv: %w", syscall.Errno(s.error))
				}
				made += int(s.made)
				kept = copy(buf, buf[int(s.taken):n])
			}
			switch {
			case errors.Is(err, io.EOF):
				return made, nil
			case err != nil:
				return made, err
			}
		}
	}
	return run, func() { C.iconv_close(cd) }, nil
}

// libcVersion is the version of the C library.
func libcVersion() string { return C.GoString(C.gnu_get_libc_version()) }
