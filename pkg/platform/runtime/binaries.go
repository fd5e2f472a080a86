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
	errEmpty    = kinds.Invalid("data", "the binary is empty")
	errTooLarge = kinds.Invalid("data", "the binary is larger than 1 GiB")
)

// Keeper keeps the binaries of services, each once, under its SHA-256.
type Keeper interface {
	// Write keeps what it reads and returns the reference under which it is known from now on. The same bytes have the same
	// reference. What is not to be kept is an error of the kind Invalid.
	Write(r io.Reader) (source string, err error)
	// Check tells whether a binary is there: with a kind of error for the caller when it is not.
	Check(source string) error
	// Retain forgets binaries that are not among the sources, and have not been for an hour: between its upload and the call
	// that runs it, others may come and go.
	Retain(sources []string) error
}

// Binaries keeps executables below Dir. It implements Keeper.
type Binaries struct{ Dir string }

var _ Keeper = Binaries{}

// Write implements Keeper.
func (b Binaries) Write(r io.Reader) (source string, err error) {
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return "", fmt.Errorf("keep a binary: %w", err)
	}
	draft, source, err := Draft(b.Dir, r)
	if err != nil {
		return "", err
	}
	return source, os.Rename(draft, b.Path(source)) //nolint:gosec // one was just made, the other is called by its hash
}

// Draft writes what it reads to a new file in a directory, and returns the file's name and the reference of the binary.
// Nothing is left when it fails.
func Draft(dir string, r io.Reader) (name, source string, err error) {
	tmp, err := os.CreateTemp(dir, ".upload-*")
	if err != nil {
		return "", "", fmt.Errorf("keep a binary: %w", err)
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
		return "", "", err
	}
	return tmp.Name(), binaryScheme + hex.EncodeToString(hash.Sum(nil)), nil
}

// CheckSource tells whether a reference is one of a binary, there or not.
func CheckSource(source string) error {
	raw, err := hex.DecodeString(Digest(source))
	if err != nil || len(raw) != sha256.Size || source != binaryScheme+Digest(source) {
		return kinds.Invalid("source", "expected the reference of an uploaded binary; run a service from its directory on this machine")
	}
	return nil
}

// Missing is what to say of a binary that is not there.
func Missing() error { return kinds.NotFound("source", "there is no such binary; upload it again") }

// Check implements Keeper.
func (b Binaries) Check(source string) error {
	if err := CheckSource(source); err != nil {
		return err
	}
	if _, err := os.Stat(b.Path(source)); errors.Is(err, fs.ErrNotExist) {
		return Missing()
	} else if err != nil {
		return fmt.Errorf("look for a binary: %w", err)
	}
	return nil
}

// Path is where a binary lies.
func (b Binaries) Path(source string) string { return filepath.Join(b.Dir, Digest(source)) }

// UnusedAge is how long a binary is kept that no service refers to.
const UnusedAge = time.Hour

// Retain implements Keeper. A binary that nobody refers to goes an hour after it was uploaded.
func (b Binaries) Retain(sources []string) error {
	keep := make(map[string]bool, len(sources))
	for _, source := range sources {
		keep[Digest(source)] = true
	}
	entries, err := os.ReadDir(b.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look through the binaries: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || keep[e.Name()] || time.Since(info.ModTime()) < UnusedAge {
			continue // an error means that it has just been removed
		}
		if err := os.Remove(filepath.Join(b.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a binary: %w", err)
		}
	}
	return nil
}

// Digest is the SHA-256 of the binary that a reference means, in hexadecimal.
func Digest(source string) string { return strings.TrimPrefix(source, binaryScheme) }
