package persist

import (
	"encoding/binary"
	"errors"

	"rexec/internal/proto"
)

// frames follows a stream of frames, whose bytes may come in any pieces.
type frames struct {
	head [frameHead]byte
	n    int        // bytes of head that have come
	t    proto.Type // of the frame whose payload is coming
	left int        // bytes of it still to come
	kept []byte     // those that have come, if they are kept
}

var errFrame = errors.New("a frame of an impossible length")

// between reports whether no frame has begun.
func (f *frames) between() bool { return f.n == 0 && f.left == 0 }

// maxKept bounds the payload of a frame that is kept: the most that one has behind the proof but for those
// of data and Run (PROTOCOL.md, limits).
const maxKept = 64 << 10

// take follows b, and calls each for every frame that ends in it: with its payload if keep is set, else with
// none.
func (f *frames) take(b []byte, keep bool, each func(proto.Type, []byte)) error {
	for len(b) > 0 {
		if f.n < frameHead {
			n := copy(f.head[f.n:], b)
			f.n, b = f.n+n, b[n:]
			if f.n < frameHead {
				return nil
			}
			length := binary.BigEndian.Uint32(f.head[:])
			if length == 0 || length > 1<<30 || keep && length > maxKept {
				return errFrame
			}
			f.t, f.left, f.kept = proto.Type(f.head[4]), int(length)-1, nil
		}
		n := min(f.left, len(b))
		if keep {
			f.kept = append(f.kept, b[:n]...)
		}
		f.left, b = f.left-n, b[n:]
		if f.left == 0 {
			f.n = 0
			each(f.t, f.kept)
		}
	}
	return nil
}

// cut follows b up to the client's bye, and returns how many bytes of it go to the server now: a head
// that has not come whole is held back, for it may be that of the bye. done says that the bye has come, with
// what it says; bytes behind it are not looked at.
func (f *frames) cut(b []byte, each func(proto.Type)) (pass int, done bool, what byte, err error) {
	for pass < len(b) {
		if f.left > 0 {
			n := min(f.left, len(b)-pass)
			f.left, pass = f.left-n, pass+n
			if f.left == 0 {
				each(f.t)
			}
			continue
		}
		rest := b[pass:]
		if len(rest) < frameHead {
			break
		}
		length := binary.BigEndian.Uint32(rest)
		t := proto.Type(rest[4])
		switch {
		case length == 0 || length > 1<<30:
			return pass, false, 0, errFrame
		case t == typeBye && len(rest) < byeLen:
			return pass, false, 0, nil
		case t == typeBye:
			return pass, true, rest[frameHead], nil
		}
		f.t, f.left, pass = t, int(length)-1, pass+frameHead
		if f.left == 0 {
			each(t)
		}
	}
	return pass, false, 0, nil
}
