//go:build linux

package exec

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// fileCache keeps the text of account files from one lookup to the next. A file
// is read again as soon as stat(2) shows any difference, so a lookup always sees
// the files as they are.
type fileCache struct {
	mu    sync.Mutex
	files map[string]cachedFile
}

type cachedFile struct {
	stamp fileStamp
	text  string
}

// fileStamp tells two states of a file apart.
type fileStamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// maxCached bounds the text that is kept; a larger file is read each time.
const maxCached = 1 << 20

// settled is the age at which a file's times can be trusted: two changes within
// one tick of the kernel's clock leave the same time.
const settled = 2 * time.Second

// eachLine calls f for each line until it returns false. A file that does not
// exist has no lines.
func (c *fileCache) eachLine(file string, f func(line string) bool) error {
	text, err := c.read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if !f(strings.TrimSuffix(line, "\n")) {
			return nil
		}
	}
	return nil
}

func (c *fileCache) read(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	stamp := stampOf(info)
	c.mu.Lock()
	known, ok := c.files[file]
	c.mu.Unlock()
	if ok && known.stamp == stamp {
		return known.text, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	text := string(b)
	// What was read may be younger than what was looked at; then the next look tells.
	if len(b) <= maxCached && time.Since(time.Unix(stamp.ctime.Unix())) > settled {
		c.mu.Lock()
		if c.files == nil {
			c.files = make(map[string]cachedFile)
		}
		c.files[file] = cachedFile{stamp, text}
		c.mu.Unlock()
	}
	return text, nil
}

func stampOf(info fs.FileInfo) fileStamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fileStamp{size: info.Size()}
	}
	return fileStamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}
