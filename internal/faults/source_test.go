//go:build linux

package faults

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sources calls f for each line of the packages' sources, which lie beside this one.
func sources(t *testing.T, packages []string, f func(file, line string)) {
	t.Helper()
	seen := 0
	for _, dir := range packages {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			for line := range strings.Lines(string(text)) {
				f(strings.TrimPrefix(file, "../"), strings.TrimSpace(line))
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d files were read", seen)
	}
}

// TestNobodyLooksUpNames: a name server that does not answer holds up no login, since none is asked: the daemon's code
// has no call that would.
func TestNobodyLooksUpNames(t *testing.T) {
	asks := regexp.MustCompile(`\bnet\.(Lookup\w*|DefaultResolver|Resolver|Resolve\w+Addr)\b`)
	daemon := []string{"server", "runner", "auth", "job", "exec", "classic", "systemd", "transport", "../cmd/rexecd"}
	sources(t, daemon, func(file, line string) {
		if asks.MatchString(line) && file != "transport/quic_dial.go" { // which is the client's
			t.Errorf("%s: %s", file, line)
		}
	})
}

// TestTimeLimitsAreMonotonic: no clock of a machine that runs other programs can be set for a test, so this looks at
// where a time loses its monotonic reading, without which setting the clock would move limits.
func TestTimeLimitsAreMonotonic(t *testing.T) {
	loses := regexp.MustCompile(`\.Unix(Nano|Milli|Micro)?\(\)|\btime\.Unix(Milli|Micro)?\(|\.Round\(0\)|\.UTC\(\)`)
	// What is read by people or programs elsewhere, and what lies in the past for sure.
	fine := regexp.MustCompile(`time\.Unix\(1, 0\)` + // a deadline that has passed
		`|^return max\(time\.Since\(l\.told\), ` + // the longer of both clocks
		`|^token := ` +
		`|^Start: j\.started\.UnixNano` + // the exit record
		`|^e := entry\{` + // the ledger, which outlives the machine's uptime
		`|stamp\.ctime` + // of a file
		`|days >= 0 && now\.Unix\(\)` + // shadow(5)
		`|^NotBefore: +time\.Unix\(0, 0\)`) // a certificate that nobody takes for a date
	product := []string{"client", "server", "runner", "job", "exec", "transport", "systemd", "bytelog"}
	sources(t, product, func(file, line string) {
		if loses.MatchString(line) && !fine.MatchString(line) {
			t.Errorf("%s: %s", file, line)
		}
	})
}
