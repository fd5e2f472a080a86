package events

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// retryMost is how long is waited at most before an event is tried again.
	retryMost = 10 * time.Minute
	// lookAtLetters is how often letters are looked at without a notice.
	lookAtLetters = time.Second
	// retriesAtOnce is how many letters are tried again before those are looked at that came too early.
	retriesAtOnce = 100
	// countDeadEvery is how often dead letters are counted.
	countDeadEvery = 5 * time.Second
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

// reason is what is kept of an error: what it says, as far as every database takes it.
func reason(err error) string { return clean(err.Error(), maxReason) }

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

const letterColumns = `consumer, id, state, topic, type, cause, aggregate, sequence, time, payload, attempts, next, failed, reason`

// keep adds letters, or replaces what has become of those that there are.
func (s *store) keep(ctx context.Context, tx database.Querier, letters ...letter) error {
	const columns = 14
	for from, to := range database.Chunks(len(letters)) {
		args := make([]any, 0, columns*(to-from))
		for _, l := range letters[from:to] {
			args = append(args, l.consumer, l.ID[:], l.state, l.Topic, l.Type, l.Cause, l.Aggregate, l.Sequence, l.Time.UnixNano(),
				l.Payload, l.attempts, micros(l.next), micros(l.failedAt), l.reason)
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO `+s.letters+` (`+letterColumns+`) VALUES `+database.Values(to-from, columns)+`
			ON CONFLICT (consumer, id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,
				next = excluded.next, failed = excluded.failed, reason = excluded.reason`, args...); err != nil {
			return err
		}
	}
	return nil
}

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

// again returns the letters of a consumer that are to be tried again, those of an aggregate in their order.
func (s *store) again(ctx context.Context, q database.Reader, consumer string, now time.Time) ([]uuid.UUID, error) {
	return s.ids(ctx, q, `
		SELECT id, LENGTH(payload) FROM `+s.letters+` WHERE consumer = $1 AND state = 'retry' AND next <= $2
		ORDER BY next, aggregate, sequence LIMIT $3`, consumer, now.UnixMicro(), retriesAtOnce)
}

// inTurn returns the letters of a consumer that came too early and whose turn it is, with what follows them.
func (s *store) inTurn(ctx context.Context, q database.Reader, consumer string) ([]uuid.UUID, error) {
	return s.ids(ctx, q, `
		SELECT id, LENGTH(payload) FROM `+s.letters+` WHERE consumer = $1 AND state = 'early' AND aggregate IN (
			SELECT l.aggregate FROM `+s.letters+` l
			JOIN `+s.positions+` p ON p.consumer = l.consumer AND p.aggregate = l.aggregate
			WHERE l.consumer = $1 AND l.state = 'early' AND l.sequence <= p.sequence + 1)
		ORDER BY aggregate, sequence LIMIT $2`, consumer, stream.MaxBatch)
}

// overdue returns the letters of a consumer that have waited too long for their turn: of each aggregate the next one, unless
// it is what is tried again that they wait for.
func (s *store) overdue(ctx context.Context, q database.Reader, consumer string, now time.Time) ([]uuid.UUID, error) {
	return s.ids(ctx, q, `
		SELECT l.id, LENGTH(l.payload) FROM `+s.letters+` l
		WHERE l.consumer = $1 AND l.state = 'early' AND l.next <= $2 AND NOT EXISTS (
			SELECT 1 FROM `+s.letters+` o WHERE o.consumer = l.consumer AND o.aggregate = l.aggregate
			AND o.sequence < l.sequence AND o.state <> 'dead')
		ORDER BY l.next LIMIT $3`, consumer, now.UnixMicro(), retriesAtOnce)
}

// ids returns the ids that a query selects with the bytes of their payloads: no more than may be handled at once.
func (s *store) ids(ctx context.Context, q database.Reader, query string, args ...any) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []uuid.UUID
	size := 0
	for rows.Next() {
		var id []byte
		var bytes int
		if err := rows.Scan(&id, &bytes); err != nil {
			return nil, err
		}
		if size += bytes; size > stream.MaxBatchBytes && len(ids) > 0 {
			break
		}
		ids = append(ids, uuid.UUID(id))
	}
	return ids, rows.Err()
}

// counts returns how many letters of a consumer there are in each state.
func (s *store) counts(ctx context.Context, q database.Reader, consumer string, states ...string) (map[string]int64, error) {
	of := make(map[string]int64, len(states))
	for _, state := range states {
		var n int64
		if err := q.QueryRow(ctx, `SELECT COUNT(*) FROM `+s.letters+` WHERE consumer = $1 AND state = $2`, consumer, state).Scan(&n); err != nil {
			return nil, err
		}
		of[state] = n
	}
	return of, nil
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
	if err := c.measure(ctx); err != nil || c.pending.Load() == 0 {
		return 0, err
	}
	// Those whose turn it is come first: what is tried again may take long, and fail.
	if done, err = c.openInTurn(ctx); err != nil {
		return done, err
	}
	again, err := c.store.again(ctx, c.db.Read(), c.key, c.bus.now())
	if err != nil {
		return done, err
	}
	failed := 0
	for _, id := range again { // each by itself, as it has failed before
		n, ok, err := c.open(ctx, []uuid.UUID{id})
		if done += n; err != nil {
			return done, err
		}
		if ok {
			failed = 0
		} else if failed++; failed > tolerated {
			break
		}
	}
	// While nothing can be handled, what is waited for may be in the stream.
	if c.failures.Load() > tolerated || c.full() {
		return done, nil
	}
	overdue, err := c.store.overdue(ctx, c.db.Read(), c.key, c.bus.now())
	if err != nil {
		return done, err
	}
	n, _, err := c.open(ctx, overdue)
	return done + n, err
}

func (c *consumer) openInTurn(ctx context.Context) (int, error) {
	ids, err := c.store.inTurn(ctx, c.db.Read(), c.key)
	if err != nil {
		return 0, err
	}
	n, _, err := c.open(ctx, ids)
	return n, err
}

// measure counts the letters: dead ones, of which there may be many, only now and then.
func (c *consumer) measure(ctx context.Context) error {
	states := []string{stateEarly, stateRetry}
	now := time.Now()
	countDead := now.Sub(c.counted) > countDeadEvery
	if countDead {
		states = append(states, stateDead)
	}
	of, err := c.store.counts(ctx, c.db.Read(), c.key, states...)
	if err != nil {
		return err
	}
	for state, n := range of {
		c.bus.metrics.letters.WithLabelValues(c.key, state).Set(float64(n))
	}
	c.pending.Store(of[stateEarly] + of[stateRetry])
	if countDead {
		c.dead.Store(of[stateDead])
		c.counted = now
	}
	return nil
}

// open tries letters, in their order and in one transaction, and says for how many of them something has changed, and
// whether the last was handled. If that fails, each is tried by itself.
func (c *consumer) open(ctx context.Context, ids []uuid.UUID) (changed int, ok bool, err error) {
	if len(ids) == 0 {
		return 0, true, nil
	}
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
			return 0, false, err
		}
		c.bus.metrics.handled.WithLabelValues(c.key).Add(float64(len(ready)))
		return len(ready), true, nil
	}
	if ctx.Err() != nil {
		return 0, false, ctx.Err()
	}
	if len(ready) > 1 {
		for _, l := range ready {
			var n int
			n, ok, err = c.open(ctx, []uuid.UUID{l.ID})
			if changed += n; err != nil {
				return changed, false, err
			}
		}
		return changed, ok, nil
	}
	l := c.failed(ready[0], f.err)
	return 1, false, c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
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
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			l, err := scanLetter(row)
			all = append(all, l)
			return err
		}, `
			SELECT `+letterColumns+` FROM `+s.letters+`
			WHERE id IN `+database.Values(1, to-from)+` AND consumer = $`+strconv.Itoa(to-from+1)+` AND state <> 'dead'
			FOR UPDATE SKIP LOCKED`, append(args, consumer)...)
		if err != nil {
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
