//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// convertedOutput is row 12: files through the daemon, with and without conversion.
func convertedOutput(ctx context.Context, l *lab) ([]result, error) {
	const copies = 4 // of 64 MiB; of 16 MiB for a rough picture
	ascii, err := l.catFile(logs, copies)
	if err != nil {
		return nil, err
	}
	console, err := l.catFile(mix, copies)
	if err != nil {
		return nil, err
	}
	if err := l.checkConversion(ctx); err != nil {
		return nil, err
	}
	rawASCII, autoASCII := ascii.cat(), ascii.cat("--charset", "auto", "--local-charset", "utf-8")
	raw, gbk := console.cat(), console.cat("--charset", "gbk", "--local-charset", "utf-8")
	auto := console.cat("--charset", "auto", "--local-charset", "utf-8")
	if err := alternate(ctx, l.rounds(), rawASCII, autoASCII, raw, gbk, auto); err != nil {
		return nil, err
	}
	size := fmt.Sprintf("`cat` of %d MiB", console.size>>20)
	return []result{{
		What: size + ", ascii, `--charset auto`", Beside: "raw", Unit: mbPerSecond,
		Theirs: rawASCII.median(), Ours: autoASCII.median(), Runs: len(raw.values), Goal: goal{ratioAtLeast, 0.95},
	}, {
		What: size + ", gbk, mix, `--charset gbk`", Beside: "raw", Unit: mbPerSecond,
		Theirs: raw.median(), Ours: gbk.median(), Runs: len(raw.values), Goal: goal{ratioAtLeast, 0.6},
	}, {
		What: size + ", gbk, mix, `--charset auto`", Beside: "raw", Unit: mbPerSecond,
		Theirs: raw.median(), Ours: auto.median(), Runs: len(raw.values),
	}}, nil
}

// file is a text in GBK in the lab's directory.
type file struct {
	lab  *lab
	path string
	size int
}

// catFile writes a text some times over.
func (l *lab) catFile(k kind, copies int) (*file, error) {
	gbk := l.text(k).gbk
	f := &file{lab: l, path: filepath.Join(l.dir, k.String()+".txt"), size: copies * len(gbk)}
	return f, os.WriteFile(f.path, bytes.Repeat(gbk, copies), 0o600)
}

// cat is a contender whose value is MB/s of the file.
func (f *file) cat(options ...string) *contender {
	p := f.lab.rexecd.with(options, "cat", f.path)
	return &contender{measure: func(ctx context.Context) (float64, error) {
		took, err := f.lab.run(ctx, p, nil)
		return float64(f.size) / 1e6 / took.wall.Seconds(), err
	}}
}

// checkConversion makes sure that what is measured is done, with a smaller text.
func (l *lab) checkConversion(ctx context.Context) error {
	small := newText(mix, 1<<20)
	path, got := filepath.Join(l.dir, "small.txt"), filepath.Join(l.dir, "small.out")
	if err := os.WriteFile(path, small.gbk, 0o600); err != nil {
		return err
	}
	for _, try := range []struct {
		options []string
		want    []byte
	}{
		{nil, small.gbk},
		{[]string{"--charset", "gbk", "--local-charset", "utf-8"}, small.utf8},
		{[]string{"--charset", "auto", "--local-charset", "utf-8"}, small.utf8},
	} {
		out, err := os.Create(got)
		if err != nil {
			return err
		}
		_, err = l.run(ctx, l.rexecd.with(try.options, "cat", path), out)
		out.Close()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(got)
		if err != nil {
			return err
		}
		if !bytes.Equal(b, try.want) {
			return fmt.Errorf("with options %q a text came as %d other bytes than the %d it should have", try.options, len(b), len(try.want))
		}
	}
	return nil
}
