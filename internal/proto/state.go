package proto

import (
	"bytes"
	"errors"
	"fmt"
	"path"
)

// ParseState takes a shell's state apart: NUL-terminated strings, first the working directory, an absolute path,
// then NAME=VALUE of every exported variable. The names are whatever execve(2) takes. The results share b's memory.
func ParseState(b []byte) (dir []byte, env []EnvVar, err error) {
	if len(b) > MaxState {
		return nil, nil, fmt.Errorf("state: %d bytes, limit %d", len(b), MaxState)
	}
	if len(b) == 0 || b[len(b)-1] != 0 {
		return nil, nil, errors.New("state: it does not end with NUL")
	}
	dir, b, _ = bytes.Cut(b, []byte{0})
	if !path.IsAbs(string(dir)) {
		return nil, nil, errors.New("state: the working directory is not an absolute path")
	}
	for len(b) > 0 {
		var s []byte
		s, b, _ = bytes.Cut(b, []byte{0})
		name, value, ok := bytes.Cut(s, []byte("="))
		if !ok || len(name) == 0 {
			return nil, nil, fmt.Errorf("state: entry %d is not NAME=VALUE", len(env)+1)
		}
		if len(env) == MaxEnv {
			return nil, nil, fmt.Errorf("state: more than %d variables", MaxEnv)
		}
		env = append(env, EnvVar{name, value})
	}
	return dir, env, nil
}

// AppendState appends the state of a directory and variables, of which none has a NUL.
func AppendState(b, dir []byte, env []EnvVar) []byte {
	b = append(append(b, dir...), 0)
	for _, v := range env {
		b = append(append(b, v.Name...), '=')
		b = append(append(b, v.Value...), 0)
	}
	return b
}

// validateState is the part of Validate that is about what lasts between the lines of a prompt.
func (m *Run) validateState() error {
	if m.Lasting && len(m.Shell) == 0 {
		return errors.New("only what a command line ends with can last")
	}
	if len(m.State) == 0 {
		return nil
	}
	if !m.Lasting && m.Subsystem == "" {
		return errors.New("a state for a command that is not one of a prompt's")
	}
	if len(m.Dir) > 0 {
		return errors.New("a working directory beside a state that has one")
	}
	_, _, err := ParseState(m.State)
	return err
}
