package job

import (
	"strings"
	"syscall"
	"testing"

	"rexec/internal/exec"
	"rexec/internal/proto"
)

// TestLackOfMemory: the record says that memory was the reason, and leaves what the command itself came to, and why the
// daemon ended it, as it is.
func TestLackOfMemory(t *testing.T) {
	killed := exec.Status{Signal: syscall.SIGKILL, OOMKills: 2, OOMLimit: true}
	late := &verdict{proto.StateTimeout, proto.CauseNone, "time limit reached"}
	for _, tt := range []struct {
		name    string
		status  exec.Status
		verdict *verdict
		state   proto.State
		code    uint8
		cause   proto.Cause
		reason  string
	}{
		{"limit", killed, nil, proto.StateSignaled, 137, proto.CauseMemory, "ended 2 of its processes for lack of memory: it reached its limit"},
		{"a child", exec.Status{Code: 3, OOMKills: 1}, nil, proto.StateExited, 3, proto.CauseMemory, "1 of its processes for lack of memory: memory was short on the server"},
		{"another kill", exec.Status{Signal: syscall.SIGKILL}, nil, proto.StateSignaled, 137, proto.CauseNone, ""},
		{"timeout", killed, late, proto.StateTimeout, codeTimeout, proto.CauseNone, "time limit reached"},
	} {
		j := newJob(newTable(t, Options{}), Grant{}, &proto.Run{})
		j.verdict = tt.verdict
		x := j.record(tt.status)
		if x.State != tt.state || x.Code != tt.code || x.Cause != tt.cause || !strings.Contains(x.Reason, tt.reason) || tt.reason == "" && x.Reason != "" {
			t.Errorf("%s: %+v", tt.name, x)
		}
	}
}
