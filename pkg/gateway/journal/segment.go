package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// segment is one file of a journal.
type segment struct {
	owner *directory
	name  string
	// size is how many bytes of it are whole records, as far as that is known: all of it of a journal that was taken over.
	size atomic.Int64
	// closed says that nothing more is written to it.
	closed atomic.Bool
	opened time.Time
	// handed is how many bytes of it have been handed on. It belongs to who reads.
	handed int64
	// reported says that it is known of it that it cannot be read. It belongs to who reads.
	reported bool
}

func (s *segment) path() string { return filepath.Join(s.owner.path, s.name) }

// read reads what has not been handed on of what there is now.
func (s *segment) read() ([]byte, error) {
	f, err := os.Open(s.path())
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	b := make([]byte, s.size.Load()-s.handed)
	if _, err := io.ReadFull(io.NewSectionReader(f, s.handed, int64(len(b))), b); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(), err)
	}
	return b, nil
}

// directory is the directory of one process, whose lock is held.
type directory struct {
	path string
	lock *os.File
	// left is how many segments it has that have not been handed on. It belongs to who reads.
	left int
}

const (
	lockName      = "lock"
	segmentSuffix = ".segment"
)

// exclusively does something while no other process does the same in a directory.
func exclusively(dir string, do func() error) error {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // which ends the lock
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	return do()
}

// lockDirectory takes the lock of a process's directory; nil if another process has it.
func lockDirectory(path string) (*directory, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, f.Close()
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &directory{path: path, lock: f}, nil
}

// segments are the files of a directory that nobody writes to any more, the oldest first.
func (d *directory) segments() ([]*segment, error) {
	entries, err := os.ReadDir(d.path) // sorted by name
	if err != nil {
		return nil, err
	}
	var found []*segment
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), segmentSuffix) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s := &segment{owner: d, name: e.Name()}
		s.size.Store(info.Size())
		s.closed.Store(true)
		found = append(found, s)
	}
	return found, nil
}

// remove removes a directory that has nothing left, and lets go of its lock.
func (d *directory) remove() error {
	err := os.RemoveAll(d.path)
	return errors.Join(err, d.lock.Close())
}

// abandoned are the directories below dir whose processes have died, the oldest first; locked from now on.
func abandoned(dir string) ([]*directory, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []*directory
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			continue
		}
		d, err := lockDirectory(path) // not one of ours: it is open once more
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return found, err
		}
		if d != nil {
			found = append(found, d)
		}
	}
	return found, nil
}
