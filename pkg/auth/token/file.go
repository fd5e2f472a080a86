package token

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/micro/micro/v3/service/logger"
)

// lock makes the directory, if there is none, and keeps others from changing what is in it until unlock is called.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of the keys: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the keys: %w", err)
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the keys: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // the lock ends with the file, which nothing was written to
}

// replace replaces a file by one for its owner alone. Whoever reads it meanwhile, or after the machine has failed, finds
// the former content or the new one, and never a part. The directory must be locked.
func replace(name string, content []byte) error {
	draft := name + ".new" // the same each time: what a killed process has left is overwritten
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(draft, name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory outlive a failure of the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the directory %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

const (
	// fileAge is how long a file is taken to be what it was.
	fileAge = 3 * time.Second
	// unknownAge is the same when something is missing in what it was: nothing, so that a new key is known as soon as it
	// signs. To look whether a file has changed costs a tenth of what checking a signature does.
	unknownAge = 0
)

// watched is what a file says, read again when it has been replaced. It is safe for concurrent use, and costs a stat every
// now and then.
type watched[T any] struct {
	name  string
	parse func(name string) (T, error)
	clock func() time.Time

	last atomic.Pointer[reading[T]]
	mu   sync.Mutex // held while the file is read
}

// reading is what was found at a time.
type reading[T any] struct {
	value   T
	err     error
	info    os.FileInfo // of the file that value was read from; nil when there is none
	checked time.Time
}

// get returns what the file has said at most maxAge ago. With an error it is what the file said when it was last readable.
func (w *watched[T]) get(maxAge time.Duration) (T, error) {
	if r := w.last.Load(); w.fresh(r, maxAge) {
		return r.value, r.err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.last.Load()
	if !w.fresh(r, maxAge) {
		next := w.read(r)
		if next.err != nil && (r == nil || fmt.Sprint(r.err) != next.err.Error()) {
			logger.Warnf("The keys cannot be read: %v", next.err) // once, not with each token
		}
		r = next
		w.last.Store(r)
	}
	return r.value, r.err
}

func (w *watched[T]) fresh(r *reading[T], maxAge time.Duration) bool {
	return r != nil && w.clock().Sub(r.checked) < maxAge
}

func (w *watched[T]) read(former *reading[T]) *reading[T] {
	next := &reading[T]{checked: w.clock()}
	if former != nil {
		next.value, next.info = former.value, former.info
	}
	info, err := os.Stat(w.name)
	if err != nil {
		next.err = fmt.Errorf("look at %s: %w", w.name, err)
		return next
	}
	if next.info != nil && same(next.info, info) {
		return next
	}
	value, err := w.parse(w.name)
	if err != nil {
		next.err = err
		return next
	}
	// A file that is replaced between the two is read once more next time.
	next.value, next.info = value, info
	return next
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
