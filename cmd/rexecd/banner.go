package main

import (
	"bytes"
	"errors"
	"fmt"
	stdio "io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"rexec/internal/config"
)

// bannerText is what people are told who begin a prompt: what stands in the configuration or in the file that it names.
func bannerText(b config.Banner) (string, error) {
	if b.File == "" {
		return b.Text, nil
	}
	text, err := readBanner(b.File)
	if err != nil {
		return "", unusable(fmt.Errorf("banner.file in rexecd.toml: %w", err))
	}
	return text, nil
}

func readBanner(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe must not hold up the start
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.Join(err, fmt.Errorf("%s is not a regular file", path))
	}
	b, err := stdio.ReadAll(stdio.LimitReader(f, config.MaxBanner+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > config.MaxBanner:
		return "", fmt.Errorf("%s has more than %d bytes; shorten it", path, config.MaxBanner)
	}
	line := 1
	for text := range strings.Lines(string(b)) {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			return "", fmt.Errorf("%s, line %d: it is not text in UTF-8; save it as that", path, line)
		}
		line++
	}
	return string(bytes.TrimRight(b, "\n")), nil
}
