package auth

import "bytes"

// sharedLimit is the largest file that ReadShared takes. Nobody types more, and HMAC uses no more.
const sharedLimit = 4 << 10

// ReadShared reads a secret that programs of others share with this one, which choose its form: the
// file's bytes without a line end at their end. Like all files of secrets it must be its owner's alone.
func ReadShared(path string) ([]byte, error) {
	b, _, err := readSecret(path, sharedLimit)
	if err != nil {
		return nil, err
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(b) == 0 {
		return nil, &FileError{Path: path, Msg: "is empty", Fix: "head -c 32 /dev/urandom | base64 >" + path}
	}
	return b, nil
}
