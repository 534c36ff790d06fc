package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rexec/internal/proto"
)

// ClientStore is a user's directory of enrolled keys and of pins:
//
//	keys/<address, ':' as '_'>/<name>   one token each
//	pins/<server ID>                    SHA-256 of the public key in that server's certificate
//
// Nothing is read before it is asked for, and a key is found by its address without looking at the
// others.
type ClientStore struct{ dir string }

// Enrolled is one key file of a client.
type Enrolled struct {
	Name  string // the user's name for the key, by default its key ID
	Path  string
	Token Token
}

// OpenClientStore returns the store in dir, which need not exist. It touches no file.
func OpenClientStore(dir string) *ClientStore { return &ClientStore{dir} }

// Enroll stores a token, under the key's ID if name is empty. A token for the same server, address
// and key ID replaces the earlier one, under the earlier name unless another is given. A name that
// another key has at this address is refused.
func (c *ClientStore) Enroll(t Token, name string) (path string, err error) {
	return c.enroll(t, name, false)
}

// Replace is Enroll for a server that has become another one: an earlier token of this key ID for any server at
// the address is replaced, and so is another key that has the name.
func (c *ClientStore) Replace(t Token, name string) (path string, err error) {
	return c.enroll(t, name, true)
}

func (c *ClientStore) enroll(t Token, name string, replace bool) (path string, err error) {
	if path, err = c.put(t, name, replace); err != nil {
		return "", fmt.Errorf("enrolling: %w", err)
	}
	return path, nil
}

func (c *ClientStore) put(t Token, name string, replace bool) (string, error) {
	if err := t.check(); err != nil {
		return "", err
	}
	dir := c.addressDir(t.Address)
	for _, d := range []string{c.dir, c.keysDir(), dir} {
		if err := makeDir(d); err != nil {
			return "", err
		}
	}
	present, _ := c.ByAddress(t.Address) // a bad file matters only if it has the name
	old := sameKey(present, t, replace)
	switch {
	case name == "" && old != nil:
		name = old.Name
	case name == "":
		name = t.Key.KeyID
	case !proto.ValidKeyID(name):
		return "", errors.New(nameRule)
	}
	path := filepath.Join(dir, name)
	if (old == nil || old.Path != path) && !replace {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return "", &FileError{Path: path, Msg: "is another key of that name",
				Fix: "give this one another with --name, or give up that one with --replace"}
		}
	}
	if err := replaceFile(path, []byte(t.Encode()+"\n")); err != nil {
		return "", err
	}
	if old != nil && old.Path != path {
		return path, os.Remove(old.Path)
	}
	return path, nil
}

const nameRule = "a name is 1 to 64 of a-z 0-9 . _ @ -, the first a letter or digit"

func sameKey(present []Enrolled, t Token, anyServer bool) *Enrolled {
	for i, e := range present {
		if (anyServer || e.Token.Key.Server == t.Key.Server) && e.Token.Key.KeyID == t.Key.KeyID {
			return &present[i]
		}
	}
	return nil
}

// ByAddress returns the keys for an address in the form of CanonicalAddress, sorted by name. Files
// that must not or cannot be used are in the error, each with its fix; the others are returned all
// the same.
func (c *ClientStore) ByAddress(address string) ([]Enrolled, error) {
	canonical, err := CanonicalAddress(address, 0)
	if err != nil {
		return nil, err
	}
	return c.read(addressName(canonical), "")
}

// ByName returns the keys of this name at all addresses, with errors as ByAddress.
func (c *ClientStore) ByName(name string) ([]Enrolled, error) {
	if !proto.ValidKeyID(name) {
		return nil, errors.New(nameRule)
	}
	return c.all(name)
}

// All returns every key, sorted by address and name, with errors as ByAddress.
func (c *ClientStore) All() ([]Enrolled, error) { return c.all("") }

// Addresses returns the addresses that have keys, as host:port. No key is read for that.
func (c *ClientStore) Addresses() ([]string, error) {
	dirs, err := list(c.keysDir())
	var found []string
	for _, dir := range dirs {
		i := strings.LastIndexByte(dir, '_')
		if i < 0 {
			continue
		}
		host := dir[:i]
		if strings.HasPrefix(host, "[") {
			host = strings.ReplaceAll(host, "_", ":")
		}
		if address, err := CanonicalAddress(host+":"+dir[i+1:], 0); err == nil {
			found = append(found, address)
		}
	}
	return found, err
}

func (c *ClientStore) all(name string) ([]Enrolled, error) {
	dirs, err := list(c.keysDir())
	if err != nil {
		return nil, err
	}
	var found []Enrolled
	var errs []error
	for _, dir := range dirs {
		some, err := c.read(dir, name)
		found, errs = append(found, some...), append(errs, err)
	}
	return found, errors.Join(errs...)
}

// read reads the key of this name in one address's directory, or every key if name is empty.
func (c *ClientStore) read(dir, name string) ([]Enrolled, error) {
	for _, d := range []string{c.dir, c.keysDir(), filepath.Join(c.keysDir(), dir)} {
		if err := checkDir(d); err != nil {
			return nil, notMissing(err)
		}
	}
	names := []string{name}
	if name == "" {
		var err error
		if names, err = list(filepath.Join(c.keysDir(), dir)); err != nil {
			return nil, err
		}
	}
	var found []Enrolled
	var errs []error
	for _, n := range names {
		e, err := readEnrolled(filepath.Join(c.keysDir(), dir, n))
		switch {
		case err == nil:
			found = append(found, e)
		case name == "" || !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return found, errors.Join(errs...)
}

// list returns the names in a directory in order, without hidden ones; none if it is missing.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, notMissing(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func notMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// readEnrolled reads one key file and makes sure that it lies where its address belongs: a file that
// was moved would otherwise send its proof to another server than its owner thinks.
func readEnrolled(path string) (Enrolled, error) {
	e, err := readKey(path)
	if err == nil && filepath.Base(filepath.Dir(path)) != addressName(e.Token.Address) {
		err = &FileError{Path: path, Msg: "holds a key for " + e.Token.Address, Fix: "remove it and enroll again"}
	}
	if err != nil {
		return Enrolled{}, err
	}
	return e, nil
}

func readKey(path string) (Enrolled, error) {
	text, _, err := readSecret(path, tokenLimit)
	if err != nil {
		return Enrolled{}, err
	}
	t, err := ParseToken(string(text))
	if err != nil {
		return Enrolled{}, &FileError{Path: path, Msg: err.Error(), Fix: "remove it and enroll again"}
	}
	return Enrolled{Name: filepath.Base(path), Path: path, Token: t}, nil
}

// ErrNoKey is returned by ReadKey for a file that is none of ours.
var ErrNoKey = errors.New("it holds no key of rexec's")

// ReadKey reads a key from a file of the caller's choice, wherever it lies. A file that holds something else
// is ErrNoKey, whoever may read it.
func ReadKey(path string) (Enrolled, error) {
	f, err := os.Open(path)
	if err != nil {
		return Enrolled{}, err
	}
	begin := make([]byte, len(tokenPrefix))
	n, _ := io.ReadFull(f, begin)
	if err := f.Close(); err != nil {
		return Enrolled{}, err
	}
	if string(begin[:n]) != tokenPrefix {
		return Enrolled{}, ErrNoKey
	}
	return readKey(path)
}

// Forget removes a key, and the pin of its server if no other key is for that server.
func (c *ClientStore) Forget(e Enrolled) error {
	address := filepath.Dir(e.Path)
	if filepath.Dir(address) != c.keysDir() {
		return fmt.Errorf("forgetting %s: it is not in %s", e.Path, c.keysDir())
	}
	if err := os.Remove(e.Path); err != nil {
		return fmt.Errorf("forgetting a key: %w", err)
	}
	_ = os.Remove(address) // stays unless it is empty
	left, err := c.All()
	if err != nil {
		return nil // one of those that cannot be read may be for the same server
	}
	for _, o := range left {
		if o.Token.Key.Server == e.Token.Key.Server {
			return nil
		}
	}
	if err := notMissing(os.Remove(c.pinPath(e.Token.Key.Server))); err != nil {
		return fmt.Errorf("forgetting a pin: %w", err)
	}
	return nil
}

func (c *ClientStore) keysDir() string { return filepath.Join(c.dir, "keys") }

func (c *ClientStore) addressDir(address string) string {
	return filepath.Join(c.keysDir(), addressName(address))
}

// addressName is one path element for an address: a canonical one has no slash, and is no "..".
func addressName(address string) string { return strings.ReplaceAll(address, ":", "_") }
