package events

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/micro/micro/v3/service/logger"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

// Defaults of a Consumer, and what bounds it.
const (
	// DefaultTimeout is how long a handler may take for what it is given at once.
	DefaultTimeout = 20 * time.Second
	// DefaultAttempts is how often an event is tried before it is a dead letter: for about half an hour.
	DefaultAttempts = 12
	// DefaultRetryAfter is how long is waited before an event is tried again; twice as long each time, up to ten minutes.
	DefaultRetryAfter = time.Second
	// DefaultGapWait is how long an event is kept back whose predecessor has not come: longer than the stream needs to give
	// what one process had to another.
	DefaultGapWait = 5 * time.Minute
	// MaxPending is how many events a consumer keeps that came too early or are to be tried again. When there are more,
	// it takes no others until there is room.
	MaxPending = 10_000
	// MaxDead is how many dead letters a consumer keeps. When there are more, it takes no events until somebody has replayed
	// or discarded some.
	MaxDead = 100_000
	// InboxRetention is for how long it is remembered that an event was handled: longer than the stream keeps an event that
	// everybody has acknowledged.
	InboxRetention = 15 * 24 * time.Hour
)

// ackWait is after how long the stream gives an event to another process, if this one is alive and says nothing.
const ackWait = time.Minute

// Consumer says what handles the events of a topic.
type Consumer struct {
	// Topic is what is consumed. Required.
	Topic string
	// Name tells the consumers of a service apart that have the same topic; empty for the only one. A consumer that gets
	// another name begins with the first event that the stream has.
	Name string
	// Handle handles events. Required.
	Handle Handler
	// Timeout, Attempts, RetryAfter and GapWait are as their defaults say, which stand for 0.
	Timeout    time.Duration
	Attempts   int
	RetryAfter time.Duration
	GapWait    time.Duration
}

func (c Consumer) withDefaults() (Consumer, error) {
	switch {
	case c.Topic == "":
		return c, errors.New("a consumer needs a topic")
	case c.Handle == nil:
		return c, fmt.Errorf("the consumer of topic %s needs a handler", c.Topic)
	case c.Timeout < 0 || c.Timeout > ackWait/2 || c.Attempts < 0 || c.RetryAfter < 0 || c.GapWait < 0:
		return c, fmt.Errorf("the consumer of topic %s: timeout, attempts and waits must not be negative, nor the timeout above %s", c.Topic, ackWait/2)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Attempts == 0 {
		c.Attempts = DefaultAttempts
	}
	if c.RetryAfter == 0 {
		c.RetryAfter = DefaultRetryAfter
	}
	if c.GapWait == 0 {
		c.GapWait = DefaultGapWait
	}
	return c, nil
}

// key is the consumer's name in the tables of its service.
func (c Consumer) key() string {
	if c.Name == "" {
		return c.Topic
	}
	return c.Topic + "/" + c.Name
}

// consumer is a Consumer at work.
type consumer struct {
	Consumer
	key   string
	group string
	db    *database.DB
	store *store
	bus   *Bus
	// failures is how many events in a row have failed in a way that passes.
	failures atomic.Int64
	// pending and dead are how many letters there are, as of the last count.
	pending, dead atomic.Int64
	// counted is when dead letters were counted; for the loop of letters alone.
	counted time.Time
	// wake wakes the loop of letters.
	wake chan struct{}
}

// failure is an error of the handler, as opposed to one of the database.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

const (
	subscribePause     = 50 * time.Millisecond
	subscribePauseMost = 5 * time.Second
	// tolerated is how many events in a row may fail in a way that passes before they are taken for victims of the same
	// fault: they are left in the stream then, for a while, instead of being made letters one after the other.
	tolerated       = 3
	outagePauseMost = 5 * time.Second
)

var errOutage = errors.New("one event after the other cannot be handled")

// run consumes until ctx ends.
func (c *consumer) run(ctx context.Context) {
	pause := subscribePause
	var seen time.Time
	for ctx.Err() == nil {
		if c.full() {
			// The stream forgets a group that nobody is in for days.
			if time.Since(seen) > time.Hour && c.show(ctx) == nil {
				seen = time.Now()
			}
			logger.Warnf("%s takes no events of %s: %d are to be tried again, %d are dead letters", c.group, c.Topic, c.pending.Load(), c.dead.Load())
			wait(ctx, subscribePauseMost, nil)
			continue
		}
		began := time.Now()
		worked, err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if worked || time.Since(began) > subscribePauseMost {
			pause = subscribePause
		}
		if errors.Is(err, errOutage) {
			pause = backoff(subscribePause, outagePauseMost, int(c.failures.Load()))
		}
		if err != nil {
			logger.Warnf("%s goes on with the events of %s in %s: %v", c.group, c.Topic, pause, err)
		}
		wait(ctx, pause, nil)
		pause = min(2*pause, subscribePauseMost)
	}
}

// show shows the stream that the group is still there.
func (c *consumer) show(ctx context.Context) error {
	sub, err := c.bus.stream.Subscribe(ctx, c.options())
	if err != nil {
		return err
	}
	return sub.Close()
}

func (c *consumer) options() stream.Options {
	return stream.Options{Topic: c.Topic, Group: c.group, AckWait: ackWait, MaxInFlight: 2 * stream.MaxBatch}
}

func (c *consumer) full() bool { return c.pending.Load() >= MaxPending || c.dead.Load() >= MaxDead }

// backoff is how long is waited after the n-th failure: base, twice that, and so on.
func backoff(base, most time.Duration, n int) time.Duration {
	for ; n > 1 && base < most; n-- {
		base *= 2
	}
	return min(base, most)
}

// follow subscribes and handles what comes, until something fails. It says whether it got that far as to handle anything.
func (c *consumer) follow(ctx context.Context) (worked bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, err := c.bus.stream.Subscribe(ctx, c.options())
	if err != nil {
		return false, err
	}
	defer func() {
		if closed := sub.Close(); closed != nil && err == nil {
			err = closed
		}
	}()
	for {
		deliveries, err := sub.Next(ctx)
		if err != nil {
			return worked, err
		}
		batch := make([]*Event, 0, len(deliveries))
		tags := make([]uint64, len(deliveries))
		for i, d := range deliveries {
			tags[i] = d.Tag
			e, err := received(d.Event)
			if err != nil {
				logger.Errorf("%s cannot take in %v", c.group, err) // the stream makes sure that there is none
				continue
			}
			batch = append(batch, e)
		}
		extended := extend(ctx, sub, tags)
		err = c.settle(ctx, batch)
		extended()
		if err != nil {
			return worked, err
		}
		worked = true
		if err := sub.Ack(tags...); err != nil {
			return worked, err
		}
		switch {
		case c.failures.Load() > tolerated:
			return worked, errOutage
		case c.full():
			return worked, nil
		}
	}
}

// extend keeps the stream from giving deliveries to another process while this one is at work, until stop is called.
func extend(ctx context.Context, sub stream.Subscription, tags []uint64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			wait(ctx, ackWait/3, nil)
			if ctx.Err() != nil || sub.Extend(tags...) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// settle sees to events: they are handled, or kept for later. When it returns an error, any of them may be.
func (c *consumer) settle(ctx context.Context, batch []*Event) error {
	if len(batch) == 0 {
		return nil
	}
	err := c.take(ctx, batch)
	f, failed := errors.AsType[*failure](err)
	if !failed {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(batch) > 1 {
		half := len(batch) / 2
		if err := c.settle(ctx, batch[:half]); err != nil {
			return err
		}
		if c.failures.Load() > tolerated {
			return errOutage
		}
		return c.settle(ctx, batch[half:])
	}
	return c.keep(ctx, batch[0], f.err)
}

// take handles events in one transaction, but for those that were taken in before, and those that come too early.
func (c *consumer) take(ctx context.Context, batch []*Event) error {
	var handled, early int
	err := c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		handled, early = 0, 0
		fresh, err := c.store.takeIn(ctx, tx, c.key, batch)
		if err != nil {
			return err
		}
		positions, err := c.store.lock(ctx, tx, c.key, fresh)
		if err != nil {
			return err
		}
		ready := make([]*Event, 0, len(fresh))
		var kept []letter
		until := c.bus.now().Add(c.GapWait)
		for _, e := range fresh {
			switch {
			case e.Aggregate == "":
			case e.Sequence > positions[e.Aggregate]+1:
				kept = append(kept, letter{Event: e, consumer: c.key, state: stateEarly, next: until})
				continue
			case e.Sequence == positions[e.Aggregate]+1:
				positions[e.Aggregate] = e.Sequence
			default: // its place was given up; late is better than never
				c.bus.metrics.late.WithLabelValues(c.key).Inc()
			}
			ready = append(ready, e)
		}
		handled, early = len(ready), len(kept)
		if len(ready) > 0 {
			if err := c.call(ctx, tx, ready); err != nil {
				return err
			}
		}
		if err := c.store.move(ctx, tx, c.key, positions); err != nil {
			return err
		}
		return c.store.keep(ctx, tx, kept...)
	})
	if err != nil {
		return err
	}
	if handled > 0 {
		c.failures.Store(0)
		c.bus.metrics.handled.WithLabelValues(c.key).Add(float64(handled))
		c.bus.metrics.delay.WithLabelValues(c.key).Observe(c.bus.now().Sub(batch[0].Time).Seconds())
	}
	c.bus.metrics.repeated.WithLabelValues(c.key).Add(float64(len(batch) - handled - early))
	if early > 0 {
		c.pending.Add(int64(early))
		c.look()
	}
	return nil
}

// call calls the handler, whose errors are failures. A handler that panics has failed.
func (c *consumer) call(ctx context.Context, tx database.Querier, batch []*Event) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			logger.Errorf("%s panicked with events of %s: %s", c.group, c.Topic, debug.Stack())
			err = &failure{errors.New("the handler panicked, the log says where")}
		}
	}()
	if err := c.Handle(ctx, tx, batch); err != nil {
		return &failure{err} // if it passes at once, the transaction is run again
	}
	return nil
}

// keep keeps an event that has failed as a letter.
func (c *consumer) keep(ctx context.Context, e *Event, why error) error {
	l := c.failed(letter{Event: e, consumer: c.key}, why)
	err := c.db.Tx(ctx, func(ctx context.Context, tx database.Querier) error {
		fresh, err := c.store.takeIn(ctx, tx, c.key, []*Event{e})
		if err != nil || len(fresh) == 0 {
			return err
		}
		if err := c.giveUpPlace(ctx, tx, l); err != nil {
			return err
		}
		return c.store.keep(ctx, tx, l)
	})
	if err != nil {
		return err
	}
	if l.state == stateRetry {
		c.failures.Add(1)
	}
	c.count(l)
	return nil
}

// failed is a letter after one more attempt that has failed.
func (c *consumer) failed(l letter, why error) letter {
	now := c.bus.now()
	l.attempts++
	l.failedAt, l.reason = now, reason(why)
	if kinds.Permanent(why) || l.attempts >= c.Attempts {
		l.state, l.next = stateDead, now
		logger.Errorf("%s cannot handle event %s (%s) of topic %s, it is a dead letter now: %v", c.group, l.ID, l.Type, c.Topic, why)
		c.bus.metrics.died.WithLabelValues(c.key).Inc()
		return l
	}
	l.state, l.next = stateRetry, now.Add(jittered(backoff(c.RetryAfter, retryMost, l.attempts)))
	c.bus.metrics.retried.WithLabelValues(c.key).Inc()
	logger.Warnf("%s tries event %s (%s) of topic %s again: %v", c.group, l.ID, l.Type, c.Topic, why)
	return l
}

// giveUpPlace lets those go on that wait for a letter which is dead.
func (c *consumer) giveUpPlace(ctx context.Context, tx database.Querier, l letter) error {
	if l.state != stateDead || l.Aggregate == "" {
		return nil
	}
	positions, err := c.store.lock(ctx, tx, c.key, []*Event{l.Event})
	if err != nil {
		return err
	}
	positions[l.Aggregate] = max(positions[l.Aggregate], l.Sequence)
	return c.store.move(ctx, tx, c.key, positions)
}

func (c *consumer) count(l letter) {
	if l.state == stateDead {
		c.dead.Add(1)
	} else {
		c.pending.Add(1)
	}
	c.look()
}

// look has the letters looked at.
func (c *consumer) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
