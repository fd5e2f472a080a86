package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lock is kept open, and with it the lock, for as long as the process lives.
var lock *os.File

// Lock makes this process the only server of the state directory until it ends, in whatever way. It fails at once if
// there is another.
func Lock() error {
	f, err := os.OpenFile(filepath.Join(Dir(), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock the state directory: %w", err)
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		pid, _ := os.ReadFile(f.Name())
		return errors.Join(fmt.Errorf("another server (process %s) already uses the state in %s: stop it, or choose another directory with %s",
			strings.TrimSpace(string(pid)), Dir(), Env), f.Close())
	case err != nil:
		return errors.Join(fmt.Errorf("lock the state directory: %w", err), f.Close())
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return fmt.Errorf("lock the state directory: %w", err)
	}
	lock = f
	return nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// Server returns the process id of the server that uses the state directory; 0 if there is none.
func Server() (pid int, err error) {
	f, err := os.Open(filepath.Join(Dir(), "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for the server: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return 0, nil // the lock ends with f
	}
	if _, err := fmt.Fscan(f, &pid); err != nil {
		return 0, fmt.Errorf("look for the server: %w", err)
	}
	return pid, nil
}
