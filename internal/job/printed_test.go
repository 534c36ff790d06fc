package job

import (
	"testing"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// TestPrintedOutlivesTheProcess: a client that comes back after the end still has its output to be
// converted.
func TestPrintedOutlivesTheProcess(t *testing.T) {
	table := newTable(t, Options{})
	c := newCommand(t, false)
	c.process.Charset, c.process.GBLocale = charset.GB18030, true
	j := c.open(t, table, proto.Run{})
	want := func(when string) {
		t.Helper()
		if m, gb := j.Printed(); m != charset.GB18030 || !gb {
			t.Errorf("%s: %v, %v", when, m, gb)
		}
	}
	want("running")
	a := attach(t, j, [2]uint64{})
	c.exit(0)
	finalRecord(t, a)
	a.Received()
	j.mu.Lock()
	gone := j.proc == nil
	j.mu.Unlock()
	if !gone {
		t.Fatal("the process is still kept")
	}
	want("forgotten")
}
