package events

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// retryMost is how long is waited at most before an event is tried again.
	retryMost = 10 * time.Minute
	// lookAtLetters is how often letters are looked at without a notice.
	lookAtLetters = time.Second
	// retriesAtOnce is how many letters are tried again before those are looked at that came too early.
	retriesAtOnce = 100
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

// due returns the ids of the letters of a consumer that something can be done about: those to be tried again, and those
// that came too early, of each aggregate whose turn it is, in their order.
func (s *store) due(ctx context.Context, q database.Reader, consumer string, now time.Time) (again, early []uuid.UUID, err error) {
	again, err = s.ids(ctx, q, `
		SELECT id FROM `+s.letters+` WHERE consumer = $1 AND state = 'retry' AND next <= $2
		ORDER BY next LIMIT $3`, consumer, now.UnixMicro(), retriesAtOnce)
	if err != nil {
		return nil, nil, err
	}
	early, err = s.ids(ctx, q, `
		SELECT id FROM `+s.letters+` WHERE consumer = $1 AND state = 'early' AND aggregate IN (
			SELECT l.aggregate FROM `+s.letters+` l
			LEFT JOIN `+s.positions+` p ON p.consumer = l.consumer AND p.aggregate = l.aggregate
			WHERE l.consumer = $1 AND l.state = 'early' AND (l.sequence <= p.sequence + 1 OR l.next <= $2))
		ORDER BY aggregate, sequence LIMIT $3`, consumer, now.UnixMicro(), stream.MaxBatch)
	return again, early, err
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
	again, ahead, err := c.store.due(ctx, c.db.Read(), c.key, c.bus.now())
	if err != nil {
		return 0, err
	}
	for _, id := range again { // each by itself, as it has failed before
		n, err := c.open(ctx, []uuid.UUID{id})
		if done += n; err != nil {
			return done, err
		}
	}
	n, err := c.open(ctx, ahead)
	return done + n, err
}

// open tries letters, in their order and in one transaction, and says for how many of them something has changed. If that
// fails, each is tried by itself.
func (c *consumer) open(ctx context.Context, ids []uuid.UUID) (changed int, err error) {
	var found, ready []letter
	err = c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) (err error) {
		ready = nil
		// Not those that another process is at, or that somebody has discarded.
		if found, err = c.store.find(ctx, tx, c.key, ids); err != nil || len(found) == 0 {
			return err
		}
		batch := eventsOf(found)
		positions, err := c.store.lock(ctx, tx, c.key, batch)
		if err != nil {
			return err
		}
		for _, l := range found {
			turn, err := c.isTurnOf(ctx, tx, l, positions)
			if err != nil {
				return err
			}
			if turn {
				ready = append(ready, l)
			}
		}
		if len(ready) == 0 {
			return nil
		}
		if err := c.call(ctx, tx, eventsOf(ready)); err != nil {
			return err
		}
		if err := c.store.move(ctx, tx, c.key, positions); err != nil {
			return err
		}
		return c.store.remove(ctx, tx, c.key, eventsOf(ready))
	})
	f, failed := errors.AsType[*failure](err)
	if !failed {
		if err != nil {
			return 0, err
		}
		c.bus.metrics.handled.WithLabelValues(c.key).Add(float64(len(ready)))
		return len(ready), nil
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if len(ready) > 1 {
		for _, l := range ready {
			n, err := c.open(ctx, []uuid.UUID{l.ID})
			if changed += n; err != nil {
				return changed, err
			}
		}
		return changed, nil
	}
	l := c.failed(ready[0], f.err)
	return 1, c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		// It may have been discarded, or handled by another process, since.
		if found, err := c.store.find(ctx, tx, c.key, []uuid.UUID{l.ID}); err != nil || len(found) == 0 {
			return err
		}
		if err := c.giveUpPlace(ctx, tx, l); err != nil {
			return err
		}
		return c.store.keep(ctx, tx, l)
	})
}

func eventsOf(letters []letter) []*Event {
	all := make([]*Event, len(letters))
	for i, l := range letters {
		all[i] = l.Event
	}
	return all
}

// find returns letters that are not dead, in the order of their aggregates. Nobody else is at them until the end of the
// transaction.
func (s *store) find(ctx context.Context, tx database.Querier, consumer string, ids []uuid.UUID) ([]letter, error) {
	var all []letter
	for from, to := range database.Chunks(len(ids)) {
		args := make([]any, 0, to-from+1)
		for _, id := range ids[from:to] {
			args = append(args, id[:])
		}
		rows, err := tx.Query(ctx, `
			SELECT `+letterColumns+` FROM `+s.letters+`
			WHERE id IN `+database.Values(1, to-from)+` AND consumer = $`+strconv.Itoa(to-from+1)+` AND state <> 'dead'
			FOR UPDATE SKIP LOCKED`, append(args, consumer)...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			l, err := scanLetter(rows)
			if err != nil {
				rows.Close()
				return nil, err
			}
			all = append(all, l)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b letter) int {
		return cmp.Or(cmp.Compare(a.Aggregate, b.Aggregate), cmp.Compare(a.Sequence, b.Sequence))
	})
	return all, nil
}

// remove removes letters.
func (s *store) remove(ctx context.Context, tx database.Querier, consumer string, batch []*Event) error {
	for from, to := range database.Chunks(len(batch)) {
		args := make([]any, 0, to-from+1)
		for _, e := range batch[from:to] {
			args = append(args, e.ID[:])
		}
		if _, err := tx.Exec(ctx, `
			DELETE FROM `+s.letters+` WHERE id IN `+database.Values(1, to-from)+` AND consumer = $`+strconv.Itoa(to-from+1),
			append(args, consumer)...); err != nil {
			return err
		}
	}
	return nil
}

// isTurnOf says whether it is a letter's turn, and notes then how far the consumer has come when it has been handled.
func (c *consumer) isTurnOf(ctx context.Context, tx database.Querier, l letter, positions map[string]int64) (bool, error) {
	now := c.bus.now()
	if l.state == stateRetry && l.next.After(now) {
		return false, nil // another process has tried it
	}
	if l.Aggregate == "" {
		return true, nil
	}
	if l.Sequence > positions[l.Aggregate]+1 {
		if l.next.After(now) {
			return false, nil
		}
		// Its time has come. What it waits for may be here, and tried again; then it waits on.
		var n int
		err := tx.QueryRow(ctx, `
			SELECT COUNT(*) FROM `+c.store.letters+`
			WHERE consumer = $1 AND aggregate = $2 AND sequence > $3 AND sequence < $4 AND state <> 'dead'`,
			c.key, l.Aggregate, positions[l.Aggregate], l.Sequence).Scan(&n)
		if err != nil {
			return false, err
		}
		if n > 0 {
			l.next = now.Add(c.GapWait)
			return false, c.store.keep(ctx, tx, l)
		}
		logger.Warnf("%s goes on with event %d about an aggregate of topic %s, after %d: what is between has not come for %s",
			c.group, l.Sequence, c.Topic, positions[l.Aggregate], c.GapWait)
		c.bus.metrics.gaps.WithLabelValues(c.key).Inc()
	}
	positions[l.Aggregate] = max(positions[l.Aggregate], l.Sequence)
	return true, nil
}
