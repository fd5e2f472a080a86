package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/micro/micro/v3/service/logger"
)

const (
	// sweepEvery is how often a process looks for what can be removed.
	sweepEvery = time.Minute
	// sweepBatch is how many records one transaction removes.
	sweepBatch = 500
	// sweepChunks is how many chunks of a blob it removes.
	sweepChunks = 32
	// keepReplaced is how long a blob can be read on that was replaced or deleted: an interval of PostgreSQL's.
	keepReplaced = "10 minutes"
	// sweepLock is true for one transaction at a time.
	sweepLock = `SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || '.store_sweep', 0))`
)

// sweepOften sweeps until the context ends.
func (db *DB) sweepOften(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := db.sweep(ctx); err != nil && ctx.Err() == nil {
			logger.Warnf("What has expired could not be removed, which is tried again in %s: %v", sweepEvery, db.running(err))
		}
	}
}

// sweep removes records that have expired and blobs that were replaced, in transactions of which no two run at the same time,
// whatever process they are of: who finds another one at it leaves it alone.
func (db *DB) sweep(ctx context.Context) error {
	return errors.Join(db.repeat(ctx, sweepRecords), db.repeat(ctx, sweepBlobs))
}

// repeat runs a step in a transaction of its own until it has nothing more to do.
func (db *DB) repeat(ctx context.Context, step func(context.Context, pgx.Tx) (more bool, err error)) error {
	for more := true; more && ctx.Err() == nil; {
		within, cancel := context.WithTimeout(ctx, timeoutMany)
		err := pgx.BeginFunc(within, db.pool, func(tx pgx.Tx) error {
			mine := false
			if err := tx.QueryRow(within, sweepLock).Scan(&mine); err != nil || !mine {
				more = false
				return err
			}
			var err error
			more, err = step(within, tx)
			return err
		})
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepRecords leaves a record alone that is written again meanwhile: the condition is looked at again when it is locked.
func sweepRecords(ctx context.Context, tx pgx.Tx) (bool, error) {
	tag, err := tx.Exec(ctx, `
		DELETE FROM store_records r USING (
			SELECT in_database, in_table, key FROM store_records WHERE expires <= now() ORDER BY expires LIMIT $1
		) old
		WHERE r.in_database = old.in_database AND r.in_table = old.in_table AND r.key = old.key AND r.expires <= now()`, sweepBatch)
	return tag.RowsAffected() == sweepBatch, err
}

func sweepBlobs(ctx context.Context, tx pgx.Tx) (bool, error) {
	var id int64
	err := tx.QueryRow(ctx, `
		SELECT id FROM store_blobs WHERE replaced < now() - interval '`+keepReplaced+`' ORDER BY replaced LIMIT 1`).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, `
		DELETE FROM store_chunks
		WHERE blob = $1 AND number < $2 + (SELECT min(number) FROM store_chunks WHERE blob = $1)`, id, sweepChunks)
	if err == nil && tag.RowsAffected() == 0 {
		_, err = tx.Exec(ctx, `DELETE FROM store_blobs WHERE id = $1`, id)
	}
	return true, err
}
