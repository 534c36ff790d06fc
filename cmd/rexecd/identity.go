package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/term"

	"rexec/internal/auth"
	"rexec/internal/job"
	"rexec/internal/systemd"
)

// credential is the name under which the service manager can pass the identity on.
const credential = "rexecd.identity"

// identity opens this server's identity: the one that the service manager has passed on, or that of the state
// directory, which is made if need be. If there are keys, they are for an identity that is lost, and none takes its
// place unasked.
func identity(dir string) (auth.Identity, error) {
	if path := systemd.Credential(credential); path != "" {
		id, err := auth.PassedIdentity(path, dir)
		return id, unusable(err)
	}
	id, err := auth.OpenIdentity(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, unusable(err)
	}
	switch keys, err := orphans(dir); {
	case err != nil:
		return id, unusable(err)
	case keys:
		return id, unusable(&auth.FileError{
			Path: auth.IdentityPath(dir), Msg: "is missing, though there are keys for it in " + keysPath(dir),
			Fix: "restore it from a copy; without one: rexecd reset-identity, and every client must enroll again",
		})
	}
	id, err = auth.CreateIdentity(dir)
	return id, unusable(err)
}

// orphans reports whether a state directory without an identity holds keys. With an error it may.
func orphans(dir string) (bool, error) {
	store, err := auth.OpenStore(keysPath(dir))
	return err == nil && len(store.Keys()) > 0, err
}

// serverID is the ID that tokens are for. If there is no identity anywhere it makes one, so that a key can be
// added before the daemon's first start.
func serverID(dir string) (auth.ServerID, error) {
	id, err := auth.OpenServerID(dir)
	if errors.Is(err, fs.ErrNotExist) {
		made, err := identity(dir)
		return made.ID, err
	}
	return id, unusable(err)
}

func printID(c *common, io streams) error {
	dir, err := c.state()
	if err != nil {
		return err
	}
	id, err := serverID(dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(io.out, id)
	return err
}

// resetIdentity makes another identity, for a machine that was cloned together with the state directory.
func resetIdentity(c *common, args []string, io streams) error {
	set := c.flags("reset-identity")
	yes := set.Bool("yes", false, "")
	if err := c.parseAll(set, args); err != nil {
		return err
	}
	dir, err := c.state()
	if err != nil {
		return err
	}
	if err := replaceable(dir); err != nil {
		return fmt.Errorf("there is no identity to replace; the daemon makes one at its first start: %w", err)
	}
	unlock, err := lockState(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if !*yes {
		if err := confirm(io); err != nil {
			return err
		}
	}
	id, err := auth.ResetIdentity(dir)
	if err != nil {
		return unusable(err)
	}
	// Only now: had this come first and the other not at all, the old server would run a named execution twice.
	if err := job.ForgetLedger(namedPath(dir)); err != nil {
		return fmt.Errorf("the identity is another one, but the outcomes of the old one's named executions are still there "+
			"(run rexecd reset-identity again, or remove %s): %w", namedPath(dir), err)
	}
	if _, err := fmt.Fprintln(io.out, id.ID); err != nil {
		return err
	}
	notef(io.err, "this is another server now, so every client must enroll again: its key gets a new secret, "+
		"and the line to paste, with: rexecd key rotate NAME --keep 0; add --replace to the line after rexec enroll")
	for _, name := range keyNames(dir) {
		notef(io.err, "there is the key %s", name)
	}
	return nil
}

// replaceable makes sure that there is an identity, or was one.
func replaceable(dir string) error {
	_, err := os.Lstat(auth.IdentityPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if keys, bad := orphans(dir); keys || bad != nil {
			return nil
		}
	}
	return err
}

func confirm(io streams) error {
	in, ok := io.in.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return misuse("every client will have to enroll again, and the outcomes of named executions are forgotten; confirm that with --yes")
	}
	fmt.Fprint(io.err, "every client will have to enroll again, and the outcomes of named executions are forgotten; write yes to go on: ")
	answer, _ := bufio.NewReader(in).ReadString('\n') // whatever is not yes is no
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// keyNames are the keys as far as their file can be read.
func keyNames(dir string) (names []string) {
	store, err := auth.OpenStore(keysPath(dir))
	if err != nil {
		return nil
	}
	for _, k := range store.Keys() {
		names = append(names, k.ID)
	}
	return names
}
