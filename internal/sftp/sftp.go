//go:build linux

// Package sftp is a server of the SSH File Transfer Protocol, version 3, over two streams of bytes.
//
// It owns the protocol (draft-ietf-secsh-filexfer-02, with OpenSSH's order of arguments and its extensions)
// and what it means to files. It does not know who asks: it is run by a process that has the account, the
// directory and the umask that shall count. It must import nothing of ours.
package sftp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// Types of packets (section 3 of the draft).
const (
	typeInit     = 1
	typeVersion  = 2
	typeOpen     = 3
	typeClose    = 4
	typeRead     = 5
	typeWrite    = 6
	typeLstat    = 7
	typeFstat    = 8
	typeSetstat  = 9
	typeFsetstat = 10
	typeOpendir  = 11
	typeReaddir  = 12
	typeRemove   = 13
	typeMkdir    = 14
	typeRmdir    = 15
	typeRealpath = 16
	typeStat     = 17
	typeRename   = 18
	typeReadlink = 19
	typeSymlink  = 20
	typeExtended = 200

	typeStatus        = 101
	typeHandle        = 102
	typeData          = 103
	typeName          = 104
	typeAttrs         = 105
	typeExtendedReply = 201
)

// Status codes (section 7).
const (
	statusOK               = 0
	statusEOF              = 1
	statusNoSuchFile       = 2
	statusPermissionDenied = 3
	statusFailure          = 4
	statusBadMessage       = 5
	statusUnsupported      = 8
)

const (
	maxPacket = 256 << 10        // bytes behind the length; OpenSSH's limit, too
	maxIO     = maxPacket - 1024 // bytes of a file in one packet
)

// Options say what a client may do.
type Options struct {
	ReadOnly bool // nothing is changed
}

// server is one conversation.
type server struct {
	options Options
	in      *bufio.Reader
	out     *bufio.Writer
	packet  []byte // the request, used again for the next one
	reply   []byte // the answer, likewise
	handles map[uint32]*handle
	next    uint32 // the number of the next handle
	names   accounts
	actions map[byte]func(*server, *request) error
}

// Serve answers requests until in ends. Requests are done one after the other, in their order, as the
// protocol wants it for the same file.
func Serve(in io.Reader, out io.Writer, o Options) error {
	s := &server{
		options: o, in: bufio.NewReaderSize(in, 64<<10), out: bufio.NewWriterSize(out, 64<<10),
		handles: map[uint32]*handle{}, names: accounts{users: map[uint32]string{}, groups: map[uint32]string{}},
		actions: actions(),
	}
	defer s.closeAll()
	if err := s.hello(); err != nil {
		return err
	}
	for {
		if err := s.serveOne(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, s.out.Flush())
		}
	}
}

// hello answers the client's version with ours, and with what we have beyond it.
func (s *server) hello() error {
	p, err := s.read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if len(p) < 5 || p[0] != typeInit {
		return errors.New("the client does not begin with a version of SFTP")
	}
	s.begin(typeVersion)
	s.u32(3)
	for _, e := range extensions() {
		s.text(e.name)
		s.text(e.version)
	}
	return s.send()
}

// serveOne answers one request. Answers are kept back while more requests are there already.
func (s *server) serveOne() error {
	if s.in.Buffered() < 4 {
		if err := s.out.Flush(); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
	}
	p, err := s.read()
	if err != nil {
		return err
	}
	if len(p) < 5 {
		return errors.New("a packet without a request number")
	}
	r := &request{kind: p[0], id: binary.BigEndian.Uint32(p[1:]), rest: p[5:]}
	if err := s.dispatch(r); err != nil {
		s.status(r.id, err)
	}
	return s.send()
}

// read returns the next packet, its length taken off. io.EOF means that the client has closed in order.
func (s *server) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("reading a packet: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("a packet of %d bytes, at most %d", n, maxPacket)
	}
	if cap(s.packet) < int(n) {
		s.packet = make([]byte, n, max(int(n), 34<<10))
	}
	s.packet = s.packet[:n]
	if _, err := io.ReadFull(s.in, s.packet); err != nil {
		return nil, fmt.Errorf("reading a packet: %w", io.ErrUnexpectedEOF)
	}
	return s.packet, nil
}

// dispatch makes the answer, or returns why there is none: then the status says it.
func (s *server) dispatch(r *request) error {
	act, ok := s.actions[r.kind]
	if !ok {
		return errUnsupported
	}
	return act(s, r)
}

func actions() map[byte]func(*server, *request) error {
	return map[byte]func(*server, *request) error{
		typeOpen: (*server).open, typeClose: (*server).close, typeRead: (*server).readFile, typeWrite: (*server).writeFile,
		typeLstat: (*server).lstat, typeFstat: (*server).fstat, typeStat: (*server).stat,
		typeSetstat: (*server).setstat, typeFsetstat: (*server).fsetstat,
		typeOpendir: (*server).opendir, typeReaddir: (*server).readdir,
		typeRemove: (*server).remove, typeMkdir: (*server).mkdir, typeRmdir: (*server).rmdir,
		typeRealpath: (*server).realpath, typeRename: (*server).rename,
		typeReadlink: (*server).readlink, typeSymlink: (*server).symlink, typeExtended: (*server).extended,
	}
}

var (
	errUnsupported = errors.New("operation unsupported")
	errBadMessage  = errors.New("bad message")
	errReadOnly    = fmt.Errorf("this server only reads: %w", unix.EACCES)
)

// mayChange refuses what would change something where that is not allowed.
func (s *server) mayChange() error {
	if s.options.ReadOnly {
		return errReadOnly
	}
	return nil
}

// code is the status of an error.
func code(err error) uint32 {
	var errno syscall.Errno
	switch {
	case err == nil:
		return statusOK
	case errors.Is(err, io.EOF):
		return statusEOF
	case errors.Is(err, errUnsupported):
		return statusUnsupported
	case errors.Is(err, errBadMessage):
		return statusBadMessage
	case !errors.As(err, &errno):
		return statusFailure
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EBADF, unix.ELOOP:
		return statusNoSuchFile
	case unix.EPERM, unix.EACCES, unix.EFAULT:
		return statusPermissionDenied
	case unix.ENAMETOOLONG, unix.EINVAL:
		return statusBadMessage
	case unix.ENOSYS:
		return statusUnsupported
	}
	return statusFailure
}

// status answers with a status. The text says more than the code, for clients that show it.
func (s *server) status(id uint32, err error) {
	text := "success"
	if err != nil {
		text = err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			text = errno.Error()
		}
	}
	s.answer(typeStatus, id)
	s.u32(code(err))
	s.text(text)
	s.text("en")
}

// done answers a request that has no other answer than that it was done.
func (s *server) done(id uint32, err error) error {
	if err == nil {
		s.status(id, nil)
	}
	return err
}
