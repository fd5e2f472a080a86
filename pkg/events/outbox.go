package events

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/m3o/backend/pkg/database"
	kinds "github.com/m3o/backend/pkg/errors"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	// MaxWaiting is how many events of a service may wait to be published. When there are more, what would add one fails
	// with the kind Unavailable until there is room again.
	MaxWaiting = 1_000_000
	// overhead is what an event is larger than its payload at most, beside its names.
	overhead = 1024
)

// Outbox takes the events of a service, which become part of the transaction that changes the state: they are published
// when it has committed, and never when it has not. Its methods may be called by many goroutines at once.
type Outbox struct {
	table     string
	sequences string
	clock     func() time.Time
	// added is told when a transaction with events has committed.
	added chan struct{}
	// full says that there is no room.
	full atomic.Bool
}

func newOutbox(db *database.DB, clock func() time.Time) *Outbox {
	return &Outbox{
		table: db.Name() + "_outbox", sequences: db.Name() + "_sequences", clock: clock, added: make(chan struct{}, 1),
	}
}

// Add writes events into a transaction, with whose context it has to be called. It fails with the kind Unavailable when
// MaxWaiting events wait to be published already; any other error is a mistake in the program, such as a message without a
// type, or the database's.
func (o *Outbox) Add(ctx context.Context, tx database.Querier, drafts ...Draft) error {
	if len(drafts) == 0 {
		return nil
	}
	if o.full.Load() {
		return kinds.Unavailable("events cannot be published at the moment: try again later")
	}
	events := make([]*Event, len(drafts))
	for i, d := range drafts {
		var err error
		if events[i], err = o.event(ctx, d); err != nil {
			return fmt.Errorf("an event for topic %s: %w", d.Topic, err)
		}
	}
	if err := o.number(ctx, tx, events); err != nil {
		return fmt.Errorf("number events: %w", err)
	}
	if err := o.insert(ctx, tx, events); err != nil {
		return fmt.Errorf("add events to the outbox: %w", err)
	}
	database.AfterCommit(ctx, o.wake)
	return nil
}

func (o *Outbox) wake() {
	select {
	case o.added <- struct{}{}:
	default:
	}
}

// event makes an event of a draft, one that no stream refuses.
func (o *Outbox) event(ctx context.Context, d Draft) (*Event, error) {
	switch {
	case d.Topic == "" || len(d.Topic) > stream.MaxTopic:
		return nil, fmt.Errorf("its topic must have 1 to %d bytes", stream.MaxTopic)
	case d.Message == nil:
		return nil, errors.New("its message is missing")
	case d.Aggregate != clean(d.Aggregate, maxAggregate):
		return nil, fmt.Errorf("its aggregate must have at most %d bytes of UTF-8 without NUL", maxAggregate)
	}
	kind, err := typeOf(d.Message)
	if err != nil {
		return nil, err
	}
	payload, err := encoding.Marshal(d.Message)
	if err != nil {
		return nil, fmt.Errorf("message %s cannot be written as JSON", d.Message.ProtoReflect().Descriptor().FullName())
	}
	if len(payload) > stream.MaxEvent-overhead {
		return nil, fmt.Errorf("it has %d bytes, at most %d are possible", len(payload), stream.MaxEvent-overhead)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	e := &Event{
		ID: id, Topic: d.Topic, Type: kind, Time: o.clock(), Cause: clean(causeIn(ctx), maxName), Aggregate: d.Aggregate, Payload: payload,
	}
	return e, stream.Prepare(e.published())
}

// aggregateOf is what events are numbered by.
type aggregateOf struct{ topic, aggregate string }

// number gives events their place among those of their aggregates. It locks these until the end of the transaction, in
// one order for all transactions, so that numbers are given in the order of commits, without gaps.
func (o *Outbox) number(ctx context.Context, tx database.Querier, events []*Event) error {
	counts := make(map[aggregateOf]int64)
	for _, e := range events {
		if e.Aggregate != "" {
			counts[aggregateOf{e.Topic, e.Aggregate}]++
		}
	}
	if len(counts) == 0 {
		return nil
	}
	keys := make([]aggregateOf, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b aggregateOf) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.aggregate, b.aggregate))
	})
	last := make(map[aggregateOf]int64, len(counts))
	for from, to := range database.Chunks(len(keys)) {
		args := make([]any, 0, 3*(to-from))
		for _, key := range keys[from:to] {
			args = append(args, key.topic, key.aggregate, counts[key])
		}
		err := database.EachRow(ctx, tx, func(row *sql.Rows) error {
			var key aggregateOf
			var sequence int64
			err := row.Scan(&key.topic, &key.aggregate, &sequence)
			last[key] = sequence
			return err
		}, `
			INSERT INTO `+o.sequences+` (topic, aggregate, sequence) VALUES `+database.Values(to-from, 3)+`
			ON CONFLICT (topic, aggregate) DO UPDATE SET sequence = `+o.sequences+`.sequence + excluded.sequence
			RETURNING topic, aggregate, sequence`, args...)
		if err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(events) {
		if e.Aggregate != "" {
			key := aggregateOf{e.Topic, e.Aggregate}
			e.Sequence = last[key]
			last[key]--
		}
	}
	return nil
}

func (o *Outbox) insert(ctx context.Context, tx database.Querier, events []*Event) error {
	const columns = 9
	for from, to := range database.Chunks(len(events)) {
		args := make([]any, 0, columns*(to-from))
		for _, e := range events[from:to] {
			args = append(args, e.ID[:], e.Topic, e.Type, e.Cause, e.Aggregate, e.Sequence, e.Time.UnixNano(), e.Payload, 0)
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO `+o.table+` (id, topic, type, cause, aggregate, sequence, time, payload, published)
			VALUES `+database.Values(to-from, columns), args...); err != nil {
			return err
		}
	}
	return nil
}
