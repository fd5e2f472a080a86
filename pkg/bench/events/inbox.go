package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	microevents "github.com/micro/micro/v3/service/events"

	"github.com/m3o/backend/pkg/bench"
	"github.com/m3o/backend/pkg/database"
	"github.com/m3o/backend/pkg/events"
	"github.com/m3o/backend/pkg/events/stream"
)

const (
	inboxEvents = 400_000
	customers   = 100
)

// canned is a stream that has everything ready, so that nothing is measured but the consumer.
type canned struct {
	stream.Stream
	batches [][]stream.Delivery
}

// can makes a stream with so many events.
func can(n int) (canned, error) {
	var c canned
	for len(c.batches) < n/stream.MaxBatch {
		batch := make([]stream.Delivery, stream.MaxBatch)
		for i := range batch {
			id, err := uuid.NewV7()
			if err != nil {
				return c, err
			}
			batch[i] = stream.Delivery{Tag: uint64(i), Event: &microevents.Event{
				ID: id.String(), Topic: "bench", Timestamp: time.Now(), Payload: []byte(fmt.Sprint(i % customers)),
			}}
		}
		c.batches = append(c.batches, batch)
	}
	return c, nil
}

// Subscribe implements stream.Stream.
func (c canned) Subscribe(context.Context, stream.Options) (stream.Subscription, error) {
	return &cannedSubscription{left: c.batches}, nil
}

type cannedSubscription struct{ left [][]stream.Delivery }

func (s *cannedSubscription) Next(ctx context.Context) ([]stream.Delivery, error) {
	if len(s.left) == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	batch := s.left[0]
	s.left = s.left[1:]
	return batch, nil
}
func (s *cannedSubscription) Ack(...uint64) error                 { return nil }
func (s *cannedSubscription) Nack(time.Duration, ...uint64) error { return nil }
func (s *cannedSubscription) Extend(...uint64) error              { return nil }
func (s *cannedSubscription) Close() error                        { return nil }

// counting is the effect of the benchmarks' consumers: how many events there were of each customer.
func counting(handled chan<- int, customer func(e *events.Event) string) events.Handler {
	return func(ctx context.Context, tx database.Querier, batch []*events.Event) error {
		counts := make(map[string]int64, customers)
		for _, e := range batch {
			counts[customer(e)]++
		}
		keys := make([]string, 0, len(counts))
		for key := range counts {
			keys = append(keys, key)
		}
		for from, to := range database.Chunks(len(keys)) {
			args := make([]any, 0, 2*(to-from))
			for _, key := range keys[from:to] {
				args = append(args, key, counts[key])
			}
			if _, err := tx.Exec(ctx, `
				INSERT INTO bench_counts (customer, events) VALUES `+database.Values(to-from, 2)+`
				ON CONFLICT (customer) DO UPDATE SET events = bench_counts.events + excluded.events`, args...); err != nil {
				return err
			}
		}
		n := len(batch)
		database.AfterCommit(ctx, func() { handled <- n })
		return nil
	}
}

// measureInbox measures how fast a consumer takes in events and has its effect, a thousand in a transaction.
func measureInbox(ctx context.Context, report *bench.Report, dir string) error {
	return withDatabases(dir, "bench_inbox", func(db *database.DB) error {
		c, err := can(inboxEvents)
		if err != nil {
			return err
		}
		bus, err := events.New(ctx, events.Config{DB: db, Stream: c})
		if err != nil {
			return err
		}
		handled := make(chan int, inboxEvents)
		if err := bus.Consume(events.Consumer{
			Topic: "bench", Handle: counting(handled, func(e *events.Event) string { return string(e.Payload) }),
		}); err != nil {
			return err
		}
		began := time.Now()
		if err := bus.Start(); err != nil {
			return err
		}
		for left := inboxEvents; left > 0; {
			select {
			case n := <-handled:
				left -= n
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		took := time.Since(began)
		bar := 200_000.0
		if db.Dialect() == database.PostgreSQL {
			bar = 80_000
		}
		report.AtLeast(fmt.Sprintf("inbox-and-effect-%s", db.Dialect()), inboxEvents/took.Seconds(), "events/s", bar)
		return bus.Stop()
	})
}
