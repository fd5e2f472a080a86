package bench

import (
	"errors"
	"os"
	"path/filepath"
)

// InDir calls f with the path of a directory of its own, which is removed after. It is in bin, on the disk of the working
// copy: the system's temporary directory may be in memory, where syncing is free.
func InDir(f func(dir string) error) (err error) {
	if err := os.MkdirAll("bin", 0o750); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("bin", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return f(dir)
}
