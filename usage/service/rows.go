package service

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/m3o/backend/pkg/database"
)

// Each transaction that accepts or counts requests puts a mark on them, a random number, by which it finds those that were
// new to it: below 0 when they were accepted and are to be counted, above 0 when they were counted. In most cases all or none
// are new, and the number of changed rows says which without a look at each.

func newMark() int64 { return 1 + rand.Int64N(math.MaxInt64) } //nolint:gosec // nobody gains by guessing it

// accept remembers requests, sorted by id, and returns those that were not known.
func accept(ctx context.Context, tx database.Querier, sorted []counted, now time.Time) ([]counted, error) {
	fresh, err := remember(ctx, tx, sorted, -newMark(), now, `ON CONFLICT (id) DO NOTHING`)
	if err != nil {
		return nil, fmt.Errorf("accept requests: %w", err)
	}
	return fresh, nil
}

// markCounted remembers requests, sorted by id, as counted, and returns those that were not.
func markCounted(ctx context.Context, tx database.Querier, sorted []counted, now time.Time) ([]counted, error) {
	fresh, err := remember(ctx, tx, sorted, newMark(), now,
		`ON CONFLICT (id) DO UPDATE SET mark = excluded.mark WHERE usage_requests.mark < 0`)
	if err != nil {
		return nil, fmt.Errorf("mark requests as counted: %w", err)
	}
	return fresh, nil
}

// remember inserts requests, sorted by id, with a mark, and returns those that have it then.
func remember(ctx context.Context, tx database.Querier, sorted []counted, mark int64, now time.Time, conflict string) ([]counted, error) {
	fresh := make([]counted, 0, len(sorted))
	recorded := now.UnixMicro()
	args := make([]any, 0, 3*min(len(sorted), MaxBatch))
	for from, to := range database.Chunks(len(sorted)) {
		part := sorted[from:to]
		args = args[:0]
		for i := range part {
			args = append(args, part[i].id[:], mark, recorded)
		}
		result, err := tx.Exec(ctx, `
			INSERT INTO usage_requests (id, mark, recorded) VALUES `+database.Values(len(part), 3)+" "+conflict, args...)
		if err != nil {
			return nil, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return nil, err
		}
		switch n {
		case 0:
		case int64(len(part)):
			fresh = append(fresh, part...)
		default:
			if fresh, err = appendMarked(ctx, tx, fresh, part, mark); err != nil {
				return nil, err
			}
		}
	}
	return fresh, nil
}

// appendMarked appends those of a part, sorted by id, that have a mark.
func appendMarked(ctx context.Context, tx database.Querier, fresh, part []counted, mark int64) ([]counted, error) {
	args := make([]any, 0, len(part)+1)
	for i := range part {
		args = append(args, part[i].id[:])
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`SELECT id FROM usage_requests WHERE id IN (%s) AND mark = $%d`,
		database.Values(len(part), 1), len(part)+1), append(args, mark)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var id sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		i, ok := slices.BinarySearchFunc(part, id, func(r counted, id sql.RawBytes) int { return bytes.Compare(r.id[:], id) })
		if !ok {
			return nil, errors.New("the database returned a request that it was not asked for")
		}
		fresh = append(fresh, part[i])
	}
	return fresh, rows.Err()
}

// add adds sums to the counters of a table, in which the column of that name says when what they count begins.
func add(ctx context.Context, tx database.Querier, table, begin string, sums []sum) error {
	args := make([]any, 0, 5*min(len(sums), MaxBatch))
	for from, to := range database.Chunks(len(sums)) {
		args = args[:0]
		for i := from; i < to; i++ {
			s := &sums[i]
			args = append(args, s.id, s.begin, s.api, s.endpoint, s.requests)
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO `+table+` (customer_id, `+begin+`, api, endpoint, requests) VALUES `+database.Values(to-from, 5)+`
			ON CONFLICT (customer_id, `+begin+`, api, endpoint)
			DO UPDATE SET requests = `+table+`.requests + excluded.requests`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}
