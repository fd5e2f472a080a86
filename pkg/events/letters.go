package events

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
)

const (
	// retryMost is how long is waited at most before an event is tried again.
	retryMost = 10 * time.Minute
	// lookAtLetters is how often letters are looked at without a notice, lettersAtOnce how many of them.
	lookAtLetters = time.Second
	lettersAtOnce = 100
	// maxReason is how many bytes are kept of why an event has failed.
	maxReason = 500
)

// The states of a letter.
const (
	stateEarly = "early" // its predecessor has not come
	stateRetry = "retry" // it is tried again
	stateDead  = "dead"  // somebody has to look at it
)

// letter is an event that a consumer keeps, as it could not handle it.
type letter struct {
	*Event
	consumer, state string
	attempts        int
	next, failedAt  time.Time // when something is done about it; when it failed last
	reason          string
}

// reason is what is kept of an error: what our own say is written to be read by anybody; what others say may repeat what
// they could not digest.
func reason(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*kinds.Error](err); ok {
		text = e.Error()
	}
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return text
}

// jittered is a time that is a quarter shorter or longer.
func jittered(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2) //nolint:gosec // so that not all come at once; nobody gains by guessing
}

// micros are microseconds since 1970, 0 for no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// keep adds a letter, or replaces it.
func (s *store) keep(ctx context.Context, tx database.Querier, l letter) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO `+s.letters+` (consumer, id, state, topic, type, cause, aggregate, sequence, time, payload, attempts, next, failed, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (consumer, id) DO UPDATE SET state = $3, attempts = $11, next = $12, failed = $13, reason = $14`,
		l.consumer, l.ID[:], l.state, l.Topic, l.Type, l.Cause, l.Aggregate, l.Sequence, l.Time.UnixNano(), l.Payload,
		l.attempts, micros(l.next), micros(l.failedAt), l.reason)
	return err
}

const letterColumns = `consumer, id, state, topic, type, cause, aggregate, sequence, time, payload, attempts, next, failed, reason`

func scanLetter(row interface{ Scan(dest ...any) error }) (letter, error) {
	l := letter{Event: new(Event)}
	var id []byte
	var nanos, next, failed int64
	err := row.Scan(&l.consumer, &id, &l.state, &l.Topic, &l.Type, &l.Cause, &l.Aggregate, &l.Sequence, &nanos, &l.Payload,
		&l.attempts, &next, &failed, &l.reason)
	if err != nil {
		return l, err
	}
	l.Time, l.next = time.Unix(0, nanos).UTC(), time.UnixMicro(next).UTC()
	if failed != 0 {
		l.failedAt = time.UnixMicro(failed).UTC()
	}
	l.ID, err = uuid.FromBytes(id)
	return l, err
}

// due returns the ids of the letters of a consumer that something can be done about, in the order of their aggregates.
func (s *store) due(ctx context.Context, q database.Reader, consumer string, now time.Time) ([]uuid.UUID, error) {
	early, err := s.ids(ctx, q, `
		SELECT l.id FROM `+s.letters+` l
		LEFT JOIN `+s.positions+` p ON p.consumer = l.consumer AND p.aggregate = l.aggregate
		WHERE l.consumer = $1 AND l.state = 'early' AND (l.sequence <= p.sequence + 1 OR l.next <= $2)
		ORDER BY l.aggregate, l.sequence LIMIT $3`, consumer, now.UnixMicro(), lettersAtOnce)
	if err != nil {
		return nil, err
	}
	again, err := s.ids(ctx, q, `
		SELECT id FROM `+s.letters+` WHERE consumer = $1 AND state = 'retry' AND next <= $2
		ORDER BY next LIMIT $3`, consumer, now.UnixMicro(), lettersAtOnce)
	return append(again, early...), err
}

func (s *store) ids(ctx context.Context, q database.Reader, query string, args ...any) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []uuid.UUID
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, uuid.UUID(id))
	}
	return ids, rows.Err()
}

// counts returns how many letters of a consumer there are that are not dead, and that are.
func (s *store) counts(ctx context.Context, q database.Reader, consumer string) (early, retry, dead int64, err error) {
	rows, err := q.Query(ctx, `SELECT state, COUNT(*) FROM `+s.letters+` WHERE consumer = $1 GROUP BY state`, consumer)
	if err != nil {
		return 0, 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var state string
		var n int64
		if err := rows.Scan(&state, &n); err != nil {
			return 0, 0, 0, err
		}
		switch state {
		case stateEarly:
			early = n
		case stateRetry:
			retry = n
		default:
			dead = n
		}
	}
	return early, retry, dead, rows.Err()
}

// runLetters sees to the letters of a consumer until ctx ends. Every process of the service does: what one is at, the
// others leave alone.
func (c *consumer) runLetters(ctx context.Context) {
	for ctx.Err() == nil {
		done, err := c.seeToLetters(ctx)
		if err != nil && ctx.Err() == nil {
			logger.Warnf("%s cannot see to its letters of %s: %v", c.group, c.Topic, err)
		}
		if err != nil || done == 0 {
			wait(ctx, lookAtLetters, c.wake)
		}
	}
}

// seeToLetters tries the letters that are due, and returns for how many of them something has changed.
func (c *consumer) seeToLetters(ctx context.Context) (done int, err error) {
	early, retry, dead, err := c.store.counts(ctx, c.db.Read(), c.key)
	if err != nil {
		return 0, err
	}
	c.pending.Store(early + retry)
	c.dead.Store(dead)
	c.bus.metrics.letters.WithLabelValues(c.key, stateEarly).Set(float64(early))
	c.bus.metrics.letters.WithLabelValues(c.key, stateRetry).Set(float64(retry))
	c.bus.metrics.letters.WithLabelValues(c.key, stateDead).Set(float64(dead))
	if early+retry == 0 {
		return 0, nil
	}
	ids, err := c.store.due(ctx, c.db.Read(), c.key, c.bus.now())
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		changed, err := c.open(ctx, id)
		if err != nil {
			return done, err
		}
		if changed {
			done++
		}
	}
	return done, nil
}

// open tries a letter, and says whether it has changed.
func (c *consumer) open(ctx context.Context, id uuid.UUID) (changed bool, err error) {
	var l letter
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
		changed = false
		if l, err = c.store.find(ctx, tx, c.key, id); errors.Is(err, sql.ErrNoRows) {
			return nil // another process is at it, or somebody has discarded it
		} else if err != nil {
			return err
		}
		ready, positions, err := c.ready(ctx, tx, l)
		if err != nil || !ready {
			return err
		}
		changed = true
		if err := c.call(ctx, tx, []*Event{l.Event}); err != nil {
			return err
		}
		if err := c.store.move(ctx, tx, c.key, positions); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM `+c.store.letters+` WHERE consumer = $1 AND id = $2`, c.key, id[:])
		return err
	})
	f, failed := errors.AsType[*failure](err)
	if !failed {
		if err == nil && changed {
			c.bus.metrics.handled.WithLabelValues(c.key).Inc()
		}
		return changed, err
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	l = c.failed(l, f.err)
	return true, c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		// It may have been discarded, or handled by another process, since.
		if _, err := c.store.find(ctx, tx, c.key, id); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		}
		if err := c.giveUpPlace(ctx, tx, l); err != nil {
			return err
		}
		return c.store.keep(ctx, tx, l)
	})
}

// find returns a letter that is not dead, which nobody else is at until the end of the transaction.
func (s *store) find(ctx context.Context, tx database.Querier, consumer string, id uuid.UUID) (letter, error) {
	return scanLetter(tx.QueryRow(ctx, `
		SELECT `+letterColumns+` FROM `+s.letters+`
		WHERE consumer = $1 AND id = $2 AND state <> 'dead' FOR UPDATE SKIP LOCKED`, consumer, id[:]))
}

// ready says whether it is a letter's turn, and how far the consumer has come when it has been handled.
func (c *consumer) ready(ctx context.Context, tx database.Querier, l letter) (bool, map[string]int64, error) {
	now := c.bus.now()
	if l.state == stateRetry && l.next.After(now) {
		return false, nil, nil
	}
	positions, err := c.store.lock(ctx, tx, c.key, []*Event{l.Event})
	if err != nil || l.Aggregate == "" {
		return err == nil, positions, err
	}
	if l.Sequence > positions[l.Aggregate]+1 {
		if l.next.After(now) {
			return false, nil, nil
		}
		// Its time has come. What it waits for may be here, and tried again; then it waits on.
		var n int
		err := tx.QueryRow(ctx, `
			SELECT COUNT(*) FROM `+c.store.letters+`
			WHERE consumer = $1 AND aggregate = $2 AND sequence < $3 AND state <> 'dead'`,
			c.key, l.Aggregate, l.Sequence).Scan(&n)
		if err != nil {
			return false, nil, err
		}
		if n > 0 {
			l.next = now.Add(c.GapWait)
			return false, nil, c.store.keep(ctx, tx, l)
		}
		logger.Warnf("%s goes on with event %d about an aggregate of topic %s, after %d: what is between has not come for %s",
			c.group, l.Sequence, c.Topic, positions[l.Aggregate], c.GapWait)
		c.bus.metrics.gaps.WithLabelValues(c.key).Inc()
	}
	positions[l.Aggregate] = max(positions[l.Aggregate], l.Sequence)
	return true, positions, nil
}
