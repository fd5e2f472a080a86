package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reader is how far what was written has been handed on.
type reader struct {
	others []*directory // that were taken over
	from   *segment
	data   []byte // what was read of from, and not handed on
}

// Batch is records that are handed on together.
type Batch struct {
	// ID names the batch: the same name, the same records, whoever reads them. It has at most 64 printable ASCII characters.
	ID string
	// Records are the records. They are good until Done.
	Records [][]byte
	// Damaged is what can be read as no record.
	Damaged [][]byte

	size int
}

// Next returns the next batch of at most so many records, the oldest first; nil when there is none. Until Done it is the same
// one.
func (j *Journal) Next(most int) (*Batch, error) {
	if len(j.data) == 0 {
		if err := j.load(); len(j.data) == 0 {
			return nil, err
		}
	}
	b := new(Batch)
	b.Records, b.Damaged, b.size = take(j.data, most)
	serial := strings.TrimLeft(strings.TrimSuffix(j.from.name, segmentSuffix), "0")
	b.ID = fmt.Sprintf("%s/%s/%d-%d", filepath.Base(j.from.owner.path), serial, j.from.handed, j.from.handed+int64(b.size))
	return b, nil
}

// Done says that the last batch has been handed on, as a whole.
func (j *Journal) Done(b *Batch) error {
	j.from.handed += int64(b.size)
	j.data = j.data[b.size:]
	if len(j.data) > 0 || !j.from.closed.Load() || j.from.size.Load() > j.from.handed {
		return nil
	}
	return j.discard(j.from)
}

// load reads from the oldest segment that has something that was not handed on and can be read, and deletes those before it that
// have not.
func (j *Journal) load() error {
	var err error
	for _, s := range j.list() {
		closed := s.closed.Load() // before the size, which may change until then
		switch size := s.size.Load(); {
		case size > s.handed:
			data, failure := s.read()
			if failure == nil {
				j.from, j.data = s, data
				return nil
			}
			j.unreadable(s, failure)
			if errors.Is(failure, fs.ErrNotExist) { // somebody has deleted it, and with it what was not handed on
				err = errors.Join(err, j.discard(s))
			}
		case closed:
			err = errors.Join(err, j.discard(s))
		case size > 0 && time.Since(s.opened) > j.config.Idle:
			err = errors.Join(err, j.giveUp(s))
		}
	}
	return err
}

// unreadable reports a segment that cannot be read, once: it is tried again each time, beside those behind it.
func (j *Journal) unreadable(s *segment, failure error) {
	if s.reported {
		return
	}
	s.reported = true
	lost := s.size.Load() - s.handed
	j.config.Lost(lost)
	j.config.Failed(fmt.Errorf("journal: %d bytes cannot be handed on: %w", lost, failure))
}

// giveUp begins another segment if all of the active one was handed on, so that a process that has nothing to do leaves nothing
// behind that would be handed on again a month later.
func (j *Journal) giveUp(s *segment) error {
	j.writeMu.Lock()
	defer j.writeMu.Unlock()
	if j.active != s || s.size.Load() != s.handed || j.file == nil {
		return nil
	}
	return j.rotate()
}

// discard deletes a segment.
func (j *Journal) discard(s *segment) error {
	if err := os.Remove(s.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.taken.Add(-s.size.Load())
	j.listMu.Lock()
	j.segments = slices.DeleteFunc(slices.Clone(j.segments), func(other *segment) bool { return other == s })
	j.listMu.Unlock()
	if s.owner == j.own {
		return nil
	}
	if s.owner.left--; s.owner.left > 0 {
		return nil
	}
	j.others = slices.DeleteFunc(j.others, func(d *directory) bool { return d == s.owner })
	return exclusively(j.config.Dir, s.owner.remove)
}

func (j *Journal) asidePath() string { return filepath.Join(j.config.Dir, "set-aside.jsonl") }

// SetAside keeps a line for people to look at, of what nobody will take. It takes no room of the journal's, which would never
// be given back.
func (j *Journal) SetAside(line []byte) error {
	f, err := os.OpenFile(j.asidePath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(slices.Clip(line), '\n'))
	return errors.Join(err, f.Sync(), f.Close(), syncDirectory(j.config.Dir)) // the file may be new in it
}
