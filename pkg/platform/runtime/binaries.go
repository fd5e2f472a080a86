package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	kinds "github.com/m3o/backend/pkg/errors"
)

// binaryScheme is what a reference to a binary begins with.
const binaryScheme = "binary://"

// maxBinary bounds an uploaded binary, in bytes.
const maxBinary = 1 << 30

// What Write refuses.
var (
	errEmpty    = errors.New("the binary is empty")
	errTooLarge = errors.New("the binary is larger than 1 GiB")
)

// Binaries keeps executables below Dir, each under its SHA-256.
type Binaries struct{ Dir string }

// Write keeps what it reads and returns the reference under which it is known from now on. The same bytes have the same
// reference.
func (b Binaries) Write(r io.Reader) (source string, err error) {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return "", fmt.Errorf("keep a binary: %w", err)
	}
	tmp, err := os.CreateTemp(b.Dir, ".upload-*")
	if err != nil {
		return "", fmt.Errorf("keep a binary: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep a binary: %w", err), os.Remove(tmp.Name()))
		}
	}()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, hash), io.LimitReader(r, maxBinary+1))
	switch {
	case err != nil:
	case n == 0:
		err = errEmpty
	case n > maxBinary:
		err = errTooLarge
	default:
		err = tmp.Chmod(0o700)
	}
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return "", err
	}
	source = binaryScheme + hex.EncodeToString(hash.Sum(nil))
	return source, os.Rename(tmp.Name(), b.Path(source))
}

// Check tells whether a binary is there.
func (b Binaries) Check(source string) error {
	digest := digestOf(source)
	if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
		return kinds.Invalid("source", "expected the reference of an uploaded binary; run a service from its directory on this machine")
	}
	if _, err := os.Stat(b.Path(source)); errors.Is(err, fs.ErrNotExist) {
		return kinds.NotFound("source", "there is no such binary; upload it again")
	} else if err != nil {
		return fmt.Errorf("look for a binary: %w", err)
	}
	return nil
}

// Path is where a binary lies.
func (b Binaries) Path(source string) string { return filepath.Join(b.Dir, digestOf(source)) }

// unusedAge is how long a binary is kept that no service refers to: between its upload and the call that runs it, other
// services may come and go.
const unusedAge = time.Hour

// Retain removes every binary that no record refers to and that has been there for longer than an hour.
func (b Binaries) Retain(records []record) error {
	keep := make(map[string]bool, len(records))
	for _, rec := range records {
		keep[digestOf(rec.Source)] = true
	}
	entries, err := os.ReadDir(b.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look through the binaries: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || keep[e.Name()] || time.Since(info.ModTime()) < unusedAge {
			continue // an error means that it has just been removed
		}
		if err := os.Remove(filepath.Join(b.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a binary: %w", err)
		}
	}
	return nil
}

func digestOf(source string) string { return strings.TrimPrefix(source, binaryScheme) }
