package events

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/events"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// DefaultSettle is how long an event stays in the outbox after the stream has acknowledged it: longer than the stream
	// takes to have it on disk.
	DefaultSettle = 2 * time.Second
	// lookAgain is how often the outbox is looked at without a notice: another process may have written to it.
	lookAgain = 200 * time.Millisecond
	// tidyShare is how often in DefaultSettle events are removed that have settled.
	tidyShare = 4
	// firstRead is how many events are read at first; more, if they are small.
	firstRead = 100
	// relayPause and relayPauseMost are how long is waited after a publish that failed, at first and at most.
	relayPause     = 50 * time.Millisecond
	relayPauseMost = 5 * time.Second
)

// refused is what published is of an event that the stream does not take, whatever is done. It stays where it is.
const refused = -1

// outboxRetention is for how long an event is published again that was acknowledged before. Nobody knows it any more who has
// handled it, if its service comes back later than that; and it has settled long since.
const outboxRetention = 24 * time.Hour

// relay publishes what is in the outbox, of each topic in the order in which it was added, and takes it out when the stream
// has it for good. One of all processes of a service does it, under a lease; should two be at it for a moment, events are
// published twice, which consumers do not mind.
type relay struct {
	db     *database.DB
	outbox *Outbox
	stream stream.Stream
	settle time.Duration
	count  func(published int)
	// fence fails a transaction of a relay that is none any more.
	fence func(ctx context.Context, tx database.Querier) error

	epoch string
	limit int
	// paused are the topics that could not be published to.
	paused map[string]*pause
	// settling are the positions of what was published, in batches, oldest first.
	settling []settling
	tidied   time.Time
}

type pause struct {
	until time.Time
	long  time.Duration
}

type settling struct {
	positions []any
	since     time.Time
}

// waiting are events of one topic that are to be published, with their positions in the outbox.
type waiting struct {
	topic     string
	positions []any
	events    []*events.Event
}

// run publishes until ctx ends.
func (r *relay) run(ctx context.Context) {
	r.epoch, r.limit, r.settling, r.paused = "", firstRead, nil, make(map[string]*pause)
	began := false
	long := relayPause
	for ctx.Err() == nil {
		n, err := 0, error(nil)
		if !began {
			// What another relay has published may not have settled.
			err = r.again(ctx)
			began = err == nil
		}
		if err == nil {
			n, err = r.round(ctx)
		}
		switch {
		case err != nil:
			if ctx.Err() == nil {
				logger.Warnf("Events of %s wait in the outbox, which is looked at again in %s: %v", r.db.Name(), long, err)
			}
			wait(ctx, long, nil)
			long = min(2*long, relayPauseMost)
		case n == 0:
			long = relayPause
			wait(ctx, lookAgain, r.outbox.added)
		default:
			long = relayPause
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

// tx runs f in a transaction, if this is still the relay.
func (r *relay) tx(ctx context.Context, f func(ctx context.Context, tx database.Querier) error) error {
	return r.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if err := r.fence(ctx, tx); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// again has everything published that is in the outbox, also what was.
func (r *relay) again(ctx context.Context) error {
	r.settling = nil
	return r.tx(ctx, func(ctx context.Context, tx database.Querier) error {
		if _, err := tx.Exec(ctx, `DELETE FROM `+r.outbox.table+` WHERE published > 0 AND published < $1`,
			r.outbox.clock().Add(-outboxRetention).Unix()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE `+r.outbox.table+` SET published = 0 WHERE published > 0`)
		return err
	})
}

// round publishes what is next of each topic, removes what has settled, and returns how many events were published.
func (r *relay) round(ctx context.Context) (published int, err error) {
	batches, err := r.read(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the outbox: %w", err)
	}
	for _, w := range batches {
		n, err := r.publish(ctx, w)
		if err != nil {
			return published, err
		}
		published += n
	}
	return published, r.tidy(ctx)
}

// publish publishes events of one topic. When the stream does not take them, the topic is left alone for a while.
func (r *relay) publish(ctx context.Context, w waiting) (int, error) {
	epoch, err := r.stream.PublishBatch(ctx, w.events)
	switch {
	case err == nil:
		delete(r.paused, w.topic)
		r.count(len(w.events))
		if err := r.begun(ctx, epoch); err != nil {
			return 0, err
		}
		if err := r.mark(ctx, w.positions, r.outbox.clock().Unix()); err != nil {
			return 0, err
		}
		r.settling = append(r.settling, settling{w.positions, time.Now()})
		return len(w.events), nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case kinds.Permanent(err) && len(w.events) == 1:
		logger.Errorf("The stream refuses event %s of %s, it stays in the outbox: %v", w.events[0].ID, r.db.Name(), err)
		return 1, r.mark(ctx, w.positions, refused)
	case kinds.Permanent(err): // because of one of them
		half := len(w.events) / 2
		n, err := r.publish(ctx, waiting{w.topic, w.positions[:half:half], w.events[:half]})
		if err != nil {
			return n, err
		}
		m, err := r.publish(ctx, waiting{w.topic, w.positions[half:], w.events[half:]})
		return n + m, err
	}
	p := r.paused[w.topic]
	if p == nil {
		p = &pause{long: relayPause}
		r.paused[w.topic] = p
	}
	p.until = time.Now().Add(p.long)
	logger.Warnf("Events of %s wait in the outbox, publishing to topic %s is tried again in %s: %v", r.db.Name(), w.topic, p.long, err)
	p.long = min(2*p.long, relayPauseMost)
	r.limit = max(r.limit/2, 1) // if it was too much at once
	return 0, nil
}

// begun has what has not settled published again if the stream has begun anew.
func (r *relay) begun(ctx context.Context, epoch string) error {
	if r.epoch != "" && epoch != r.epoch {
		logger.Infof("The event stream has begun anew, what has not settled of the events of %s is published again", r.db.Name())
		if err := r.again(ctx); err != nil {
			return err
		}
	}
	r.epoch = epoch
	return nil
}

// read reads the next events in the order in which they were added, those of each topic together.
func (r *relay) read(ctx context.Context) (batches []waiting, err error) {
	args := []any{r.limit}
	where := `published = 0`
	for topic, p := range r.paused {
		if time.Now().Before(p.until) {
			args = append(args, topic)
			where += fmt.Sprintf(` AND topic <> $%d`, len(args))
		}
	}
	rows, err := r.db.Read().Query(ctx, `
		SELECT position, id, topic, type, cause, aggregate, sequence, time, payload FROM `+r.outbox.table+`
		WHERE `+where+` ORDER BY position LIMIT $1`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	n, size, cut := 0, 0, false
	of := make(map[string]int)
	for rows.Next() {
		var e Event
		var position, nanos int64
		var id []byte
		if err := rows.Scan(&position, &id, &e.Topic, &e.Type, &e.Cause, &e.Aggregate, &e.Sequence, &nanos, &e.Payload); err != nil {
			return nil, err
		}
		if e.ID, err = uuid.FromBytes(id); err != nil {
			return nil, fmt.Errorf("the id of an event: %w", err)
		}
		e.Time = time.Unix(0, nanos).UTC()
		if size += len(e.Payload) + overhead; size > stream.MaxBatchBytes && n > 0 {
			cut = true
			break
		}
		n++
		i, ok := of[e.Topic]
		if !ok {
			i = len(batches)
			of[e.Topic] = i
			batches = append(batches, waiting{topic: e.Topic})
		}
		batches[i].positions = append(batches[i].positions, position)
		batches[i].events = append(batches[i].events, e.published())
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	// A driver reads all that was asked for, whether it is looked at or not.
	if cut {
		r.limit = n
	} else {
		r.limit = min(2*r.limit, stream.MaxBatch)
	}
	return batches, nil
}

// tidy removes what has settled, if the stream is still the one that it was published to.
func (r *relay) tidy(ctx context.Context) error {
	// All of a while together: each transaction takes its time from those who write to the outbox.
	if time.Since(r.tidied) < r.settle/tidyShare {
		return nil
	}
	r.tidied = time.Now()
	settled := 0
	for settled < len(r.settling) && time.Since(r.settling[settled].since) >= r.settle {
		settled++
	}
	if settled == 0 {
		return nil
	}
	epoch, err := r.stream.PublishBatch(ctx, nil)
	if err != nil {
		if ctx.Err() == nil {
			logger.Debugf("Whether the event stream has begun anew is not known: %v", err)
		}
		return nil
	}
	if err := r.begun(ctx, epoch); err != nil || len(r.settling) == 0 {
		return err
	}
	err = r.tx(ctx, func(ctx context.Context, tx database.Querier) error {
		for _, s := range r.settling[:settled] {
			if err := each(ctx, tx, `DELETE FROM `+r.outbox.table+` WHERE published > 0 AND position IN `, s.positions); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tidy the outbox: %w", err)
	}
	r.settling = append(r.settling[:0], r.settling[settled:]...)
	return nil
}

// mark writes when events were published.
func (r *relay) mark(ctx context.Context, positions []any, published int64) error {
	err := r.tx(ctx, func(ctx context.Context, tx database.Querier) error {
		return each(ctx, tx, fmt.Sprintf(`UPDATE %s SET published = %d WHERE position IN `, r.outbox.table, published), positions)
	})
	if err != nil {
		return fmt.Errorf("note what was published: %w", err)
	}
	return nil
}

// each executes a statement that ends with a list for all positions.
func each(ctx context.Context, tx database.Querier, statement string, positions []any) error {
	for from, to := range database.Chunks(len(positions)) {
		if _, err := tx.Exec(ctx, statement+database.Values(1, to-from), positions[from:to]...); err != nil {
			return err
		}
	}
	return nil
}
