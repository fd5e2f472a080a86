package journal

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// mend tries whether a segment can be written to that has nothing in it yet; j.writeMu is held. It is the active one, if that has
// nothing, so that a full disk does not fill with files.
func (j *Journal) mend() error {
	if j.active.size.Load() > 0 {
		if err := j.rotate(); err != nil {
			return err
		}
	} else {
		f, err := os.OpenFile(j.active.path(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // the file may be what is broken
		if err != nil {
			return err
		}
		_ = j.file.Close() // there is nothing in it
		j.file = f
	}
	_, err := j.file.WriteAt(make([]byte, probeBytes), 0)
	return errors.Join(err, j.file.Truncate(0))
}

// probeBytes is how much is written to find out whether there is room for what waits to be written.
const probeBytes = 16 * mostBytes

// keepSynced forces what was written to the disk, and mends what is broken, until the journal is closed.
func (j *Journal) keepSynced(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var f forced
	unmended, unforced := false, false // are reported
	for {
		select {
		case <-j.stop:
			return
		case <-ticker.C:
		}
		j.writeMu.Lock()
		if j.broken.Load() {
			err := j.mend()
			j.broken.Store(err != nil)
			if err != nil && !unmended {
				j.config.Failed(fmt.Errorf("journal: it is tried again until it can be written to: %w", err))
			}
			unmended = err != nil
		}
		j.writeMu.Unlock()
		err := j.force(&f)
		if err != nil && !unforced {
			j.config.Failed(fmt.Errorf("journal: force it to the disk, which is tried again: %w", err))
		}
		unforced = err != nil
	}
}

// forced is how much was forced to the disk.
type forced struct {
	active *segment // is in its directory
	upTo   int64    // of it
}

// force forces to the disk what was written since it was last. What it fails to is tried the next time.
func (j *Journal) force(f *forced) error {
	j.writeMu.Lock()
	file, active, retired := j.file, j.active, j.retired
	j.retired = nil
	j.writeMu.Unlock()

	var err error
	for i, r := range retired {
		if _, gone := os.Stat(r.Name()); gone == nil { // else all of it was handed on
			if err = r.Sync(); err != nil {
				j.writeMu.Lock()
				j.retired = append(retired[i:], j.retired...)
				j.writeMu.Unlock()
				break
			}
		}
		_ = r.Close() // everything is on the disk
	}
	if active != f.active {
		if failure := syncDirectory(j.own.path); failure != nil {
			return errors.Join(err, failure)
		}
		*f = forced{active: active}
	}
	if size := active.size.Load(); size != f.upTo {
		if failure := file.Sync(); failure != nil {
			return errors.Join(err, failure)
		}
		f.upTo = size
	}
	return err
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
