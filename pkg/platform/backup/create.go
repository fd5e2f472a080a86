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
	"github.com/m3o/backend/pkg/platform/state"
)

// The directory in an archive of what is in the state directory.
const stateDir = "state"

// DefaultMaxPause is how long the platform stands still at most: not as long as a call of an RPC waits.
const DefaultMaxPause = 5 * time.Second

// Config says what is backed up, or restored.
type Config struct {
	// Archive is the file.
	Archive string
	// State is the state directory.
	State string
	// Databases are addresses of databases of services beside those that the environment names.
	Databases []string
	// MaxPause is how long the platform may stand still for a backup; DefaultMaxPause when 0.
	MaxPause time.Duration
	// Program is the version of this program.
	Program string
}

// Create makes a backup of the platform whose state directory this process uses (state.Use), while it runs or when it does
// not. The archive is there when it is complete, and else not.
func Create(ctx context.Context, c Config) (_ *Manifest, err error) {
	if c.MaxPause == 0 {
		c.MaxPause = DefaultMaxPause
	}
	if c.Archive, err = filepath.Abs(c.Archive); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(c.Archive); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is there already: a backup overwrites nothing", c.Archive)
	}
	if below, err := filepath.Rel(c.State, c.Archive); err == nil && filepath.IsLocal(below) {
		return nil, fmt.Errorf("%s is in the state directory: keep backups elsewhere", c.Archive)
	}
	// Whoever forgets to say so would have a backup without databases, and notice when it is needed.
	if _, err := os.Stat(filepath.Join(c.State, "events")); profile.Current() == profile.Embedded && err != nil {
		return nil, fmt.Errorf("%s: there is no platform of the profile %s in %s: expected %s, or another state directory",
			profile.Env, profile.Embedded, c.State, profile.Platform)
	}
	work, err := os.MkdirTemp(filepath.Dir(c.Archive), ".backup-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dir, archive := filepath.Join(work, "content"), filepath.Join(work, "archive")

	e, err := openEngines(ctx, c.Databases)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	m := &Manifest{Format: format, Profile: profile.Current(), Program: c.Program}
	if err := c.catch(ctx, filepath.Join(dir, stateDir), e, m); err != nil {
		return nil, err
	}
	if err := settle(ctx, filepath.Join(dir, stateDir)); err != nil {
		return nil, err
	}
	if err := e.dump(ctx, dir, m); err != nil {
		return nil, err
	}
	if err := pack(dir, archive, m); err != nil {
		return nil, fmt.Errorf("write %s: %w", c.Archive, err)
	}
	if err := os.Rename(archive, c.Archive); err != nil {
		return nil, err
	}
	return m, syncDir(filepath.Dir(c.Archive))
}

// catch copies the state directory as it is at one instant, and marks the same one in the engines.
func (c Config) catch(ctx context.Context, to string, e *engines, m *Manifest) (err error) {
	pid, err := state.Server()
	if err == nil && pid == 0 {
		err = state.Lock() // nobody starts while it is looked at
	}
	if err != nil {
		return err
	}
	copied := &mirror{from: c.State, to: to, copied: make(map[string]stamp)}
	if err := copied.update(ctx); err != nil {
		return err
	}
	if pid == 0 {
		m.Taken = time.Now().UTC()
		return errors.Join(copied.update(ctx), e.mark(ctx))
	}
	if err := copied.update(ctx); err != nil { // what has changed meanwhile; there is less and less of it
		return err
	}
	thaw, err := freeze(pid)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, thaw())
		m.Frozen = time.Since(m.Taken).Milliseconds()
	}()
	if now, err := state.Server(); err != nil || now != pid {
		return errors.Join(err, errors.New("the server has ended meanwhile: try again"))
	}
	m.Taken = time.Now().UTC()
	within, cancel := context.WithTimeoutCause(ctx, c.MaxPause, fmt.Errorf(
		"the platform would have to stand still for more than %s (--max-pause): stop it first (micro shutdown), "+
			"or keep backups on the file system of the state, if that is Btrfs or XFS", c.MaxPause))
	defer cancel()
	if err := errors.Join(copied.update(within), e.mark(within)); err != nil {
		if within.Err() != nil {
			return context.Cause(within)
		}
		return err
	}
	return nil
}

// syncDir has the names in a directory on the disk.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
