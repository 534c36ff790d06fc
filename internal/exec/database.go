//go:build linux

package exec

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// database says where accounts are looked up. The program is linked without
// the C library, so it reads the files itself and has getent(1) ask all else.
type database struct {
	passwdFile, groupFile, shadowFile, nsswitchFile string
	getent                                          []string // candidates, absolute
	timeout                                         time.Duration
	files                                           fileCache
}

const groupFile = "/etc/group" // group(5)

func systemDatabase() *database {
	return &database{
		passwdFile:   "/etc/passwd",
		groupFile:    groupFile,
		shadowFile:   "/etc/shadow",
		nsswitchFile: "/etc/nsswitch.conf",
		getent:       []string{"/usr/bin/getent", "/bin/getent"},
		timeout:      5 * time.Second,
	}
}

// passwdEntry is one line of passwd(5).
type passwdEntry struct {
	name, password string
	uid, gid       uint32
	home, shell    string
}

func (e *passwdEntry) account(groups []uint32) Account {
	a := Account{Name: e.name, UID: e.uid, GID: e.gid, Groups: groups, Home: e.home, Shell: e.shell}
	if a.Home == "" {
		a.Home = "/"
	}
	if a.Shell == "" {
		a.Shell = "/bin/sh" // passwd(5)
	}
	return a
}

func parsePasswd(line string) (*passwdEntry, bool) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return nil, false
	}
	uid, err := strconv.ParseUint(f[2], 10, 32)
	if err != nil {
		return nil, false
	}
	gid, err := strconv.ParseUint(f[3], 10, 32)
	if err != nil {
		return nil, false
	}
	return &passwdEntry{name: f[0], password: f[1], uid: uint32(uid), gid: uint32(gid), home: f[5], shell: f[6]}, true
}

// localPasswd returns the first entry of the file that matches, or nil.
func (d *database) localPasswd(match func(*passwdEntry) bool) (found *passwdEntry, err error) {
	err = d.files.eachLine(d.passwdFile, func(line string) bool {
		if e, ok := parsePasswd(line); ok && match(e) {
			found = e
		}
		return found == nil
	})
	return found, err
}

// groupSet collects group IDs in order, each once.
type groupSet struct {
	ids  []uint32
	seen map[uint32]bool
}

func newGroupSet(first uint32) *groupSet {
	s := &groupSet{seen: make(map[uint32]bool)}
	s.add(first)
	return s
}

func (s *groupSet) add(id uint32) {
	if !s.seen[id] && id != noID {
		s.seen[id] = true
		s.ids = append(s.ids, id)
	}
}

// localGroups adds the groups of group(5) that name the account, and reports
// whether the file refers to a network service ("+", compat mode of
// nsswitch.conf(5)).
func (d *database) localGroups(name string, to *groupSet) (network bool, err error) {
	err = d.files.eachLine(d.groupFile, func(line string) bool {
		network = network || strings.HasPrefix(line, "+")
		f := strings.Split(line, ":")
		if len(f) != 4 {
			return true
		}
		gid, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			return true
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if member == name {
				to.add(uint32(gid))
			}
		}
		return true
	})
	return network, err
}

// shadowEntry is what we use of one line of shadow(5).
type shadowEntry struct {
	password string
	expires  string // days since 1970 from which the account is disabled, "" for never
}

// shadow returns the entry of the account; not ok when there is none, or the
// file is not for us to read. Any other error is one, lest a locked account
// be taken for a usable one.
func (d *database) shadow(name string) (e shadowEntry, ok bool, err error) {
	err = d.files.eachLine(d.shadowFile, func(line string) bool {
		f := strings.Split(line, ":")
		if len(f) >= 8 && f[0] == name {
			e, ok = shadowEntry{password: f[1], expires: f[7]}, true
		}
		return !ok
	})
	if errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return e, ok, err
}

func (e shadowEntry) expired(now time.Time) bool {
	days, err := strconv.ParseInt(e.expires, 10, 64)
	return err == nil && days >= 0 && now.Unix()/(24*60*60) >= days
}

// sources returns the services that nsswitch.conf(5) names for a database,
// without the actions in brackets; "files" when it says nothing.
func (d *database) sources(database string) []string {
	sources := []string{"files"}
	_ = d.files.eachLine(d.nsswitchFile, func(line string) bool {
		line, _, _ = strings.Cut(line, "#")
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) != database {
			return true
		}
		sources = strings.Fields(withoutActions(value))
		return false
	})
	return sources
}

func withoutActions(value string) string {
	var b strings.Builder
	depth := 0
	for _, r := range value {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case depth == 0:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// allLocal reports whether the files hold all that these sources know.
// Accounts of "systemd" are in no file, but they are asked for by name.
func allLocal(sources []string) bool {
	for _, s := range sources {
		switch s {
		case "files", "compat", "systemd":
		default:
			return false
		}
	}
	return true
}
