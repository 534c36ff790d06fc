package main

import (
	"testing"

	"rexec/internal/charset"
	"rexec/internal/config"
)

// TestCharsetNames: config must not import charset, so its list of names is a second one.
func TestCharsetNames(t *testing.T) {
	for m := charset.Raw; m <= charset.GB18030; m++ {
		cfg, err := config.Parse("f.toml", []byte("exec.charset = '"+m.String()+"'"))
		if err != nil {
			t.Error(err)
			continue
		}
		if o, err := runnerOptions(cfg.Exec); err != nil || o.Charset != m {
			t.Errorf("%v becomes %v, %v", m, o.Charset, err)
		}
	}
	if o, err := runnerOptions(config.Default().Exec); err != nil || o.Charset != charset.Auto {
		t.Errorf("the default is %v, %v", o.Charset, err)
	}
}
