package jetstream

import (
	"errors"
	"fmt"
	"time"
)

// Config is how an Engine keeps events. Only Dir is required.
type Config struct {
	// Dir is the directory that the engine keeps everything in. Only one engine uses it at a time.
	Dir string
	// Sync is how often what was published is forced to the disk: what a power cut can lose at most, in time. 100 ms when 0;
	// from 1 ms to 1 s: services keep what they have published for twice as long.
	Sync time.Duration
	// Always forces each publication to the disk before it is acknowledged, so that a power cut loses nothing. One caller
	// then publishes some thousand batches a second.
	Always bool
	// MaxBytes is how much of the disk a topic may take; 4 GiB when 0, at least 1 MiB. When a topic is at its bound, what all
	// groups have acknowledged is removed, and nothing else: if that is not enough it takes no more events.
	MaxBytes int64
	// Retention is how long events are kept that all groups have acknowledged, and how long a group is remembered of which
	// nobody has been there; 7 days when 0; from a second to 7 days, for half as long as
	// consumers remember what they have handled.
	Retention time.Duration
	// Reserve is how many bytes of the disk are left to others: with fewer free, nothing is taken. 256 MiB when 0.
	Reserve int64

	// free tells how many bytes of the disk are free, for tests.
	free func(dir string) (int64, error)
	// now is the clock of retention, for tests.
	now func() time.Time
}

func (c Config) complete() (Config, error) {
	for value, standard := range map[*int64]int64{&c.MaxBytes: 4 << 30, &c.Reserve: 256 << 20} {
		if *value == 0 {
			*value = standard
		}
	}
	for value, standard := range map[*time.Duration]time.Duration{
		&c.Sync: 100 * time.Millisecond, &c.Retention: 7 * 24 * time.Hour,
	} {
		if *value == 0 {
			*value = standard
		}
	}
	if c.free == nil {
		c.free = freeBytes
	}
	if c.now == nil {
		c.now = time.Now
	}
	switch {
	case c.Dir == "":
		return c, errors.New("a directory is missing")
	case c.Sync < time.Millisecond || c.Sync > time.Second:
		return c, fmt.Errorf("sync: expected a time from 1ms to 1s")
	case c.MaxBytes < 1<<20:
		return c, fmt.Errorf("max_bytes: expected at least %d", 1<<20)
	case c.Retention < time.Second || c.Retention > 7*24*time.Hour:
		return c, fmt.Errorf("retention: expected a time from 1s to 168h")
	case c.Reserve < 0:
		return c, fmt.Errorf("reserve: expected no negative number")
	}
	return c, nil
}
