//go:build linux

package sftp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// request is a packet that is being read. Once something is missing in it, all that follows is empty and
// err tells.
type request struct {
	kind byte
	id   uint32
	rest []byte
	err  error
}

func (r *request) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.rest) {
		r.err = errBadMessage
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *request) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *request) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *request) bytes() []byte {
	n := r.u32()
	if n > maxPacket {
		r.err = errBadMessage
		return nil
	}
	return r.take(int(n))
}

// path is a file's name. Without one the directory is meant, as with OpenSSH.
func (r *request) path() string {
	b := r.bytes()
	if len(b) == 0 {
		return "."
	}
	for _, c := range b {
		if c == 0 {
			r.err = errBadMessage
		}
	}
	return string(b)
}

// attributes are those of section 5; only what flags says is set.
type attributes struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	mode         uint32
	atime, mtime uint32
}

const (
	attrSize     = 1
	attrOwner    = 2
	attrMode     = 4
	attrTimes    = 8
	attrExtended = 1 << 31
)

func (r *request) attributes() attributes {
	a := attributes{flags: r.u32()}
	if a.flags&attrSize != 0 {
		a.size = r.u64()
	}
	if a.flags&attrOwner != 0 {
		a.uid, a.gid = r.u32(), r.u32()
	}
	if a.flags&attrMode != 0 {
		a.mode = r.u32() & 0o7777
	}
	if a.flags&attrTimes != 0 {
		a.atime, a.mtime = r.u32(), r.u32()
	}
	if a.flags&attrExtended != 0 {
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			r.bytes()
			r.bytes()
		}
	}
	return a
}

// begin starts an answer, answer one with the number of its request. send sends it.
func (s *server) begin(kind byte) { s.reply = append(s.reply[:0], 0, 0, 0, 0, kind) }

func (s *server) answer(kind byte, id uint32) {
	s.begin(kind)
	s.u32(id)
}

func (s *server) u32(v uint32)  { s.reply = binary.BigEndian.AppendUint32(s.reply, v) }
func (s *server) u64(v uint64)  { s.reply = binary.BigEndian.AppendUint64(s.reply, v) }
func (s *server) text(v string) { s.u32(uint32(len(v))); s.reply = append(s.reply, v...) }

func (s *server) attributes(st *unix.Stat_t) {
	s.u32(attrSize | attrOwner | attrMode | attrTimes)
	s.u64(uint64(st.Size))
	s.u32(st.Uid)
	s.u32(st.Gid)
	s.u32(st.Mode)
	s.u32(uint32(st.Atim.Sec))
	s.u32(uint32(st.Mtim.Sec))
}

func (s *server) send() error {
	binary.BigEndian.PutUint32(s.reply, uint32(len(s.reply)-4))
	if _, err := s.out.Write(s.reply); err != nil {
		return fmt.Errorf("writing an answer: %w", err)
	}
	return nil
}
