//go:build unix

package complete

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is the System of this process: its working directory, environment and rights. Users are those of
// passwd(5); a directory service is not asked, since it may have very many and be slow.
type Process struct{}

// Names reads a directory; what it has until an error counts.
func (Process) Names(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return names
}

// IsDir follows symbolic links.
func (Process) IsDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// IsExecutable follows symbolic links.
func (Process) IsExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && unix.Access(path, unix.X_OK) == nil
}

// Variable is that of the environment.
func (Process) Variable(name string) (string, bool) { return os.LookupEnv(name) }

// Variables are those of the environment.
func (Process) Variables() []string {
	var names []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	return names
}

// Home is $HOME for nobody in particular.
func (Process) Home(user string) (string, bool) {
	if user == "" {
		return os.LookupEnv("HOME")
	}
	for _, f := range accounts() {
		if f[0] == user {
			return f[5], true
		}
	}
	return "", false
}

// Users are all that have a name.
func (Process) Users() []string {
	var names []string
	for _, f := range accounts() {
		names = append(names, f[0])
	}
	return names
}

// accounts are the fields of passwd(5).
func accounts() [][]string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	var all [][]string
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(f) == 7 {
			all = append(all, f)
		}
	}
	return all
}
