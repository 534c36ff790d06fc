//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"rexec/internal/charset"
)

// firstVerb makes this program convert one character and say what that took, in a process in which
// nothing was converted before.
const firstVerb = "first-conversion"

// conversionCosts are the lines of row 11 that are no rates.
func conversionCosts(ctx context.Context, l *lab) ([]result, error) {
	first := &firstUse{}
	first.measure = first.once
	if err := alternate(ctx, l.rounds(), &first.contender); err != nil {
		return nil, err
	}
	n, err := allocationsEach(l.text(mix))
	if err != nil {
		return nil, err
	}
	return []result{{
		What: "tables: built, at the first use", Unit: ms, Ours: first.median(), Runs: len(first.values), Goal: goal{atMost, 2},
	}, {
		What: "tables: memory", Unit: kb, Ours: median(first.size), Runs: len(first.size), Goal: goal{atMost, 700},
	}, {
		What: "allocations for each Append", Unit: allocations, Ours: n, Runs: 1, Goal: goal{atMost, 0},
	}}, nil
}

// firstUse measures processes of this program; the sizes include the first round.
type firstUse struct {
	contender
	size []float64 // in kB
}

func (f *firstUse) once(ctx context.Context) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, self, firstVerb).Output()
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", firstVerb, err)
	}
	var took time.Duration
	var size int64
	if _, err := fmt.Sscan(string(out), (*int64)(&took), &size); err != nil {
		return 0, fmt.Errorf("reading what %s says: %w", firstVerb, err)
	}
	f.size = append(f.size, float64(size)/1000)
	return took.Seconds() * 1000, nil
}

// firstConversion is the other side: nanoseconds, and bytes of the heap that stay in use.
func firstConversion(out io.Writer) error {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	c := charset.NewConverter(charset.GBK, charset.UTF8)
	got := c.Append(nil, []byte("\xD6\xD0"))
	took := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(c)
	if string(got) != "中" {
		return fmt.Errorf("the first conversion made %q of 中", got)
	}
	_, err := fmt.Fprintln(out, took.Nanoseconds(), int64(after.HeapAlloc)-int64(before.HeapAlloc))
	return err
}

// allocationsEach returns the allocations for each Append of a converter that has converted a text
// before, for the worst of them.
func allocationsEach(t *text) (float64, error) {
	worst := 0.0
	for _, s := range []struct {
		from, to charset.Mode
		input    []byte
	}{
		{charset.GBK, charset.UTF8, t.gbk}, {charset.UTF8, charset.GBK, t.utf8},
		{charset.Auto, charset.UTF8, t.gbk}, {charset.Auto, charset.UTF8, t.utf8}, {charset.Auto, charset.GBK, t.utf8},
	} {
		c := charset.NewConverter(s.from, s.to)
		buf, dst := make([]byte, chunk), make([]byte, 0, 3*(chunk+charset.MaxHold))
		r := bytes.NewReader(s.input)
		appends := 0
		convert := func(b []byte) {
			c.Append(dst[:0], b)
			appends++
		}
		if err := eachChunk(r, buf, convert); err != nil {
			return 0, err
		}
		r.Reset(s.input)
		appends = 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := eachChunk(r, buf, convert); err != nil {
			return 0, err
		}
		runtime.ReadMemStats(&after)
		worst = max(worst, float64(after.Mallocs-before.Mallocs)/float64(appends))
	}
	return worst, nil
}
