package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
)

const (
	// seenEvery is how often it is written down when keys were seen, and by how much later a key has to be seen to have it written
	// down anew: with several processes, too, that is once a minute and key at most.
	seenEvery = time.Minute
	// maxSeen is how many keys are remembered meanwhile. Those that are seen beyond that have another minute.
	maxSeen = 100_000
	// seenPatience is how long writing down takes at most; what was not written by then is tried again a minute later.
	seenPatience = 20 * time.Second
)

// sightings are when keys were good last, until that is written down: a crash forgets those of a minute. The zero value has
// none. It may be used by many goroutines at once.
type sightings struct {
	mu   sync.Mutex
	last map[string]time.Time // by the id of the key
}

// note remembers that a key was seen.
func (s *sightings) note(key string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[string]time.Time)
	}
	if before, ok := s.last[key]; ok && before.After(at) || !ok && len(s.last) >= maxSeen {
		return
	}
	s.last[key] = at
}

// take returns what is remembered, and forgets it.
func (s *sightings) take() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.last
	s.last = nil
	return taken
}

// Start begins to write down once a minute when keys were seen, until Stop.
func (k *Keys) Start() error {
	k.stop, k.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(k.stopped)
		ticker := time.NewTicker(seenEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-k.stop:
				return
			}
			if err := k.WriteSeen(context.Background()); err != nil {
				logger.Warnf("When keys were last seen is written down a minute later: %v", err)
			}
		}
	}()
	return nil
}

// Stop ends what Start has begun, if it has, and writes down what is left.
func (k *Keys) Stop() error {
	if k.stop != nil {
		close(k.stop)
		<-k.stopped
	}
	return k.WriteSeen(context.Background())
}

// WriteSeen writes down when keys were seen. What it fails to write is remembered.
func (k *Keys) WriteSeen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, seenPatience)
	defer cancel()
	seen := k.seen.take()
	ids := slices.Sorted(maps.Keys(seen)) // in one order, so that two processes do not wait for each other
	for from, to := range database.Chunks(len(ids)) {
		args := make([]any, 0, 2*(to-from))
		for _, id := range ids[from:to] {
			args = append(args, id, seen[id].UnixMicro())
		}
		err := k.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
			_, err := tx.Exec(ctx, updateSeen(to-from), args...)
			return err
		})
		if err != nil {
			for _, id := range ids[from:] {
				k.seen.note(id, seen[id])
			}
			return fmt.Errorf("write when keys were seen: %w", err)
		}
	}
	return nil
}

// updateSeen is the statement for so many keys. The first row says what the columns are.
func updateSeen(rows int) string {
	return fmt.Sprintf(`
		WITH seen (id, at) AS (VALUES ('', CAST(0 AS BIGINT)), %s)
		UPDATE customers_keys SET last_seen = seen.at FROM seen
		WHERE customers_keys.id = seen.id AND customers_keys.last_seen <= seen.at - %d`,
		database.Values(rows, 2), seenEvery.Microseconds())
}
