package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/m3o/backend/pkg/platform/profile"
)

// Restore makes the state directory and fills the engines that the environment names with what is in an archive. None of them
// may have anything. The archive is looked through before anything is changed. When it fails, there is no state directory; a
// database or a stream may have been filled, and has to be emptied before it is tried again.
func Restore(ctx context.Context, c Config) (_ *Manifest, err error) {
	if left, err := os.ReadDir(c.State); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	} else if len(left) > 0 {
		return nil, fmt.Errorf("the state directory %s is not empty: a backup is restored into one that is, or that is not there", c.State)
	}
	parent := filepath.Dir(c.State)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp(parent, ".restore-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	m, err := unpack(c.Archive, work)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Archive, err)
	}
	if current := profile.Current(); current != m.Profile {
		return nil, fmt.Errorf("%s: the backup is of the profile %s, this is %s", profile.Env, m.Profile, current)
	}
	e, err := openEngines(ctx, c.Databases)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.check(ctx, m); err != nil {
		return nil, err
	}
	if err := e.restore(ctx, work, m); err != nil {
		return nil, err
	}
	restored := filepath.Join(work, stateDir)
	if err := os.MkdirAll(restored, 0o700); err != nil { // it may have been empty
		return nil, err
	}
	if err := revive(ctx, restored, time.Since(m.Taken)); err != nil {
		return nil, err
	}
	if err := os.Remove(c.State); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Rename(restored, c.State); err != nil {
		return nil, err
	}
	return m, syncDir(parent)
}
