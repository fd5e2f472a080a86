package jetstream

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/m3o/backend/pkg/events/stream"
)

// spaceEvery is how often is looked how much of the disk is free.
const spaceEvery = 100 * time.Millisecond

// space keeps the disk from getting full: the server would stop at that, also for those who only consume.
type space struct {
	dir     string
	reserve int64
	free    func(dir string) (int64, error)

	mu     sync.Mutex
	looked time.Time
	err    error
}

// check says whether there is no room for more.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) < spaceEvery {
		return s.err
	}
	s.looked, s.err = time.Now(), nil
	switch free, err := s.free(s.dir); {
	case err != nil:
		s.err = fmt.Errorf("see how much of the disk is free: %w", err)
	case free < s.reserve:
		s.err = &stream.PassingError{Detail: fmt.Sprintf(
			"the disk of the event stream is full: it takes events again when %d MiB are free", s.reserve>>20)}
	}
	return s.err
}

func freeBytes(dir string) (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, err
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // the types differ between systems
}
