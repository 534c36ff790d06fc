//go:build linux

package runner

import (
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"rexec/internal/auth"
	"rexec/internal/exec"
)

func TestTightened(t *testing.T) {
	const none = auth.Unlimited
	configured := []exec.Limit{{Resource: unix.RLIMIT_NOFILE, Soft: 100, Hard: 200}}
	tests := []struct {
		key  auth.Limit
		want exec.Limit
	}{
		{auth.Limit{Name: "nofile", Soft: 50, Hard: 60}, exec.Limit{Soft: 50, Hard: 60}},
		{auth.Limit{Name: "nofile", Soft: 150, Hard: 160}, exec.Limit{Soft: 100, Hard: 160}},
		{auth.Limit{Name: "nofile", Soft: 50, Hard: none}, exec.Limit{Soft: 50, Hard: 200}},
		{auth.Limit{Name: "nofile", Soft: 80, Hard: 80}, exec.Limit{Soft: 80, Hard: 80}},
		{auth.Limit{Name: "nofile", Soft: none, Hard: none}, exec.Limit{Soft: 100, Hard: 200}},
	}
	for _, tt := range tests {
		tt.want.Resource = unix.RLIMIT_NOFILE
		got, err := tightened(configured, []auth.Limit{tt.key})
		if err != nil || !reflect.DeepEqual(got, []exec.Limit{tt.want}) {
			t.Errorf("%v: %v, %v; want %v", tt.key, got, err, tt.want)
		}
	}
	// What is not configured is inherited, and not raised.
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &own); err != nil {
		t.Fatal(err)
	}
	got, err := tightened(configured, []auth.Limit{{Name: "core", Soft: 0, Hard: none}})
	want := []exec.Limit{configured[0], {Resource: unix.RLIMIT_CORE, Soft: 0, Hard: own.Max}}
	if err != nil || !reflect.DeepEqual(got, want) || configured[0].Hard != 200 {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := tightened(nil, []auth.Limit{{Name: "files"}}); err == nil {
		t.Error("an unknown limit is no error")
	}
}

// TestLimitNames: a key may name what can be set.
func TestLimitNames(t *testing.T) {
	for _, name := range auth.LimitNames() {
		if _, err := Resource(name); err != nil {
			t.Error(err)
		}
	}
}
