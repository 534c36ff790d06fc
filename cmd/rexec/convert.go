package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"rexec/internal/charset"
)

// convert is the verb charset: a filter from stdin to stdout. It does what a server does to output, so it
// shows what --charset would.
func (p *program) convert(args []string) error {
	set := pflag.NewFlagSet("charset", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	from, to := modeOption{mode: charset.Auto}, modeOption{mode: charset.UTF8, text: true}
	set.Var(&from, "from", "")
	set.Var(&to, "to", "")
	verbose := set.BoolP("verbose", "v", false, "")
	help := set.BoolP("help", "h", false, "")
	if err := set.Parse(args); err != nil {
		return misuse("%v", err)
	}
	if *help {
		_, err := fmt.Fprint(p.out, usage)
		return err
	}
	if set.NArg() > 0 {
		return misuse("charset reads stdin and writes stdout: rexec charset <%s", set.Arg(0))
	}
	f := &filter{p: p, out: output(p.out)}
	f.chain(from.mode, to.mode)
	if err := f.run(); err != nil {
		return err
	}
	if *verbose && len(f.stages) > 0 {
		notef(p.words, "taken for %s, lines converted: %d", f.stages[0].Found(), f.stages[0].Lines())
	}
	return nil
}

// filter converts stdin.
type filter struct {
	p        *program
	out      io.Writer
	stages   []*charset.Converter
	buf      [2][]byte
	progress progress
}

// chain sets up the conversion. Between the two GB encodings the way goes over UTF-8.
func (f *filter) chain(from, to charset.Mode) {
	switch {
	case charset.Converts(from, to):
		f.stages = []*charset.Converter{charset.NewConverter(from, to)}
	case from != to && from != charset.Raw:
		f.stages = []*charset.Converter{charset.NewConverter(from, charset.UTF8), charset.NewConverter(charset.UTF8, to)}
	}
}

// piece is what was read at once.
type piece struct {
	b   []byte
	err error
}

// idleTime is what a server waits, too, before it decides on what it has.
const idleTime = 20 * time.Millisecond

func (f *filter) run() error {
	f.progress.begin(f.p)
	defer f.progress.end()
	pieces, free := make(chan piece), make(chan []byte, 2)
	free <- make([]byte, 256<<10)
	free <- make([]byte, 256<<10)
	done := make(chan struct{})
	defer close(done)
	go readPieces(f.p.in, pieces, free, done) // a Read from a terminal ends with the process
	timer := time.NewTimer(idleTime)
	defer timer.Stop()
	var idle <-chan time.Time // runs out once something has been kept back for long enough
	for {
		select {
		case <-idle:
			idle = nil
			if err := f.write((*charset.Converter).Idle); err != nil {
				return err
			}
		case in := <-pieces:
			if err := f.append(in.b); err != nil {
				return err
			}
			f.progress.add(len(in.b))
			if errors.Is(in.err, io.EOF) {
				return f.write((*charset.Converter).Close)
			}
			if in.err != nil {
				return fmt.Errorf("reading stdin: %w", in.err)
			}
			free <- in.b[:cap(in.b)]
			switch {
			case !f.held():
				idle = nil
			case idle == nil:
				timer.Reset(idleTime)
				idle = timer.C
			}
		}
	}
}

// held reports whether something is kept back.
func (f *filter) held() bool { return len(f.stages) > 0 && f.stages[0].Held() > 0 }

// readPieces reads ahead, so that reading and converting go on at once.
func readPieces(in io.Reader, pieces chan<- piece, free <-chan []byte, done <-chan struct{}) {
	for {
		select {
		case b := <-free:
			n, err := in.Read(b)
			select {
			case pieces <- piece{b[:n], err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		case <-done:
			return
		}
	}
}

// append converts and writes what was read.
func (f *filter) append(b []byte) error {
	switch len(f.stages) {
	case 0:
		return f.put(b)
	case 1:
		n := f.stages[0].PassThrough(b)
		if err := f.put(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	f.buf[0] = f.stages[0].Append(f.buf[0][:0], b)
	return f.next(f.buf[0], (*charset.Converter).Append)
}

// next passes what the first stage has made through the second one, if there is one.
func (f *filter) next(b []byte, step func(*charset.Converter, []byte, []byte) []byte) error {
	if len(f.stages) > 1 {
		f.buf[1] = step(f.stages[1], f.buf[1][:0], b)
		b = f.buf[1]
	}
	return f.put(b)
}

// write lets the stages give out what they keep back.
func (f *filter) write(step func(*charset.Converter, []byte) []byte) error {
	if len(f.stages) == 0 {
		return nil
	}
	f.buf[0] = step(f.stages[0], f.buf[0][:0])
	return f.next(f.buf[0], func(c *charset.Converter, dst, b []byte) []byte {
		return step(c, c.Append(dst, b))
	})
}

func (f *filter) put(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := f.out.Write(b); err != nil {
		return fmt.Errorf("writing stdout: %w", err)
	}
	return nil
}

// progress tells a person at a terminal how far a file has got.
type progress struct {
	w     io.Writer // nil: nobody looks
	size  int64
	at    int64
	shown time.Time
}

// begin shows progress where stdin is a file and stderr a terminal, unless the text goes to the terminal
// itself.
func (s *progress) begin(p *program) {
	in, err := p.in.Stat()
	file := err == nil && in.Mode().IsRegular() && in.Size() > 0
	if file && term.IsTerminal(int(p.err.Fd())) && !term.IsTerminal(int(p.out.Fd())) {
		s.w, s.size, s.shown = p.words, in.Size(), time.Now()
	}
}

// add counts bytes. A file that is done within half a second shows nothing.
func (s *progress) add(n int) {
	s.at += int64(n)
	if s.w != nil && time.Since(s.shown) > time.Second/2 {
		s.shown = time.Now()
		s.show()
	}
}

func (s *progress) show() {
	fmt.Fprintf(s.w, "\r%d of %d MiB (%d %%)", s.at>>20, s.size>>20, 100*s.at/max(s.size, s.at))
}

// end leaves a clean line.
func (s *progress) end() {
	if s.w != nil && s.at > 0 {
		fmt.Fprint(s.w, "\r\x1b[K")
	}
}
