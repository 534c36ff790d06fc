package systemd

import (
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// Priority is how much a line of the journal matters, as in syslog(3).
type Priority int

// The priorities.
const (
	Error   Priority = 3
	Warning Priority = 4
	Info    Priority = 6
	Debug   Priority = 7
)

// StderrIsJournal reports whether standard error leads to the journal, which then can be given fields,
// too (JOURNAL_STREAM of systemd.exec(5)).
func StderrIsJournal() bool {
	yes, err := journal.StderrIsJournalStream()
	return yes && err == nil && journal.Enabled()
}

// Journal writes an entry. The names of fields are made of capital letters, digits and underscores.
func Journal(p Priority, message string, fields map[string]string) error {
	return journal.Send(message, journal.Priority(p), fields)
}

// FieldName makes a name for a field of the journal (systemd.journal-fields(7)) of any other name.
func FieldName(prefix, name string) string {
	return prefix + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}
