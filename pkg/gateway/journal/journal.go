package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config says where a journal is, and how large it may get.
type Config struct {
	// Dir is the directory of the journals of all processes. It is made if there is none. Required.
	Dir string
	// Max is how many bytes this process's journal, and those that it has taken over, may have together: at least 16 segments.
	// Required.
	Max int64
	// Segment is at how many bytes a file is full; 0 is 4 MiB.
	Segment int64
	// Sync is how often what was written is forced to the disk; 0 is 100 ms.
	Sync time.Duration
	// Idle is after how long a file is given up all of which has been handed on; 0 is 10 s.
	Idle time.Duration
	// Failed is told of errors that nobody is answered with; nil is nobody.
	Failed func(error)
	// Lost is told of how many bytes of a file cannot be read, or have vanished with it, once of each file; nil is nobody. It is
	// called by who calls Next.
	Lost func(bytes int64)
}

// ErrBroken is the error of Append while nothing can be written.
var ErrBroken = errors.New("the journal cannot be written to")

// Journal is the journal of one process. Append and Reserve are safe for concurrent use, and so is all of the rest beside
// them, but by one goroutine.
type Journal struct {
	config Config
	own    *directory

	// taken is how many bytes are on the disk, or promised to those who have reserved.
	taken  atomic.Int64
	broken atomic.Bool

	pendingMu sync.Mutex // for pending and spare
	pending   *group
	spare     []byte

	writeMu sync.Mutex // for what is written to
	file    *os.File
	active  *segment
	serial  int
	retired []*os.File // to be synced and closed

	listMu   sync.Mutex
	segments []*segment // the oldest first; the last one is the active one

	reader      // belongs to who reads
	stop, ended chan struct{}
}

// group is records that are written at once.
type group struct {
	bytes   []byte
	written bool
	err     error
}

// Open opens a journal of its own for this process, and takes over those of processes that have died.
func Open(config Config) (*Journal, error) {
	if config.Segment == 0 {
		config.Segment = 4 << 20
	}
	if config.Sync == 0 {
		config.Sync = 100 * time.Millisecond
	}
	if config.Idle == 0 {
		config.Idle = 10 * time.Second
	}
	if config.Failed == nil {
		config.Failed = func(error) {}
	}
	if config.Lost == nil {
		config.Lost = func(int64) {}
	}
	if config.Dir == "" || config.Segment < 2*mostBytes || config.Max < 16*config.Segment {
		return nil, errors.New("journal: expected a directory, and room for 16 segments")
	}
	j := &Journal{config: config, pending: new(group), stop: make(chan struct{}), ended: make(chan struct{})}
	if err := j.open(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	go func() {
		defer close(j.ended)
		j.keepSynced(config.Sync)
	}()
	return j, nil
}

func (j *Journal) open() error {
	if err := os.MkdirAll(j.config.Dir, 0o700); err != nil {
		return err
	}
	id, err := uuid.NewV7() // so that they are in the order they were made in
	if err != nil {
		return err
	}
	path := filepath.Join(j.config.Dir, strings.ReplaceAll(id.String(), "-", ""))
	err = exclusively(j.config.Dir, func() (err error) {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if j.own, err = lockDirectory(path); err != nil {
			return err
		}
		return syncDirectory(j.config.Dir)
	})
	if err != nil {
		return err
	}
	if err := j.TakeOver(); err != nil {
		return err
	}
	j.writeMu.Lock()
	defer j.writeMu.Unlock()
	return j.rotate()
}

// TakeOver takes over the journals of processes that have died. Open has done it; it is for those that die later.
func (j *Journal) TakeOver() error {
	return exclusively(j.config.Dir, func() error {
		found, err := abandoned(j.config.Dir)
		var all []*segment
		for _, d := range found {
			segments, failure := d.segments()
			if failure != nil {
				err = errors.Join(err, failure, d.lock.Close())
				continue
			}
			if len(segments) == 0 {
				err = errors.Join(err, d.remove())
				continue
			}
			d.left = len(segments)
			j.others = append(j.others, d)
			for _, s := range segments {
				j.taken.Add(s.size.Load())
			}
			all = append(all, segments...)
		}
		j.listMu.Lock()
		defer j.listMu.Unlock()
		j.segments = slices.Concat(all, j.segments) // before ours, which are not as old
		return err
	})
}

// Reserve makes sure that there is room for one record, for who is about to do what will have to be recorded; false if there
// is none, or nothing can be written. It is followed by one Append or one Release.
func (j *Journal) Reserve() bool {
	if j.broken.Load() {
		return false
	}
	if j.taken.Add(mostBytes) > j.config.Max {
		j.Release()
		return false
	}
	return true
}

// Release gives room back that was reserved.
func (j *Journal) Release() { j.taken.Add(-mostBytes) }

// Append writes a record for which there is room reserved. Its caller keeps the bytes.
func (j *Journal) Append(record []byte) error {
	if len(record) > MaxRecord {
		j.Release()
		return fmt.Errorf("journal: a record of %d bytes, of %d at most", len(record), MaxRecord)
	}
	j.pendingMu.Lock()
	g := j.pending
	g.bytes = appendRecord(g.bytes, record)
	j.pendingMu.Unlock()

	// Whoever comes first writes for all who wait; the others find that done.
	j.writeMu.Lock()
	if !g.written {
		j.pendingMu.Lock()
		j.pending = &group{bytes: j.spare}
		j.spare = nil
		j.pendingMu.Unlock()
		g.err, g.written = j.write(g.bytes), true
		j.pendingMu.Lock()
		j.spare = g.bytes[:0]
		j.pendingMu.Unlock()
		g.bytes = nil
	}
	j.writeMu.Unlock()
	used := int64(headerBytes + len(record))
	if g.err != nil {
		used = 0
	}
	j.taken.Add(used - mostBytes)
	return g.err
}

// write writes whole records; j.writeMu is held.
func (j *Journal) write(b []byte) error {
	if j.broken.Load() || j.file == nil {
		return ErrBroken
	}
	size := j.active.size.Load()
	if size > 0 && size+int64(len(b)) > j.config.Segment {
		if err := j.rotate(); err != nil {
			j.fail(err)
			return ErrBroken
		}
		size = 0
	}
	if _, err := j.file.WriteAt(b, size); err != nil {
		j.fail(errors.Join(err, j.file.Truncate(size)))
		return ErrBroken
	}
	j.active.size.Add(int64(len(b)))
	return nil
}

// fail remembers that nothing can be written to the present segment.
func (j *Journal) fail(err error) {
	j.broken.Store(true)
	j.config.Failed(fmt.Errorf("journal: %w", err))
}

// rotate begins another segment; j.writeMu is held.
func (j *Journal) rotate() error {
	j.serial++
	s := &segment{owner: j.own, name: fmt.Sprintf("%08d%s", j.serial, segmentSuffix), opened: time.Now()}
	f, err := os.OpenFile(s.path(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if j.file != nil {
		j.retired = append(j.retired, j.file)
		j.active.closed.Store(true)
	}
	j.file, j.active = f, s
	j.listMu.Lock()
	defer j.listMu.Unlock()
	j.segments = append(j.segments, s)
	return nil
}

// Bytes is how many bytes are on the disk, or promised.
func (j *Journal) Bytes() int64 { return j.taken.Load() }

// Check returns an error when no more can be recorded.
func (j *Journal) Check() error {
	switch {
	case j.broken.Load():
		return ErrBroken
	case j.taken.Load()+mostBytes > j.config.Max:
		return errors.New("the journal is full")
	}
	return nil
}

// Close forces everything to the disk, and leaves what has not been handed on to another process. Nothing may be appended any
// more.
func (j *Journal) Close() error {
	close(j.stop)
	<-j.ended
	j.writeMu.Lock()
	defer j.writeMu.Unlock()
	err := errors.Join(j.file.Sync(), j.file.Close())
	for _, f := range j.retired {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	j.broken.Store(true)
	j.file = nil
	j.active.closed.Store(true)
	for _, s := range j.list() {
		if s.size.Load() == s.handed {
			err = errors.Join(err, j.discard(s))
		}
	}
	for _, d := range j.others {
		err = errors.Join(err, d.lock.Close())
	}
	if len(j.list()) == 0 {
		return errors.Join(err, exclusively(j.config.Dir, j.own.remove))
	}
	return errors.Join(err, j.own.lock.Close())
}

func (j *Journal) list() []*segment {
	j.listMu.Lock()
	defer j.listMu.Unlock()
	return j.segments
}
