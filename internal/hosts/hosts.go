// Package hosts reads a user's config.toml: what rexec shall take for granted with which host.
//
// It owns the file's form and the choice of the entries that fit a host. It does not know what the
// settings do, nor the command line, which goes before them. It is the client's: it must not import
// anything of the daemon's, and nobody pays for it who has no such file.
package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"

	"rexec/internal/auth"
	"rexec/internal/charset"
)

// Settings are the defaults for one host. The zero value says nothing.
type Settings struct {
	Charset      Charset `toml:"charset"`       // what its commands print
	LocalCharset Text    `toml:"local_charset"` // what this side's terminal takes
	CmdCharset   Text    `toml:"cmd_charset"`   // what its commands are written in

	Transport Transport `toml:"transport"` // what may carry the connection

	Address Address `toml:"address"` // where the host is: another name or an address, also with a port
	Port    Port    `toml:"port"`    // unless the address or the command line says one
	User    Word    `toml:"user"`    // the account that is expected
	Key     Word    `toml:"key"`     // the name or the file of the key to use

	ConnectTimeout Span `toml:"connect_timeout"` // for connecting and proving
	Timeout        Span `toml:"timeout"`         // for a command

	Persist Persist `toml:"persist"` // how long a background process keeps the connection
}

// Charset is a setting that names a charset; empty if it is not set.
type Charset string

// UnmarshalTOML implements [toml.Unmarshaler].
func (c *Charset) UnmarshalTOML(v any) error {
	name, ok := v.(string)
	if !ok {
		return fmt.Errorf("want a charset's name in quotes, not %v", v)
	}
	m, err := charset.ParseMode(name)
	*c = Charset(m.String())
	return err
}

// Text is a Charset in which text can be written: not auto, not raw.
type Text string

// UnmarshalTOML implements [toml.Unmarshaler].
func (t *Text) UnmarshalTOML(v any) error {
	var c Charset
	if err := c.UnmarshalTOML(v); err != nil {
		return err
	}
	if c == "auto" || c == "raw" {
		return fmt.Errorf("charset %q: want utf-8, gbk or gb18030", string(c))
	}
	*t = Text(c)
	return nil
}

// Transport is auto, tcp or udp; empty if it is not set.
type Transport string

// UnmarshalTOML implements [toml.Unmarshaler].
func (t *Transport) UnmarshalTOML(v any) error {
	name, _ := v.(string)
	switch name {
	case "auto", "tcp", "udp":
		*t = Transport(name)
		return nil
	}
	return fmt.Errorf(`transport %v: want "auto", "tcp" or "udp"`, v)
}

// Word is a text that is not empty; empty if it is not set.
type Word string

// UnmarshalTOML implements [toml.Unmarshaler].
func (w *Word) UnmarshalTOML(v any) error {
	s, _ := v.(string)
	if s == "" || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%v: want a name in quotes", v)
	}
	*w = Word(s)
	return nil
}

// Address is what [auth.CanonicalAddress] takes; empty if it is not set.
type Address string

// UnmarshalTOML implements [toml.Unmarshaler].
func (a *Address) UnmarshalTOML(v any) error {
	s, _ := v.(string)
	if _, err := auth.CanonicalAddress(s, 1); err != nil {
		return err
	}
	*a = Address(s)
	return nil
}

// Port is from 1 to 65535; 0 if it is not set.
type Port uint16

// UnmarshalTOML implements [toml.Unmarshaler].
func (p *Port) UnmarshalTOML(v any) error {
	n, _ := v.(int64)
	if n < 1 || n > 65535 {
		return fmt.Errorf("port %v: want a number from 1 to 65535", v)
	}
	*p = Port(n)
	return nil
}

// Span is a time limit; 0 if it is not set.
type Span time.Duration

// UnmarshalTOML implements [toml.Unmarshaler]: seconds, or a text with units.
func (s *Span) UnmarshalTOML(v any) error {
	var d time.Duration
	switch v := v.(type) {
	case int64:
		d = time.Duration(min(v, math.MaxInt32)) * time.Second
	case float64:
		d = time.Duration(min(v, math.MaxInt32) * float64(time.Second))
	case string:
		d, _ = time.ParseDuration(v)
	}
	if d < time.Millisecond {
		return fmt.Errorf(`%v: want seconds, or a time with units such as "90s"`, v)
	}
	*s = Span(d)
	return nil
}

// Persist is how long a background process keeps a connection that nobody uses: negative if none shall, 0
// if it is not set.
type Persist time.Duration

// UnmarshalTOML implements [toml.Unmarshaler]: a time as that of Span, or "no", 0 or false.
func (p *Persist) UnmarshalTOML(v any) error {
	switch v {
	case "no", "0", int64(0), false:
		*p = -1
		return nil
	}
	var s Span
	if err := s.UnmarshalTOML(v); err != nil {
		return fmt.Errorf(`%v: want a time such as "10m", or "no"`, v)
	}
	*p = Persist(s)
	return nil
}

// File is a config.toml. The zero value is an empty one.
type File struct {
	Hosts []Entry `toml:"host"`
}

// Entry is one [[host]] of the file.
type Entry struct {
	Match patterns `toml:"match"`
	Settings
}

// patterns are host names with the wildcards of path.Match.
type patterns []string

// UnmarshalTOML implements [toml.Unmarshaler]: one pattern or a list of them.
func (p *patterns) UnmarshalTOML(v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, item := range list {
		s, ok := item.(string)
		if !ok || s == "" {
			return errors.New(`want a host name such as "db1" or "*.example", or a list of them`)
		}
		if _, err := path.Match(s, ""); err != nil {
			return fmt.Errorf("pattern %q: a bracket is not closed", s)
		}
		*p = append(*p, strings.ToLower(s))
	}
	return nil
}

// maxSize bounds the file: anything larger is another one.
const maxSize = 1 << 20

// Load reads a file; one that does not exist is empty. The error names the file, and the line if it can.
func Load(name string) (*File, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return new(File), nil
	}
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxSize) {
		err = errors.New("it is no regular file of at most 1 MiB")
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	f, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func parse(text string) (*File, error) {
	f := new(File)
	var all map[string]any
	if _, err := toml.Decode(text, &all); err == nil {
		if _, one := all["host"].(map[string]any); one {
			return nil, errors.New("[host] needs two brackets on each side, as there may be several: [[host]]")
		}
	}
	meta, err := toml.Decode(text, f)
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return nil, fmt.Errorf("line %d: %s", parse.Position.Line, message(parse))
	}
	if err != nil {
		return nil, err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("unknown setting %q", unknown[0])
	}
	for i, e := range f.Hosts {
		if len(e.Match) == 0 {
			return nil, fmt.Errorf("[[host]] number %d has no match", i+1)
		}
	}
	return f, nil
}

// message is what a parse error says without its place.
func message(err toml.ParseError) string {
	if err.Message != "" {
		return err.Message
	}
	text := err.Error()
	if _, after, ok := strings.Cut(text, "): "); ok {
		return after
	}
	return text
}

// For returns the settings for a host, which may be known by several names: as the user typed it, with
// its port. Each setting is that of the first entry that has it and of which a pattern matches a name.
func (f *File) For(names ...string) Settings {
	var s Settings
	for _, e := range f.Hosts {
		if e.matches(names) {
			first(&s.Charset, e.Charset)
			first(&s.LocalCharset, e.LocalCharset)
			first(&s.CmdCharset, e.CmdCharset)
			first(&s.Transport, e.Transport)
			first(&s.Address, e.Address)
			first(&s.Port, e.Port)
			first(&s.User, e.User)
			first(&s.Key, e.Key)
			first(&s.ConnectTimeout, e.ConnectTimeout)
			first(&s.Timeout, e.Timeout)
			first(&s.Persist, e.Persist)
		}
	}
	return s
}

// Names returns the names of hosts that the file has as they are, without wildcards.
func (f *File) Names() []string {
	var names []string
	for _, e := range f.Hosts {
		for _, p := range e.Match {
			if !strings.ContainsAny(p, `*?[\`) {
				names = append(names, p)
			}
		}
	}
	return names
}

func first[T comparable](have *T, found T) {
	var unset T
	if *have == unset {
		*have = found
	}
}

func (e *Entry) matches(names []string) bool {
	for _, p := range e.Match {
		for _, name := range names {
			if ok, _ := path.Match(p, strings.ToLower(name)); ok {
				return true
			}
		}
	}
	return false
}
