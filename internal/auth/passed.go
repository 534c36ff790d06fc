package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// serverIDName is the file in a state directory that says whose it is while the identity lies elsewhere.
const serverIDName = "server-id"

// PassedIdentity reads an identity that lies outside the state directory, as where the service manager keeps it
// encrypted and passes it on. It notes the ID in the state directory, for those who make tokens and cannot see
// the identity. A second identity in the state directory is an error: nobody could tell which one tokens are for.
func PassedIdentity(path, dir string) (Identity, error) {
	if err := makeDir(dir); err != nil {
		return Identity{}, fmt.Errorf("making the state directory: %w", err)
	}
	switch _, err := os.Lstat(IdentityPath(dir)); {
	case err == nil:
		return Identity{}, &FileError{Path: IdentityPath(dir), Msg: "is there although another identity was passed on as a credential",
			Fix: "remove one of the two"}
	case !errors.Is(err, fs.ErrNotExist):
		return Identity{}, fmt.Errorf("looking for an identity: %w", err)
	}
	text, _, err := readSecret(path, identityLimit)
	if err != nil {
		return Identity{}, fmt.Errorf("opening the identity that was passed on: %w", err)
	}
	id, err := parseIdentity(path, string(text))
	if err != nil {
		return Identity{}, err
	}
	note := filepath.Join(dir, serverIDName)
	if known, err := passedID(dir); err == nil && known == id.ID {
		return id, nil
	}
	if err := replaceFile(note, []byte(id.ID.String()+"\n")); err != nil {
		return Identity{}, fmt.Errorf("noting the server's ID: %w", err)
	}
	return id, nil
}

// OpenServerID returns the ID of the server that a state directory belongs to, wherever its identity lies. It
// is fs.ErrNotExist if it has none yet.
func OpenServerID(dir string) (ServerID, error) {
	id, err := OpenIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return passedID(dir)
	}
	return id.ID, err
}

func passedID(dir string) (ServerID, error) {
	path := filepath.Join(dir, serverIDName)
	text, _, err := readSecret(path, identityLimit)
	if err != nil {
		return ServerID{}, fmt.Errorf("opening the server's ID: %w", err)
	}
	id, err := ParseServerID(strings.TrimSpace(string(text)))
	if err != nil {
		return ServerID{}, &FileError{Path: path, Line: 1, Msg: err.Error(), Fix: "remove it and start the daemon, which writes it"}
	}
	return id, nil
}
