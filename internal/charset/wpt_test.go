package charset_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"rexec/internal/charset"
)

// webCase is a case of web-platform-tests: a code and its text, one of which is the input.
type webCase struct {
	code []byte
	text string
	none bool // the text has no code
}

// webCases reads testdata/wpt.txt: the cases by the name of the test that they are of.
func webCases(t *testing.T) map[string][]webCase {
	t.Helper()
	file, err := os.ReadFile("testdata/wpt.txt")
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]webCase{}
	name := ""
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			name = strings.Trim(line, "[]")
			continue
		}
		code, text, _ := strings.Cut(line, " ")
		c := webCase{none: code == "-"}
		if !c.none {
			c.code, err = hex.DecodeString(code)
		}
		if err == nil {
			c.text, err = strconv.Unquote(text)
		}
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		cases[name] = append(cases[name], c)
	}
	return cases
}

func TestWebPlatform(t *testing.T) {
	for name, tt := range map[string]struct {
		cases int
		check func(*testing.T, webCase)
	}{
		"gb18030-decoder":       {68, checkDecoder},
		"gb18030-decode-errors": {5, checkDecoder},
		"gbk-decoder":           {82, checkDecoder},
		"gb18030-encoder":       {47, checkEncoder(charset.GB18030)},
		"gbk-encoder":           {49, checkEncoder(charset.GBK)},
	} {
		t.Run(name, func(t *testing.T) {
			cases := webCases(t)[name]
			if len(cases) != tt.cases {
				t.Errorf("%d cases, want %d", len(cases), tt.cases)
			}
			for _, c := range cases {
				tt.check(t, c)
			}
		})
	}
}

func checkDecoder(t *testing.T, c webCase) {
	for _, from := range gbModes() {
		if got := whole(from, charset.UTF8, c.code); string(got) != c.text {
			t.Errorf("%v: % x is %q, want %q", from, c.code, got, c.text)
		}
	}
}

func checkEncoder(to charset.Mode) func(*testing.T, webCase) {
	return func(t *testing.T, c webCase) {
		want := c.code
		if c.none {
			want = []byte("?")
		}
		if got := whole(charset.UTF8, to, []byte(c.text)); !bytes.Equal(got, want) {
			t.Errorf("%q is % x, want % x", c.text, got, want)
		}
	}
}

// TestWebPlatformRanges are the cases that the decoder's and the encoder's test make of each range.
func TestWebPlatformRanges(t *testing.T) {
	s := published(t)
	for _, r := range s.ranges {
		c := webCase{code: fourCode(r.pointer), text: string(r.point)}
		checkDecoder(t, c)
		checkEncoder(charset.GB18030)(t, c)
	}
}

// TestNode decodes random bytes as Node.js does, which has the decoder of ICU.
func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no oracle: ", err)
	}
	const count = 200_000
	m := malformed{rand.New(rand.NewPCG(4, 18030))}
	var in strings.Builder
	var inputs [][]byte
	for range count {
		b := m.append(nil)
		inputs = append(inputs, b)
		in.WriteString(hex.EncodeToString(b) + "\n")
	}
	outputs := decodeInNode(t, node, in.String())
	if len(outputs) != count {
		t.Fatalf("%d answers, want %d", len(outputs), count)
	}
	differ := 0
	for i, b := range inputs {
		if got := whole(gbModes()[i%2], charset.UTF8, b); hex.EncodeToString(got) != outputs[i] {
			differ++
			t.Errorf("% x is %q in UTF-8 % x, want %s", b, got, got, outputs[i])
		}
		if differ > 20 {
			t.Fatal("and so on")
		}
	}
}

// decodeInNode decodes lines of hexadecimal digits.
func decodeInNode(t *testing.T, node, in string) []string {
	t.Helper()
	const program = `
		let lines = require("fs").readFileSync(0, "latin1").trimEnd().split("\n");
		let decode = b => "no gb18030";
		try {
			let decoder = new TextDecoder("gb18030", {ignoreBOM: true});
			decode = b => Buffer.from(decoder.decode(b)).toString("hex");
		} catch {}
		let out = lines.map(l => decode(Buffer.from(l, "hex")));
		process.stdout.write(out.join("\n") + "\n");`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "-e", program)
	cmd.Stdin = strings.NewReader("80a6d9\n" + in) // the first line tells an ICU before 74 and its older tables
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(out), "\n")
	if first != hex.EncodeToString([]byte("\u20AC\uFE10")) {
		t.Skip("no oracle: node decodes 80 A6 D9 to ", first)
	}
	return strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
}
