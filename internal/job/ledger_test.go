package job

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestForgetLedger: nothing of the old server's is left, not even after a removal that was cut short.
func TestForgetLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "named")
	if err := ForgetLedger(dir); err != nil {
		t.Errorf("a ledger that is missing: %v", err)
	}
	for range 2 {
		if _, err := OpenLedger(dir, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "entry"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ForgetLedger(dir); err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) > 0 {
			t.Errorf("left is %v", left)
		}
		if err := os.Mkdir(dir+".forgotten", 0o700); err != nil { // as a crash leaves it
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir+".forgotten", "entry"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
