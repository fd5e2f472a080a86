package events

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
)

// store is what consumers keep in the database of their service.
type store struct {
	inbox, positions, letters string
	clock                     func() time.Time
}

func newStore(db *database.DB, clock func() time.Time) *store {
	return &store{inbox: db.Name() + "_inbox", positions: db.Name() + "_positions", letters: db.Name() + "_letters", clock: clock}
}

// takeIn records events for a consumer and returns those that were not recorded before, in their order.
func (s *store) takeIn(ctx context.Context, tx database.Querier, consumer string, batch []*Event) ([]*Event, error) {
	now := s.clock().Unix()
	added := make(map[uuid.UUID]bool, len(batch))
	for from, to := range database.Chunks(len(batch)) {
		args := make([]any, 0, 3*(to-from))
		for _, e := range batch[from:to] {
			args = append(args, consumer, e.ID[:], now)
		}
		var id sql.RawBytes
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			if err := row.Scan(&id); err != nil {
				return err
			}
			added[uuid.UUID(id)] = true
			return nil
		}, `
			INSERT INTO `+s.inbox+` (consumer, id, received) VALUES `+database.Values(to-from, 3)+`
			ON CONFLICT (consumer, id) DO NOTHING RETURNING id`, args...)
		if err != nil {
			return nil, err
		}
	}
	if len(added) == len(batch) {
		return batch, nil
	}
	fresh := make([]*Event, 0, len(added))
	for _, e := range batch {
		if added[e.ID] {
			fresh = append(fresh, e)
			delete(added, e.ID) // the batch may have it twice
		}
	}
	return fresh, nil
}

// lock returns how far a consumer has come with the aggregates of events, which nobody else changes until the end of the
// transaction.
func (s *store) lock(ctx context.Context, tx database.Querier, consumer string, batch []*Event) (map[string]int64, error) {
	positions := make(map[string]int64)
	for _, e := range batch {
		if e.Aggregate != "" {
			positions[e.Aggregate] = 0
		}
	}
	// In one order, so that two processes do not wait for each other.
	aggregates := slices.Sorted(maps.Keys(positions))
	for from, to := range database.Chunks(len(aggregates)) {
		args := make([]any, 0, 3*(to-from))
		for _, a := range aggregates[from:to] {
			args = append(args, consumer, a, 0)
		}
		// An update that changes nothing locks the row, and returns what was there.
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			var aggregate string
			var sequence int64
			err := row.Scan(&aggregate, &sequence)
			positions[aggregate] = sequence
			return err
		}, `
			INSERT INTO `+s.positions+` (consumer, aggregate, sequence) VALUES `+database.Values(to-from, 3)+`
			ON CONFLICT (consumer, aggregate) DO UPDATE SET sequence = `+s.positions+`.sequence
			RETURNING aggregate, sequence`, args...)
		if err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// move records how far a consumer has come with aggregates that it has locked.
func (s *store) move(ctx context.Context, tx database.Querier, consumer string, positions map[string]int64) error {
	aggregates := slices.Sorted(maps.Keys(positions))
	for from, to := range database.Chunks(len(aggregates)) {
		args := make([]any, 0, 3*(to-from))
		for _, a := range aggregates[from:to] {
			args = append(args, consumer, a, positions[a])
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO `+s.positions+` (consumer, aggregate, sequence) VALUES `+database.Values(to-from, 3)+`
			ON CONFLICT (consumer, aggregate) DO UPDATE SET sequence = excluded.sequence`, args...); err != nil {
			return err
		}
	}
	return nil
}

// sweep forgets events that were taken in before a time, at most limit of them, and returns how many it has.
func (s *store) sweep(ctx context.Context, tx database.Querier, before time.Time, limit int) (int64, error) {
	r, err := tx.Exec(ctx, `
		DELETE FROM `+s.inbox+` WHERE (consumer, id) IN (
			SELECT consumer, id FROM `+s.inbox+` WHERE received < $1 LIMIT $2)`, before.Unix(), limit)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
