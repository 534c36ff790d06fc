package charset_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"

	"rexec/internal/charset"
)

// conversion is a charset that something comes from and one that it goes to.
type conversion struct{ from, to charset.Mode }

// conversions are all that there are.
func conversions() []conversion {
	var out []conversion
	for from := charset.Raw; from <= charset.GB18030; from++ {
		for to := charset.Raw; to <= charset.GB18030; to++ {
			if charset.Converts(from, to) {
				out = append(out, conversion{from, to})
			}
		}
	}
	return out
}

func TestConverts(t *testing.T) {
	want := []conversion{
		{charset.Auto, charset.UTF8}, {charset.Auto, charset.GBK}, {charset.Auto, charset.GB18030},
		{charset.UTF8, charset.UTF8}, {charset.UTF8, charset.GBK}, {charset.UTF8, charset.GB18030},
		{charset.GBK, charset.UTF8}, {charset.GB18030, charset.UTF8},
	}
	got := conversions()
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
	for from := charset.Raw; from <= charset.GB18030; from++ {
		for to := charset.Raw; to <= charset.GB18030; to++ {
			if panics := panicsAt(from, to); panics == charset.Converts(from, to) {
				t.Errorf("%v to %v: a converter is made: %v", from, to, !panics)
			}
		}
	}
}

func panicsAt(from, to charset.Mode) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	charset.NewConverter(from, to)
	return false
}

func TestParseMode(t *testing.T) {
	for m := charset.Raw; m <= charset.GB18030; m++ {
		if got, err := charset.ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%v is %v, %v", m, got, err)
		}
	}
	for name, want := range map[string]charset.Mode{
		"UTF-8": charset.UTF8, "utf8": charset.UTF8, "Cp936": charset.GBK, "GB2312": charset.GBK, "GBK": charset.GBK,
		"Gb18030": charset.GB18030, "AUTO": charset.Auto, "RAW": charset.Raw,
	} {
		if got, err := charset.ParseMode(name); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"", " gbk", "gbk ", "utf-16", "big5", "charset 9"} {
		if got, err := charset.ParseMode(name); err == nil || got != charset.Raw {
			t.Errorf("%q is %v, %v", name, got, err)
		}
	}
}

// sameAsStandard checks that in is converted as the standard says, however it comes.
func sameAsStandard(t testing.TB, in []byte, way conversion, r *rand.Rand) {
	t.Helper()
	want := own().forced(way.from, way.to, in)
	lines := uint64(bytes.Count(in, []byte("\n")))
	if len(in) > 0 && in[len(in)-1] != '\n' {
		lines++
	}
	for _, f := range feeds(way.from, way.to, r, len(in)) {
		f.idle = r.IntN(2) == 0 // it decides nothing here
		got, c := f.run(t, in)
		if !bytes.Equal(got, want) {
			if len(in) < 200 {
				t.Fatalf("%v: %q is\n%q, want\n%q", f, in, got, want)
			}
			t.Fatalf("%v: %d bytes: %s", f, len(in), difference(got, want))
		}
		if c.Lines() != lines || c.Found() != way.from {
			t.Fatalf("%v: %q: %d lines of %v, want %d", f, in[:min(len(in), 200)], c.Lines(), c.Found(), lines)
		}
	}
	if way.to == charset.UTF8 && (!utf8.Valid(want) || len(want) > 3*len(in)) {
		t.Fatalf("%v: %q is %q", way, in, want)
	}
	if way.to == charset.UTF8 && way.from == charset.UTF8 && utf8.Valid(in) && !bytes.Equal(in, want) {
		t.Fatalf("%q is %q", in, want)
	}
}

func TestForced(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(8, 8))}
	m := malformed{p.Rand}
	for _, way := range conversions() {
		if way.from == charset.Auto {
			continue
		}
		t.Run(way.from.String()+" to "+way.to.String(), func(t *testing.T) {
			for range 700 {
				sameAsStandard(t, p.stream(1+p.IntN(12)), way, p.Rand)
				sameAsStandard(t, m.append(m.append(nil)), way, p.Rand)
			}
			for range 30 {
				sameAsStandard(t, p.long(), way, p.Rand)
				sameAsStandard(t, p.stream(2000), way, p.Rand)
			}
		})
	}
}

// TestNoRoom converts into slices that have little room, at whose end the fast paths must stop.
func TestNoRoom(t *testing.T) {
	p := pieces{Rand: rand.New(rand.NewPCG(9, 9))}
	for range 1500 {
		in := p.stream(1 + p.IntN(60))
		way := conversions()[p.IntN(len(conversions()))]
		c := charset.NewConverter(way.from, way.to)
		want := c.Close(c.Append(nil, in))
		c = charset.NewConverter(way.from, way.to)
		// Behind the slice's capacity there is somebody else's.
		room := p.IntN(2*len(in) + 80)
		array := bytes.Repeat([]byte{0xA5}, room+32)
		out := append(c.Append(array[0:0:room], in), c.Close(nil)...)
		if !bytes.Equal(out, want) {
			t.Fatalf("%v: %q with room for %d is %q, want %q", way, in, room, out, want)
		}
		if bytes.Count(array[room:], []byte{0xA5}) != 32 {
			t.Fatalf("%v: %q: written behind the room of %d", way, in, room)
		}
	}
}

// TestAppendKeeps appends to what is there.
func TestAppendKeeps(t *testing.T) {
	for _, way := range conversions() {
		c := charset.NewConverter(way.from, way.to)
		out := c.Append([]byte("before"), []byte("a\xd6"))
		if out = c.Close(out); !bytes.HasPrefix(out, []byte("beforea")) {
			t.Errorf("%v: %q", way, out)
		}
	}
}
