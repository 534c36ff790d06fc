//go:build linux

package attack

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rexec/internal/charset"
	"rexec/internal/client"
	"rexec/internal/proto"
	"rexec/internal/rexectest"
)

// console is what a host prints: lines of ASCII and hanzi, n bytes of UTF-8 or a few more.
func console(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "-rw-r--r-- 1 root %d 年度报告和会议纪要第%d卷.txt 系统目录与编译错误信息\n", i*7919, i)
	}
	return b
}

func inGBK(text []byte) []byte {
	c := charset.NewConverter(charset.UTF8, charset.GBK)
	return c.Close(c.Append(nil, text))
}

// TestConvertedOutputSurvivesCuts breaks the connection again and again in converted output: the stream
// goes on at the character where it was.
func TestConvertedOutputSurvivesCuts(t *testing.T) {
	utf8 := console(6_000_000)
	gbk := inGBK(utf8)
	for _, tt := range []struct {
		source, charset string
		printed, want   []byte
	}{
		{"auto", "utf-8", gbk, utf8},
		{"gbk", "utf-8", gbk, utf8},
		{"auto", "gbk", utf8, gbk},
		{"auto", "utf-8", utf8, utf8},
	} {
		t.Run(tt.source+" to "+tt.charset, func(t *testing.T) {
			r := random(t)
			d := rexectest.New(t, rexectest.Options{})
			p := rexectest.NewProxy(t, d.Address())
			ran, file := newRuns(t), filepath.Join(t.TempDir(), "text")
			if err := os.WriteFile(file, tt.printed, 0o600); err != nil {
				t.Fatal(err)
			}
			cuts := 0
			o := dialing(through(d, p), func(n int) {
				cuts = n
				p.CutAfter(2_000 + r.Int64N(600_000))
			})
			run1 := shell("%scat %s; tail -c 3000000 %s >&2", ran.count(), file, file)
			run1.Source, run1.Charset = tt.source, tt.charset
			got := run(limited(t, 60*time.Second), rexectest.NewClient(t, o), client.Command{Run: run1})
			got.exited(t, 0)
			ran.want(1)
			if cuts < 8 {
				t.Errorf("only %d connections", cuts)
			}
			if !bytes.Equal(got.out.Bytes(), tt.want) {
				t.Errorf("stdout differs from byte %d on", differ(got.out.Bytes(), tt.want))
			}
			lines := uint64(bytes.Count(tt.want, []byte("\n")))
			if tail := got.err.Bytes(); len(tail) == 0 || !bytes.HasSuffix(tt.want, tail[len(tail)/2:]) {
				t.Error("stderr is not the end of the text")
			}
			switch r := got.result; {
			case r.StdoutBytes != uint64(len(tt.printed)):
				t.Errorf("%d bytes of stdout counted, the command wrote %d", r.StdoutBytes, len(tt.printed))
			case bytes.Equal(tt.printed, tt.want) && (r.ConvertedLines != 0 || r.Charset != "utf-8"):
				t.Errorf("%d lines converted from %s, want none", r.ConvertedLines, r.Charset)
			case !bytes.Equal(tt.printed, tt.want) && r.ConvertedLines < lines:
				t.Errorf("%d lines converted, want those of both streams, of which one has %d", r.ConvertedLines, lines)
			}
		})
	}
}

func differ(a, b []byte) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i
}

// TestClientsOfOneJobChooseTheirCharsets attaches clients that want different things to a job, one after
// the other, from the first byte that nobody has acknowledged on.
func TestClientsOfOneJobChooseTheirCharsets(t *testing.T) {
	d := rexectest.New(t, rexectest.Options{})
	dir := t.TempDir()
	file, gate := filepath.Join(dir, "text"), filepath.Join(dir, "gate")
	text := console(20_000)
	if err := os.WriteFile(file, inGBK(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := shell("cat %s; until [ -e %s ]; do sleep 0.02; done", file, gate)
	m.ID, m.NoStdin = client.NewID(), true
	for i, tt := range []struct {
		source, charset string
		want            []byte
	}{
		{"", "utf-8", text}, {"", "", inGBK(text)}, {"gbk", "utf-8", text}, {"raw", "utf-8", inGBK(text)},
		{"", "gb18030", inGBK(text)}, {"", "utf-8", text},
	} {
		m.Source, m.Charset = tt.source, tt.charset
		p := d.Peer(t)
		p.Send(&m)
		var got []byte
		for len(got) < len(tt.want) {
			switch kind, payload := p.Next(); kind {
			case proto.TypeStarted:
			case proto.TypeStdout:
				got = append(got, payload[8:]...)
			case proto.TypeStdoutText:
				got = append(got, payload[28:]...)
			default:
				t.Fatalf("client %d: %s", i, kind)
			}
		}
		if !bytes.Equal(got, tt.want) {
			t.Errorf("client %d, %q to %q: output differs from byte %d on", i, tt.source, tt.charset, differ(got, tt.want))
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
