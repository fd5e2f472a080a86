package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// young is for how long after a change of a file its time may not tell that it was changed again.
const young = time.Second

// copyAtOnce is how many bytes are copied before it is looked whether there is still time.
const copyAtOnce = 64 << 20

// isLeftOut tells whether something below the state directory is not in a backup: what is of this run of the server, of this
// machine or of whoever uses the command line here, and what nobody needs.
func isLeftOut(name string, d fs.DirEntry) bool {
	switch {
	case name == "lock", name == "logs", name == "config.json", strings.HasPrefix(name, ".build-"):
		return true
	case name == filepath.Join("events", "id"):
		return true // a stream that comes from a backup is another one: services publish again what has not settled
	case strings.HasSuffix(name, "-shm"):
		return true // SQLite makes it anew
	}
	return !d.IsDir() && !d.Type().IsRegular()
}

// mirror keeps a copy of a directory.
type mirror struct {
	from, to string
	// copied is when each file was copied last, and how it was then.
	copied map[string]stamp
}

type stamp struct {
	size    int64
	changed time.Time
	at      time.Time
}

// update brings the copy up to date. What has not changed since the last time is not copied again; what vanishes meanwhile is
// left out. When nothing changes while it runs, the copy is what the directory is.
func (m *mirror) update(ctx context.Context) error {
	seen := make(map[string]bool)
	err := filepath.WalkDir(m.from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != m.from {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.from, path)
		if err != nil {
			return err
		}
		switch {
		case isLeftOut(name, d) && d.IsDir():
			return filepath.SkipDir
		case isLeftOut(name, d):
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(m.to, name), 0o700)
		}
		seen[name] = true
		if err := m.file(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("copy %s: %w", path, err)
		} else if err != nil {
			delete(seen, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name := range m.copied {
		if !seen[name] {
			delete(m.copied, name)
			if err := os.Remove(filepath.Join(m.to, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// file copies a file, unless the copy is what it is.
func (m *mirror) file(ctx context.Context, name string) (err error) {
	in, err := os.Open(filepath.Join(m.from, name))
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	now := stamp{info.Size(), info.ModTime(), time.Now()}
	last, ok := m.copied[name]
	if ok && last.size == now.size && last.changed.Equal(now.changed) && last.at.Sub(last.changed) > young {
		return nil
	}
	m.copied[name] = now
	out, err := os.OpenFile(filepath.Join(m.to, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		// On file systems that can, the copy shares the blocks.
		if _, err := io.CopyN(out, in, copyAtOnce); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
