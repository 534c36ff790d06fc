package server

import (
	"testing"

	"rexec/internal/charset"
	"rexec/internal/proto"
)

// TestSource: the client's word goes before the server's, and nothing unknown is guessed at.
func TestSource(t *testing.T) {
	for _, tt := range []struct {
		asked   string
		printed charset.Mode
		want    charset.Mode
	}{
		{"", charset.Auto, charset.Auto},
		{"", charset.GBK, charset.GBK},
		{proto.SourceDeclared, charset.GBK, charset.GBK},
		{proto.SourceDeclared, charset.Auto, charset.Raw},
		{"gb18030", charset.Raw, charset.GB18030},
		{"raw", charset.GBK, charset.Raw},
		{"big5", charset.GBK, charset.Raw},
	} {
		if got := source(tt.asked, tt.printed); got != tt.want {
			t.Errorf("%q of a server that says %s: %s, want %s", tt.asked, tt.printed, got, tt.want)
		}
	}
}

// TestWhatIsConverted: without a charset that can be had the output goes out as it is.
func TestWhatIsConverted(t *testing.T) {
	for _, tt := range []struct {
		charset, source string
		printed         charset.Mode
		want            bool
	}{
		{"utf-8", "", charset.Auto, true},
		{"gbk", "", charset.Auto, true},
		{"", "gbk", charset.Auto, false},
		{"utf-8", "", charset.Raw, false},
		{"utf-8", "raw", charset.Auto, false},
		{"auto", "", charset.GBK, false},
		{"raw", "", charset.GBK, false},
		{"utf-16", "", charset.GBK, false},
		{"gbk", "gb18030", charset.Auto, false},
	} {
		m := &proto.Run{Charset: tt.charset, Source: tt.source}
		if got := newText(m, new(proto.Started), tt.printed, false, nil) != nil; got != tt.want {
			t.Errorf("%q from %q, of a server that says %s: %v", tt.charset, tt.source, tt.printed, got)
		}
	}
}

// TestStrangeStates: a client may send any state. It can only spoil its own output.
func TestStrangeStates(t *testing.T) {
	for _, state := range []proto.ConverterState{{0xFF}, {1, 0xFF}, {1, 3, 0xFF, 0, 0xFF, 0xFF}, {1, 1, 0, 0, 0, 0, 0xFF}} {
		m := &proto.Run{Charset: "utf-8", Source: "auto", StdoutState: state, StderrState: state}
		x := newText(m, new(proto.Started), charset.Raw, false, nil)
		for i := range x.streams {
			x.streams[i].c.Append(nil, []byte("\xd6\xd0\n"))
			x.streams[i].c.Close(nil)
		}
	}
}
