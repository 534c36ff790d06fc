package config

import (
	"strings"
	"testing"
)

func TestMetricsListen(t *testing.T) {
	long := "unix:/" + strings.Repeat("a", maxSocketPath)
	for _, tt := range []struct{ listen, want string }{
		{"", ""},
		{"127.0.0.1:9100", ""},
		{"127.8.7.6:0", ""},
		{"[::1]:9100", ""},
		{"[::ffff:127.0.0.1]:9100", ""},
		{"localhost:9100", ""},
		{"unix:/run/rexecd/metrics.sock", ""},
		{long[:len(long)-1], ""},
		{":9100", "other machines reach this address"},
		{"0.0.0.0:9100", "other machines reach this address"},
		{"[::]:9100", "other machines reach this address"},
		{"192.0.2.1:9100", "other machines reach this address"},
		{"localhost.example:9100", "other machines reach this address"},
		{"9100", "or a Unix socket such as"},
		{"127.0.0.1", "must be host:port"},
		{"127.0.0.1:http", "the port must be a number"},
		{"unix:metrics.sock", "must be an absolute path"},
		{"unix:@metrics", "must be an absolute path"},
		{"unix:", "must be an absolute path"},
		{"unix:/a\\nb", "control characters"},
		{long, "at most 107 bytes, not 108"},
	} {
		c, err := Parse("f.toml", []byte("[metrics]\nlisten = \""+tt.listen+"\""))
		switch {
		case tt.want == "" && (err != nil || c.Metrics.Listen != tt.listen):
			t.Errorf("%q: %v, %q", tt.listen, err, c.Metrics.Listen)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%q: %v, want %q", tt.listen, err, tt.want)
		}
	}
}
