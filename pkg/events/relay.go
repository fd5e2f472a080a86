package events

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// DefaultSettle is how long an event stays in the outbox after the stream has acknowledged it: longer than the stream
	// takes to have it on disk.
	DefaultSettle = 2 * time.Second
	// lookAgain is how often the outbox is looked at without a notice: another process may have written to it.
	lookAgain = 200 * time.Millisecond
	// firstRead is how many events are read at first; more, if they are small.
	firstRead = 100
	// relayPause and relayPauseMost are how long is waited after a publish that failed, at first and at most.
	relayPause     = 50 * time.Millisecond
	relayPauseMost = 5 * time.Second
)

// relay publishes what is in the outbox, in the order in which it was added, and takes it out when the stream has it for
// good. One of all processes of a service does it, under a lease; should two be at it for a moment, events are published
// twice, which consumers do not mind.
type relay struct {
	db     *database.DB
	outbox *Outbox
	stream stream.Stream
	settle time.Duration
	count  func(published int)

	epoch string
	limit int
	// settling are the positions of what was published, in batches, oldest first.
	settling []settling
}

type settling struct {
	positions []any
	since     time.Time
}

// run publishes until ctx ends.
func (r *relay) run(ctx context.Context) {
	r.epoch, r.limit, r.settling = "", firstRead, nil
	began := false
	pause := relayPause
	for ctx.Err() == nil {
		n, err := 0, error(nil)
		if !began {
			// What another relay has published may not have settled.
			err = r.again(ctx)
			began = err == nil
		}
		if err == nil {
			n, err = r.publish(ctx)
		}
		switch {
		case err != nil:
			if ctx.Err() == nil {
				logger.Warnf("Events of %s wait in the outbox, publishing is tried again in %s: %v", r.db.Name(), pause, err)
			}
			wait(ctx, pause, nil)
			pause = min(2*pause, relayPauseMost)
		case n == 0:
			pause = relayPause
			wait(ctx, lookAgain, r.outbox.added)
		default:
			pause = relayPause
		}
	}
}

// wait waits for a time, or until early has something or ctx ends.
func wait(ctx context.Context, d time.Duration, early <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-early:
	}
}

// again has everything published that is in the outbox, also what was.
func (r *relay) again(ctx context.Context) error {
	r.settling = nil
	return r.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		_, err := tx.Exec(ctx, `UPDATE `+r.outbox.table+` SET published = 0 WHERE published = 1`)
		return err
	})
}

// publish publishes the next batch, and returns how many events it had.
func (r *relay) publish(ctx context.Context) (int, error) {
	positions, batch, err := r.read(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the outbox: %w", err)
	}
	if len(batch) > 0 {
		epoch, err := r.stream.PublishBatch(ctx, batch)
		if err != nil {
			return 0, err
		}
		if r.epoch != "" && epoch != r.epoch {
			logger.Infof("The event stream has begun anew, what has not settled of the events of %s is published again", r.db.Name())
			if err := r.again(ctx); err != nil {
				return 0, err
			}
		}
		r.epoch = epoch
		r.count(len(batch))
	}
	return len(batch), r.tidy(ctx, positions)
}

// read reads the next events, in the order in which they were added.
func (r *relay) read(ctx context.Context) (positions []any, batch []*events.Event, err error) {
	rows, err := r.db.Read().Query(ctx, `
		SELECT position, id, topic, type, cause, aggregate, sequence, time, payload FROM `+r.outbox.table+`
		WHERE published = 0 ORDER BY position LIMIT $1`, r.limit)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	size, cut := 0, false
	for rows.Next() {
		var e Event
		var position, nanos int64
		var id []byte
		if err := rows.Scan(&position, &id, &e.Topic, &e.Type, &e.Cause, &e.Aggregate, &e.Sequence, &nanos, &e.Payload); err != nil {
			return nil, nil, err
		}
		if e.ID, err = uuid.FromBytes(id); err != nil {
			return nil, nil, fmt.Errorf("the id of the event at %d: %w", position, err)
		}
		e.Time = time.Unix(0, nanos).UTC()
		if size += len(e.Payload) + overhead; size > stream.MaxBatchBytes && len(batch) > 0 {
			cut = true
			break
		}
		positions, batch = append(positions, position), append(batch, e.published())
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	// A driver reads all that was asked for, whether it is looked at or not.
	if cut {
		r.limit = len(batch)
	} else {
		r.limit = min(2*r.limit, stream.MaxBatch)
	}
	return positions, batch, nil
}

// tidy remembers that events were published, and removes those that have settled.
func (r *relay) tidy(ctx context.Context, positions []any) error {
	now := time.Now()
	settled := 0
	for settled < len(r.settling) && now.Sub(r.settling[settled].since) >= r.settle {
		settled++
	}
	if len(positions) == 0 && settled == 0 {
		return nil
	}
	err := r.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		for _, s := range r.settling[:settled] {
			// Again, because Tx may call this again, and because a row that is not there does no harm.
			if err := r.each(ctx, tx, `DELETE FROM `+r.outbox.table+` WHERE position IN `, s.positions); err != nil {
				return err
			}
		}
		return r.each(ctx, tx, `UPDATE `+r.outbox.table+` SET published = 1 WHERE position IN `, positions)
	})
	if err != nil {
		return fmt.Errorf("tidy the outbox: %w", err)
	}
	r.settling = append(r.settling[:0], r.settling[settled:]...)
	if len(positions) > 0 {
		r.settling = append(r.settling, settling{positions, now})
	}
	return nil
}

// each executes a statement for all positions.
func (r *relay) each(ctx context.Context, tx database.Querier, statement string, positions []any) error {
	for from, to := range database.Chunks(len(positions)) {
		if _, err := tx.Exec(ctx, statement+database.Values(1, to-from), positions[from:to]...); err != nil {
			return err
		}
	}
	return nil
}
